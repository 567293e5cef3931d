"""Resolves the type names in a parsed file: from the innermost scope outwards, as protoc does.

Source: the Protocol Buffers language guide, "Packages and name resolution".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto as FieldProto
from google.protobuf.descriptor_pb2 import FileDescriptorProto as FileProto

from .tokens import InvalidProto

_KIND = {"message": FieldProto.TYPE_MESSAGE, "enum": FieldProto.TYPE_ENUM}


def symbols(file: FileProto) -> dict[str, str]:
    """Every type a file declares, by full name: `message` or `enum`."""
    return dict(_declared(file.package, file.message_type, file.enum_type))


def resolve(file: FileProto, imported: Iterable[FileProto]) -> None:
    """Replaces every type name in `file` by its full name with a leading dot, and checks numbers and names.

    Args:
        file: What `parser.parse` gave.
        imported: The files it sees: what it imports, and what those import publicly.

    Raises:
        InvalidProto: A type nobody declares, a number or a name that is used twice or is reserved.
    """
    known: dict[str, str] = {}
    for other in imported:
        known |= symbols(other)
    own = symbols(file)
    twice = own.keys() & known.keys()
    if twice:
        raise InvalidProto(f"type {min(twice)} is declared here and in an imported file")
    _Resolver(known | own).file(file)


def _declared(scope: str, messages: Any, enums: Any) -> Iterator[tuple[str, str]]:
    for enum in enums:
        yield _join(scope, enum.name), "enum"
    for message in messages:
        full = _join(scope, message.name)
        yield full, "message"
        yield from _declared(full, message.nested_type, message.enum_type)


def _join(scope: str, name: str) -> str:
    return f"{scope}.{name}" if scope else name


class _Resolver:
    def __init__(self, known: dict[str, str]) -> None:
        self.known = known

    def file(self, file: FileProto) -> None:
        _unique("the file", [*(m.name for m in file.message_type), *(e.name for e in file.enum_type)])
        for message in file.message_type:
            self.message(message, _join(file.package, message.name))
        for enum in file.enum_type:
            _check_enum(enum, _join(file.package, enum.name))
        for field in file.extension:
            self.field(field, file.package)
        for service in file.service:
            scope = _join(file.package, service.name)
            for method in service.method:
                method.input_type = "." + self.found(method.input_type, scope, f"rpc {method.name}")[0]
                method.output_type = "." + self.found(method.output_type, scope, f"rpc {method.name}")[0]

    def message(self, message: Any, scope: str) -> None:
        _unique(f"message {scope}", [*(m.name for m in message.nested_type), *(e.name for e in message.enum_type)])
        _check_fields(message, scope)
        for field in (*message.field, *message.extension):
            self.field(field, scope)
        for nested in message.nested_type:
            self.message(nested, _join(scope, nested.name))
        for enum in message.enum_type:
            _check_enum(enum, _join(scope, enum.name))

    def field(self, field: Any, scope: str) -> None:
        if field.extendee:
            field.extendee = "." + self.found(field.extendee, scope, f"extend of {field.name}")[0]
        if not field.type_name:
            return
        full, kind = self.found(field.type_name, scope, f"field {_join(scope, field.name)}")
        field.type_name = f".{full}"
        if field.type != FieldProto.TYPE_GROUP:
            field.type = _KIND[kind]

    def found(self, name: str, scope: str, where: str) -> tuple[str, str]:
        if name.startswith("."):
            full = name[1:]
            if full in self.known:
                return full, self.known[full]
        else:
            parts = scope.split(".") if scope else []
            for length in range(len(parts), -1, -1):
                full = ".".join([*parts[:length], name])
                if full in self.known:
                    return full, self.known[full]
        raise InvalidProto(
            f"{where}: no type {name.lstrip('.')!r} is declared here or in an imported file; "
            f"is an import or a reference missing?"
        )


def _check_fields(message: Any, scope: str) -> None:
    _unique(f"message {scope}", [field.name for field in message.field])
    numbers: dict[int, str] = {}
    for field in message.field:
        where = f"message {scope}, field {field.name}"
        if field.number in numbers:
            raise InvalidProto(f"{where}: number {field.number} is that of field {numbers[field.number]}, too")
        numbers[field.number] = field.name
        if any(span.start <= field.number < span.end for span in message.reserved_range):
            raise InvalidProto(f"{where}: number {field.number} is reserved")
        if field.name in message.reserved_name:
            raise InvalidProto(f"{where}: the name is reserved")


def _check_enum(enum: Any, scope: str) -> None:
    _unique(f"enum {scope}", [value.name for value in enum.value])
    numbers: dict[int, str] = {}
    for value in enum.value:
        if value.number in numbers and not enum.options.allow_alias:
            raise InvalidProto(
                f"enum {scope}: {value.name} and {numbers[value.number]} are both {value.number} "
                f"(allowed with `option allow_alias = true`)"
            )
        numbers.setdefault(value.number, value.name)
        if any(span.start <= value.number <= span.end for span in enum.reserved_range):
            raise InvalidProto(f"enum {scope}, value {value.name}: number {value.number} is reserved")


def _unique(where: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidProto(f"{where}: {name!r} is declared twice")
        seen.add(name)
