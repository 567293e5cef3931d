"""From a .proto file: a class for each message, its fields with their numbers."""

from __future__ import annotations

import json
import re
from typing import Any

from ...serde.registry import Registered
from ..schema import Protobuf
from ..schema_error import InvalidSchema
from .model import Class, EnumClass, Field, Module, member_name, python_name

_SCALARS = {
    1: "float", 2: "float", 3: "int", 4: "int", 5: "int", 6: "int", 7: "int", 8: "bool", 9: "str", 12: "bytes",
    13: "int", 15: "int", 16: "int", 17: "int", 18: "int",
}  # fmt: skip
_ZEROS = {"float": "0.0", "int": "0", "bool": "False", "str": '""', "bytes": 'b""'}
_KNOWN = {".google.protobuf.Timestamp": "datetime", ".google.protobuf.Duration": "timedelta"}


def module_of_protobuf(schema: Registered) -> Module:
    """Classes for all messages of a file; the first message is the main one."""
    file = Protobuf(schema.text, schema.references, strict=False).file
    if not file.descriptor.message_type:
        raise InvalidSchema("the file has no message, so there is no class to write")
    walk = _Walk(Module("protobuf"))
    for one in (*file.imports.values(), file.descriptor):
        walk.collect(one.package, one.message_type, one.enum_type)
    package = file.descriptor.package
    for message in file.descriptor.message_type:
        walk.message(f".{package}.{message.name}" if package else f".{message.name}")
    first = file.descriptor.message_type[0].name
    walk.module.full_name = f"{package}.{first}" if package else first
    walk.module.main = walk.module.class_name(f".{walk.module.full_name}")
    return walk.module


class _Walk:
    def __init__(self, module: Module) -> None:
        self.module = module
        self.messages: dict[str, Any] = {}
        self.enums: dict[str, Any] = {}
        self.seen: set[str] = set()

    def collect(self, scope: str, messages: Any, enums: Any) -> None:
        head = f".{scope}." if scope else "."
        for enum in enums:
            self.enums[f"{head}{enum.name}"] = enum
        for message in messages:
            self.messages[f"{head}{message.name}"] = message
            self.collect(f"{head}{message.name}"[1:], message.nested_type, message.enum_type)

    def message(self, full: str) -> str:
        name = self.module.class_name(full)
        if full in self.seen:
            return name
        self.seen.add(full)
        message = self.messages[full]
        made = Class(name, full[1:])
        oneofs: dict[int, list[Any]] = {}
        for field in message.field:
            if field.HasField("oneof_index") and not field.proto3_optional:
                oneofs.setdefault(field.oneof_index, []).append(field)
            else:
                made.fields.append(self.field(full, field))
        for index, fields in oneofs.items():
            made.fields.append(self.oneof(message.oneof_decl[index].name, fields))
        for nested in message.nested_type:
            if not nested.options.map_entry:
                self.message(f"{full}.{nested.name}")
        self.module.declarations.append(made)
        return name

    def field(self, owner: str, field: Any) -> Field:
        kind, default = self.typed(field), None
        entry = self.messages.get(field.type_name)
        if entry is not None and entry.options.map_entry:
            kind = f"dict[str, {self.typed(entry.field[1])}]"
            if entry.field[0].type != 9:
                raise InvalidSchema(f"{owner[1:]}.{field.name}: events have only maps with strings as keys")
            default = "{}"
        elif field.label == 3:
            kind, default = f"list[{kind}]", "[]"
        elif field.proto3_optional or (field.type_name and field.type_name not in self.enums):
            kind, default = f"{kind} | None", "None"
        return Field(python_name(field.name), field.name, f"Annotated[{kind}, FieldNumber({field.number})]", default)

    def oneof(self, name: str, fields: list[Any]) -> Field:
        kinds = [self.typed(field) for field in fields]
        if len(set(kinds)) < len(kinds):
            raise InvalidSchema(f"oneof {name}: two of its fields are of the same type, which no union can tell apart")
        numbers = [field.number for field in fields]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise InvalidSchema(f"oneof {name}: its fields must have numbers in a row, not {numbers}")
        return Field(
            python_name(name), name, f"Annotated[{' | '.join([*kinds, 'None'])}, FieldNumber({numbers[0]})]", "None"
        )

    def typed(self, field: Any) -> str:
        if field.type_name in _KNOWN:
            return _KNOWN[field.type_name]
        if field.type_name in self.enums:
            return self.enum(field.type_name)
        if field.type_name:
            return self.message(field.type_name)
        return _SCALARS[field.type]

    def enum(self, full: str) -> str:
        name = self.module.class_name(full)
        if full not in self.seen:
            self.seen.add(full)
            enum = self.enums[full]
            head = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
            values = [one.name.removeprefix(head) for one in enum.value if one.number != 0] or [enum.value[0].name]
            members = [(member_name(value), json.dumps(value)) for value in values]
            self.module.declarations.append(EnumClass(name, members))
        return name
