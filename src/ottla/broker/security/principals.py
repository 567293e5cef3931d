"""From a client's certificate to its principal: the subject's name as Java writes it, and Kafka's mapping rules for it.

Java's `X500Principal.getName()` gives RFC 2253: the most specific part first (`CN=alice,OU=shop,C=DE`), commas and the
like escaped, and attributes other than the usual nine by number and value in hexadecimal. ACLs written for Kafka fit
only if every byte of that is the same. Python's ssl module gives the subject with other names and without the types, so
the certificate is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}
_SEQUENCE, _SET, _OID, _EXPLICIT_0 = 0x30, 0x31, 0x06, 0xA0
_ENCODINGS = {0x0C: "utf-8", 0x13: "latin-1", 0x14: "latin-1", 0x16: "latin-1", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}


def subject(certificate: bytes) -> str:
    """The subject's distinguished name of a certificate in DER, in the form of RFC 2253.

    Raises:
        ValueError: The bytes are not a certificate.
    """
    try:
        body = next(_children(_one(certificate, 0, _SEQUENCE)[0]))[1]
        fields = [(tag, value) for tag, value in _children(body) if tag != _EXPLICIT_0]
        # serial number, signature algorithm, issuer, validity, subject, ...
        name = fields[4][1]
        parts = ["+".join(map(_attribute, _sequences(values))) for tag, values in _children(name) if tag == _SET]
    except (IndexError, StopIteration, UnicodeDecodeError) as error:
        raise ValueError("not a certificate in DER") from error
    return ",".join(reversed(parts))


def _one(data: bytes, at: int, expected: int | None = None) -> tuple[bytes, int]:
    """The value that begins at a position, and the position after it."""
    if expected is not None and data[at] != expected:
        raise ValueError(f"not a certificate in DER: tag {data[at]:#x} where {expected:#x} was expected")
    size, start = data[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        size, start = int.from_bytes(data[start : start + count], "big"), start + count
    if start + size > len(data):
        raise IndexError("a value runs past the end")
    return data[start : start + size], start + size


def _children(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag = data[at]
        value, at = _one(data, at)
        yield tag, value


def _sequences(data: bytes) -> Iterator[bytes]:
    return (value for tag, value in _children(data) if tag == _SEQUENCE)


def _attribute(data: bytes) -> str:
    (oid_tag, oid), (tag, value) = list(_children(data))[:2]
    if oid_tag != _OID:
        raise IndexError("an attribute without a type")
    number = _oid(oid)
    name = _NAMES.get(number)
    encoding = _ENCODINGS.get(tag)
    if name is None or encoding is None:
        return f"{name or number}=#{(bytes((tag, *_length(len(value)))) + value).hex()}"
    return f"{name}={_escaped(value.decode(encoding))}"


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    text = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(text),)) + text


def _oid(data: bytes) -> str:
    numbers: list[int] = []
    value = 0
    for byte in data:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _escaped(text: str) -> str:
    text = re.sub(r'([,+"\\<>;])', r"\\\1", text)
    if text.startswith(("#", " ")):
        text = "\\" + text
    if text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1] + "\\ "
    return text


class MappingRules:
    """Kafka's ssl.principal.mapping.rules (KIP-371).

    `DEFAULT` gives the whole name. `RULE:pattern/replacement/[LU]` fits if the pattern matches the whole name; `$1` in
    the replacement is a group; L and U make it lower or upper case. The first rule that fits counts.

    Args:
        text: The rules, separated by commas.

    Raises:
        ValueError: A rule is malformed; says which.
    """

    def __init__(self, text: str) -> None:
        self._rules = list(_parse(text.strip()))

    def principal(self, name: str) -> str | None:
        """The principal's name for a distinguished name; None if no rule fits."""
        for rule in self._rules:
            if rule is None:
                return name
            pattern, replacement, case = rule
            match = pattern.fullmatch(name)
            if match is not None:
                found = _filled(replacement, match)
                return found.lower() if case == "L" else found.upper() if case == "U" else found
        return None


_RULE = re.compile(r"RULE:(?P<pattern>(?:\\.|[^\\/])*)/(?P<replacement>(?:\\.|[^\\/])*)/(?P<case>[LU]?)")


def _parse(text: str) -> Iterator[tuple[re.Pattern[str], str, str] | None]:
    at = 0
    while at < len(text):
        if text.startswith("DEFAULT", at):
            yield None
            at += len("DEFAULT")
        else:
            match = _RULE.match(text, at)
            if match is None:
                raise ValueError(f"expected DEFAULT or RULE:PATTERN/REPLACEMENT/[LU] at {text[at:]!r}")
            try:
                pattern = re.compile(match["pattern"])
            except re.error as error:
                raise ValueError(f"{match['pattern']!r} is no regular expression: {error}") from error
            _check_groups(match["replacement"], pattern)
            yield pattern, match["replacement"], match["case"]
            at = match.end()
        separator = re.match(r"\s*,\s*|\s*$", text[at:])
        if separator is None:
            raise ValueError(f"expected a comma at {text[at:]!r}")
        at += separator.end()


def _check_groups(replacement: str, pattern: re.Pattern[str]) -> None:
    for number in re.findall(r"\$(\d)", replacement):
        if int(number) > pattern.groups:
            raise ValueError(f"${number}: the pattern {pattern.pattern!r} has {pattern.groups} groups")


def _filled(replacement: str, match: re.Match[str]) -> str:
    return re.sub(
        r"\\(.)|\$(\d)", lambda found: found[1] if found[1] is not None else match[int(found[2])] or "", replacement
    )
