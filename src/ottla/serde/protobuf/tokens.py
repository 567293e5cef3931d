"""The tokens of a .proto file.

Source: the Protocol Buffers language specification, "Lexical elements".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ottla.errors import OttlaError


class InvalidProto(OttlaError):
    """The text is no .proto file. The message says in which line and why."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token. `kind` is name, number, string, symbol or end; `text` is the source, for strings the value."""

    kind: str
    text: str
    line: int


_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>0[xX][0-9A-Fa-f]+|(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<symbol>[{}\[\]()<>;,.=:+/-])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|[xX][0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_SIMPLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a file, comments left out; the last one is of kind `end`.

    Raises:
        InvalidProto: A character that can begin no token, or an open string or comment.
    """
    position, line = 0, 1
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise InvalidProto(f"line {line}: {text[position : position + 20]!r} is not Protobuf")
        kind, source = str(found.lastgroup), found.group()
        if kind != "space":
            yield Token(kind, unescape(source[1:-1]) if kind == "string" else source, line)
        line += source.count("\n")
        position = found.end()
    yield Token("end", "", line)


def unescape(source: str) -> str:
    """A string literal's value; bytes that are no UTF-8 survive as lone surrogates."""
    return _ESCAPE.sub(_unescaped, source.encode()).decode("utf-8", "surrogateescape")


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found.group(1)
    if code[:1] in b"xX" and len(code) > 1:
        return bytes([int(code[1:], 16)])
    if code[:1] in b"uU" and len(code) > 1:
        return chr(int(code[1:], 16)).encode()
    if code[:1] in b"01234567":
        return bytes([int(code, 8) & 0xFF])
    return _SIMPLE.get(code, code)
