"""Java's properties files, the form in which Kafka's own `server.properties` is written.

Read as `java.util.Properties` reads them: `name=value`, `name: value` or `name value`; comments begin with `#` or `!`;
a backslash at the end of a line joins the next one to it; `\\t`, `\\n`, `\\r`, `\\f` and `\\uXXXX` are what they are in
Java. One difference: the file is UTF-8, not Latin-1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ottla.errors import ConfigurationError

_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
# A name ends at the first separator that no backslash protects; white space around the separator belongs to neither.
_ENTRY = re.compile(r"((?:\\.|[^\\=:\s])*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)


class Properties(dict[str, str]):
    """Names and values of a properties file, in the file's order, and the line each was found on.

    Attributes:
        path: The file; None for properties that come from none.
        lines: The number of the line (from 1) on which each name stands; the last one, whose value counts.
        repeated: Names that stand there more than once, with all their lines.
    """

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        self.path = path
        self.lines: dict[str, int] = {}
        self.repeated: dict[str, list[int]] = {}

    def where(self, name: str) -> str:
        """`FILE:LINE` of a name, for messages; `--config` where there is no file."""
        if self.path is None:
            return "--config"
        return f"{self.path}:{self.lines[name]}" if name in self.lines else str(self.path)


def read_properties(path: Path) -> Properties:
    """Reads a properties file. As in Java, the last of several entries with one name counts.

    Raises:
        ConfigurationError: The file cannot be read, is not UTF-8, or holds a broken `\\u` escape; lists all such lines.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path} is not UTF-8 (byte {error.start}). Save it as UTF-8, or write the character as \\uXXXX."
        ) from error
    except OSError as error:
        raise ConfigurationError(f"cannot read the configuration {path}: {error.strerror or error}") from error
    found = Properties(path)
    faults: list[str] = []
    for number, line in _logical_lines(text):
        match = _ENTRY.fullmatch(line)
        if match is None or re.search(r"(?<!\\)(?:\\\\)*\\u(?![0-9a-fA-F]{4})", line):
            faults.append(f"{path}:{number}: \\u must be followed by four hexadecimal digits")
            continue
        name, value = map(_unescaped, match.groups())
        if not name:
            faults.append(f"{path}:{number}: a value without a name")
            continue
        if name in found:
            found.repeated.setdefault(name, [found.lines[name]]).append(number)
        found[name] = value
        found.lines[name] = number
    if faults:
        raise ConfigurationError("the configuration cannot be read:\n  " + "\n  ".join(faults))
    return found


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Entries with the number of the line they begin on: comments and empty lines left out, continuations joined."""
    joined: str | None = None
    began = 0
    for number, natural in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        line = natural.lstrip(" \t\f")
        if joined is None:
            if not line or line[0] in "#!":
                continue
            joined, began = "", number
        backslashes = len(line) - len(line.rstrip("\\"))
        if backslashes % 2:
            joined += line[:-1]
            continue
        yield began, joined + line
        joined = None
    if joined:
        yield began, joined


def _unescaped(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        what = match[1]
        return chr(int(what[1:], 16)) if len(what) == 5 else _ESCAPED.get(what, what)

    return _ESCAPE.sub(plain, text)
