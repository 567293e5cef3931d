"""From a class to a .proto file (proto3), and which field of a message each attribute is.

| Python | Protobuf |
|---|---|
| str, bool, bytes, int, float | string, bool, bytes, int64, double |
| Decimal, date, time, UUID | string |
| datetime, timedelta | google.protobuf.Timestamp, google.protobuf.Duration |
| Enum, Literal of strings | enum; its values are prefixed with its name, and 0 stands for "not said" |
| a class with fields | message |
| list and the like, dict[str, X] | repeated, map<string, X> |
| X or None | optional X |
| a union of several types | oneof |

Fields are numbered in their order. `Annotated[..., FieldNumber(7)]` gives a field its number: who removes a field or
changes the order must give the others theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import DescriptorProto
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as FieldProto
from google.protobuf.descriptor_pb2 import FileDescriptorProto as FileProto

from ottla.errors import EventDefinitionError
from ottla.events.annotations import FieldNumber
from ottla.events.fields import MISSING, class_fields
from ottla.events.shapes import (
    Array,
    DecimalNumber,
    Enumeration,
    Logical,
    Map,
    Record,
    RecordField,
    Scalar,
    Shape,
    Union,
)

from .known import known_file
from .names import resolve

_SCALARS = {
    "boolean": FieldProto.TYPE_BOOL,
    "long": FieldProto.TYPE_INT64,
    "double": FieldProto.TYPE_DOUBLE,
    "string": FieldProto.TYPE_STRING,
    "bytes": FieldProto.TYPE_BYTES,
}
_WELL_KNOWN = {
    "datetime": ("google.protobuf.Timestamp", "google/protobuf/timestamp.proto"),
    "timedelta": ("google.protobuf.Duration", "google/protobuf/duration.proto"),
}


@dataclass(frozen=True, slots=True)
class Member:
    """What one attribute is in a message.

    Attributes:
        field: The attribute.
        shape: Its shape without None.
        branches: For a oneof: its members' names and shapes. Else empty.
        presence: Whether the message tells "not there" from the type's zero.
        nullable: Whether None is a value.
    """

    field: RecordField
    shape: Shape
    branches: tuple[tuple[str, Shape], ...]
    presence: bool
    nullable: bool


class Mapping:
    """The .proto file of a class.

    Attributes:
        file: Its descriptor, names resolved. The class itself is its first message.
        members: The members of each record, by the record's `id`.
        names: The full names of records and enums, by `id`.
    """

    def __init__(self, root: Record) -> None:
        self.root = root
        self.file = FileProto(name=f"{root.full_name}.proto", package=root.namespace, syntax="proto3")
        self.members: dict[int, tuple[Member, ...]] = {}
        self.names: dict[int, str] = {}
        self._owners: dict[str, int] = {}
        self._waiting: list[Record] = []
        self._message(root)
        while self._waiting:
            self._message(self._waiting.pop(0))
        resolve(self.file, [found for found in map(known_file, self.file.dependency) if found is not None])

    def _message(self, record: Record) -> None:
        self._name(record)
        message = self.file.message_type.add(name=record.name)
        numbers = _Numbers(record)
        members = []
        for field, given in zip(record.fields, numbers.given, strict=True):
            member = self._member(record, field)
            members.append(member)
            if member.branches:
                self._oneof(message, member, numbers, given)
            else:
                number = numbers.take(given)
                proto = message.field.add(name=field.name, number=number, label=FieldProto.LABEL_OPTIONAL)
                self._typed(message, proto, member.shape, f"{record.cls.__qualname__}.{field.attribute}")
                proto.proto3_optional = member.presence and proto.type != FieldProto.TYPE_MESSAGE
        self.members[id(record)] = tuple(members)
        for proto in message.field:
            if proto.proto3_optional:
                proto.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{proto.name}")

    def _member(self, record: Record, field: RecordField) -> Member:
        where = f"{record.cls.__qualname__}.{field.attribute}"
        shape, nullable = field.shape, False
        branches: tuple[tuple[str, Shape], ...] = ()
        if isinstance(shape, Union):
            rest = [branch for branch in shape.branches if not _is_null(branch)]
            nullable = len(rest) < len(shape.branches)
            if len(rest) == 1:
                shape = rest[0]
            else:
                branches = tuple((f"{field.name}_{_branch_name(branch)}", branch) for branch in rest)
                if any(isinstance(branch, Array | Map) for branch in rest):
                    raise _refusal(where, "a list or dict in a union", "a class with the list as its field")
        if _is_null(shape):
            raise _refusal(where, "None alone", "a bool, or no field at all")
        if nullable and isinstance(shape, Array | Map):
            raise _refusal(where, "a list or dict that may be None", "an empty one, or a class with it as its field")
        # Where the class has a default, "not there" must differ from zero, or an old record would be read as zero.
        presence = not branches and not isinstance(shape, Array | Map) and (nullable or field.optional)
        return Member(field, shape, branches, presence or isinstance(shape, Record | Enumeration), nullable)

    def _oneof(self, message: DescriptorProto, member: Member, numbers: _Numbers, given: int | None) -> None:
        index = len(message.oneof_decl)
        message.oneof_decl.add(name=member.field.name)
        for offset, (name, branch) in enumerate(member.branches):
            number = numbers.take(None if given is None else given + offset)
            proto = message.field.add(name=name, number=number, label=FieldProto.LABEL_OPTIONAL, oneof_index=index)
            self._typed(message, proto, branch, member.field.attribute)

    def _typed(self, message: DescriptorProto, proto: FieldProto, shape: Shape, where: str) -> None:
        match shape:
            case Array(item=item):
                proto.label = FieldProto.LABEL_REPEATED
                if isinstance(item, Array | Map | Union) or _is_null(item):
                    raise _refusal(where, "a list of lists, dicts or unions", "a list of a class with one field")
                self._typed(message, proto, item, where)
            case Map(value=value):
                if isinstance(value, Array | Map | Union) or _is_null(value):
                    raise _refusal(where, "a dict of lists, dicts or unions", "a dict of a class with one field")
                self._map(message, proto, value, where)
            case Scalar(kind=kind):
                proto.type = _SCALARS[kind]
            case Logical(kind=("datetime" | "timedelta") as kind):
                name, file = _WELL_KNOWN[kind]
                if file not in self.file.dependency:
                    self.file.dependency.append(file)
                proto.type, proto.type_name = FieldProto.TYPE_MESSAGE, f".{name}"
            case Logical() | DecimalNumber():
                proto.type = FieldProto.TYPE_STRING
            case Enumeration():
                proto.type, proto.type_name = FieldProto.TYPE_ENUM, f".{self._enum(shape)}"
            case Record():
                known = id(shape) in self.names
                proto.type, proto.type_name = FieldProto.TYPE_MESSAGE, f".{self._name(shape)}"
                if not known:
                    self._waiting.append(shape)

    def _map(self, message: DescriptorProto, proto: FieldProto, value: Shape, where: str) -> None:
        name = "".join(part[:1].upper() + part[1:] for part in proto.name.split("_")) + "Entry"
        entry = message.nested_type.add(name=name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=FieldProto.LABEL_OPTIONAL, type=FieldProto.TYPE_STRING)
        inner = entry.field.add(name="value", number=2, label=FieldProto.LABEL_OPTIONAL)
        self._typed(message, inner, value, where)
        package = f"{self.file.package}." if self.file.package else ""
        proto.label, proto.type = FieldProto.LABEL_REPEATED, FieldProto.TYPE_MESSAGE
        proto.type_name = f".{package}{message.name}.{name}"

    def _enum(self, shape: Enumeration) -> str:
        if id(shape) not in self.names:
            enum = self.file.enum_type.add(name=shape.name)
            head = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", shape.name).upper()
            enum.value.add(name=f"{head}_UNSPECIFIED", number=0)
            for number, symbol in enumerate(shape.symbols, 1):
                enum.value.add(name=f"{head}_{symbol}", number=number)
        return self._name(shape)

    def _name(self, shape: Record | Enumeration) -> str:
        """A type's full name in this file: a file has one package, so all are in the event's namespace."""
        owner = self._owners.setdefault(shape.name, id(shape))
        if owner != id(shape):
            raise EventDefinitionError(
                f"{self.root.cls.__qualname__}: two types are called {shape.name}; a .proto file can have only one"
            )
        full = f"{self.file.package}.{shape.name}" if self.file.package else shape.name
        self.names[id(shape)] = full
        return full


class _Numbers:
    """The field numbers of one record."""

    def __init__(self, record: Record) -> None:
        self._where = record.cls.__qualname__
        annotations = [field.annotation for field in class_fields(record.cls)]
        self.given = [
            next((extra.number for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, FieldNumber)), None)
            for hint in annotations
        ]
        self._reserved = {number for number in self.given if number is not None}
        self._taken: set[int] = set()
        self._last = 0

    def take(self, given: int | None) -> int:
        if given is None:
            self._last += 1
            while self._last in self._reserved or self._last in self._taken or 19000 <= self._last <= 19999:
                self._last += 1
            given = self._last
        if given in self._taken:
            raise EventDefinitionError(f"{self._where}: field number {given} is given twice")
        self._taken.add(given)
        return given


def _is_null(shape: Shape) -> bool:
    return isinstance(shape, Scalar) and shape.kind == "null"


def _branch_name(shape: Shape) -> str:
    match shape:
        case Record(name=name) | Enumeration(name=name):
            return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        case Scalar(kind=kind) | Logical(kind=kind):
            return {"boolean": "bool", "long": "int64"}.get(kind, kind)
        case DecimalNumber():
            return "decimal"
    return type(shape).__name__.lower()


def _refusal(where: str, what: str, instead: str) -> EventDefinitionError:
    return EventDefinitionError(f"{where}: Protobuf has no {what}. Use instead: {instead}")


__all__ = ["MISSING", "Mapping", "Member"]
