"""What is to be written: classes and enums, in an order in which each is declared before its use where possible."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Style:
    """How it is written.

    Attributes:
        kind: `struct` for msgspec.Struct, `dataclass` for dataclasses.
        topic, key: If given, the main class is declared as an event of this topic, with this key field.
        origin: Where the schema came from, for the first line.
    """

    kind: str = "struct"
    topic: str | None = None
    key: str | None = None
    origin: str = ""


@dataclass
class Field:
    """A field: its Python name, its type as Python text, and a default as Python text, or None."""

    name: str
    wire_name: str
    type: str
    default: str | None = None
    doc: str | None = None


@dataclass
class Class:
    name: str
    full_name: str
    fields: list[Field] = field(default_factory=list)
    doc: str | None = None


@dataclass
class EnumClass:
    """An enum: (member, value)."""

    name: str
    members: list[tuple[str, str]]
    doc: str | None = None
    default: str | None = None


@dataclass
class Module:
    """Everything. `main` is the class the schema is about."""

    format: Literal["avro", "json", "protobuf"]
    declarations: list[Class | EnumClass] = field(default_factory=list)
    main: str = ""
    full_name: str = ""
    _names: dict[str, str] = field(default_factory=dict)

    def class_name(self, full_name: str) -> str:
        """A Python name for a type, unlike those of other types."""
        if full_name not in self._names:
            words = re.split(r"\W+", full_name.rpartition(".")[2])
            base = "".join(word[:1].upper() + word[1:] for word in words)
            base = base if base and not base[0].isdigit() else f"Type{base}"
            name, number = base, 2
            while name in self._names.values() or keyword.iskeyword(name):
                name, number = f"{base}{number}", number + 1
            self._names[full_name] = name
        return self._names[full_name]


def python_name(wire_name: str) -> str:
    """A field's Python name: its own where that is one."""
    name = re.sub(r"\W", "_", wire_name)
    if not name or name[0].isdigit():
        name = f"field_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def member_name(value: str) -> str:
    """An enum member's name for a value."""
    name = re.sub(r"\W", "_", value).upper()
    if not name or name[0].isdigit():
        name = f"VALUE_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in ("MRO", "NAME", "VALUE") else name
