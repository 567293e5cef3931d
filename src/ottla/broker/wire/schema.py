"""What a message looks like: the table notation and its parser.

A table has one field per line, nested by four spaces:

    name  type  [versions]  [tag=N]  [=default]

    topics []                       an array of structs, its fields on the next level
        name string 0-12            in versions 0 to 12
        topic_id uuid 13+           from version 13 on
        partitions []int32          an array of a primitive
    cluster_id string? 12+ tag=0    nullable, a tagged field (KIP-482)
    max_bytes int32 3+ =1048576     what an absent field reads as, and what a left-out key is written as

Types: bool int8 int16 uint16 int32 uint32 int64 float64 string bytes records uuid, `[]` and `[]type` (arrays), `{}` (a
struct). A `?` marks what may be null; null is then the default. The facts (names, types, versions) are those of
Apache Kafka's public message definitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Message = dict[str, Any]
Reader = Callable[[memoryview, int], tuple[Message, int]]
Writer = Callable[[Message, "list[bytes | bytearray | memoryview]"], None]

NO_UUID = bytes(16)
_EMPTY: dict[str, Any] = {"bool": False, "string": "", "bytes": b"", "uuid": NO_UUID, "float64": 0.0, "records": b""}
LAST_VERSION = 32767


@dataclass(frozen=True)
class Field:
    """One line of a table. `type` is the element type for arrays, and `struct` for structs."""

    name: str
    type: str
    array: bool
    nullable: bool
    first: int
    last: int
    tag: int | None
    default: Any
    fields: list[Field] = field(default_factory=list)

    def present(self, version: int) -> bool:
        return self.first <= version <= self.last


@dataclass(frozen=True)
class Api:
    """One API of the protocol: its key, the versions served, and the tables of its request and response.

    Args:
        key: The API key on the wire.
        name: Kafka's name for it, as messages and logs show it.
        versions: First and last version served, both included.
        flexible: The first version with compact encodings and tagged fields (KIP-482); None if there is none.
        request: The request's table.
        response: The response's table.
    """

    key: int
    name: str
    versions: tuple[int, int]
    flexible: int | None
    request: str
    response: str

    def is_flexible(self, version: int) -> bool:
        return self.flexible is not None and version >= self.flexible


@cache
def parse_table(table: str) -> list[Field]:
    """Parses a table. Raises ValueError naming the line that makes no sense."""
    root: list[Field] = []
    levels = [root]
    for line in table.splitlines():
        text = line.strip()
        if not text:
            continue
        depth = (len(line) - len(line.lstrip())) // 4
        if depth >= len(levels):
            raise ValueError(f"schema table: {text!r} is nested under a field that has no fields")
        parsed = _parse_line(text)
        del levels[depth + 1 :]
        levels[depth].append(parsed)
        if parsed.type == "struct":
            levels.append(parsed.fields)
    return root


def _parse_line(text: str) -> Field:
    name, kind, *rest = text.split()
    first, last, tag = 0, LAST_VERSION, None
    default: str | None = None
    for word in rest:
        if word.startswith("tag="):
            tag = int(word[4:])
        elif word.startswith("="):
            default = word[1:]
        elif word.endswith("+"):
            first = int(word[:-1])
        else:
            low, _, high = word.partition("-")
            first, last = int(low), int(high or low)
    nullable = kind.endswith("?")
    kind = kind.rstrip("?")
    array = kind.startswith("[]")
    element = kind[2:] if array else kind
    if element in ("", "{}"):
        element = "struct"
    return Field(name, element, array, nullable, first, last, tag, _default(element, array, nullable, default))


def _default(element: str, array: bool, nullable: bool, text: str | None) -> Any:
    if array:
        return None if nullable else ()
    if text is None:
        return None if nullable else _EMPTY.get(element, None if element == "struct" else 0)
    if element == "bool":
        return text == "true"
    return text if element == "string" else int(text)
