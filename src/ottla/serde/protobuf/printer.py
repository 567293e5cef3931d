"""Writes a FileDescriptorProto as text: one text for files that mean the same.

Comments are not kept. In a message stand its options, reserved names and numbers, fields, oneofs, nested types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as FieldProto
from google.protobuf.descriptor_pb2 import FileDescriptorProto as FileProto

from .parser import NUMBER_MAX, SCALARS

_SCALAR_NAMES = {number: name for name, number in SCALARS.items()}
_INDENT = "  "


def print_file(file: FileProto) -> str:
    """The file's text."""
    return "\n".join(_Printer(file).lines()) + "\n"


class _Printer:
    def __init__(self, file: FileProto) -> None:
        self.file = file
        self.syntax = file.syntax or "proto2"

    def lines(self) -> Iterator[str]:
        file = self.file
        if self.syntax == "editions":
            name = descriptor_pb2.Edition.Name(file.edition).removeprefix("EDITION_")
            yield f'edition = "{name}";'
        else:
            yield f'syntax = "{self.syntax}";'
        if file.package:
            yield f"package {file.package};"
        if file.dependency:
            yield ""
        for index, name in enumerate(file.dependency):
            kind = "public " if index in file.public_dependency else "weak " if index in file.weak_dependency else ""
            yield f"import {kind}{_quoted(name)};"
        options = list(_options(file.options))
        if options:
            yield ""
        yield from (f"option {option};" for option in options)
        for message in file.message_type:
            yield ""
            yield from self.message(message, file.package)
        for enum in file.enum_type:
            yield ""
            yield from self.enum(enum)
        yield from self.extensions(file.extension, file.package)
        for service in file.service:
            yield ""
            yield from self.service(service)

    def message(self, message: Any, scope: str) -> Iterator[str]:
        yield f"message {message.name} {{"
        yield from _indented(self.message_body(message, f"{scope}.{message.name}" if scope else message.name))
        yield "}"

    def message_body(self, message: Any, scope: str) -> Iterator[str]:
        yield from (f"option {option};" for option in _options(message.options))
        yield from _reserved(message, NUMBER_MAX, 1)
        # By both names: printed are also files whose names are not resolved.
        nested = {name: m for m in message.nested_type for name in (f".{scope}.{m.name}", m.name)}
        entries = {name: m for name, m in nested.items() if m.options.map_entry}
        groups = nested
        group_names = {f.type_name for f in (*message.field, *message.extension) if f.type == FieldProto.TYPE_GROUP}
        for field in message.field:
            if not field.HasField("oneof_index") or field.proto3_optional:
                yield from self.field(field, entries, groups)
        synthetic = {f.oneof_index for f in message.field if f.proto3_optional}
        for index, oneof in enumerate(message.oneof_decl):
            if index in synthetic:
                continue
            yield f"oneof {oneof.name} {{"
            yield from _indented(f"option {option};" for option in _options(oneof.options))
            for field in message.field:
                if field.HasField("oneof_index") and field.oneof_index == index:
                    yield from _indented(self.field(field, entries, groups))
            yield "}"
        for span in message.extension_range:
            yield f"extensions {_span(span.start, span.end - 1, NUMBER_MAX)};"
        for inner in message.nested_type:
            if not inner.options.map_entry and not {f".{scope}.{inner.name}", inner.name} & group_names:
                yield from self.message(inner, scope)
        for enum in message.enum_type:
            yield from self.enum(enum)
        yield from self.extensions(message.extension, scope)

    def field(self, field: Any, entries: dict[str, Any], groups: dict[str, Any]) -> Iterator[str]:
        options = [f"json_name = {_quoted(field.json_name)}"] if _own_json_name(field) else []
        if field.HasField("default_value"):
            quoted = field.type in (FieldProto.TYPE_STRING, FieldProto.TYPE_BYTES)
            options.append(f"default = {_quoted(field.default_value) if quoted else field.default_value}")
        options += _options(field.options)
        after = f" = {field.number}" + (f" [{', '.join(options)}]" if options else "")
        entry = entries.get(field.type_name)
        if entry is not None:
            key, value = entry.field
            yield f"map<{_type_name(key)}, {_type_name(value)}> {field.name}{after};"
            return
        label = self.label(field)
        group = groups.get(field.type_name) if field.type == FieldProto.TYPE_GROUP else None
        if group is not None:
            yield f"{label}group {group.name}{after} {{"
            yield from _indented(self.message_body(group, field.type_name.lstrip(".")))
            yield "}"
            return
        yield f"{label}{_type_name(field)} {field.name}{after};"

    def label(self, field: Any) -> str:
        if field.label == FieldProto.LABEL_REPEATED:
            return "repeated "
        if field.label == FieldProto.LABEL_REQUIRED:
            return "required "
        in_oneof = field.HasField("oneof_index") and not field.proto3_optional
        return "optional " if field.proto3_optional or (self.syntax == "proto2" and not in_oneof) else ""

    def enum(self, enum: Any) -> Iterator[str]:
        yield f"enum {enum.name} {{"
        yield from (f"{_INDENT}option {option};" for option in _options(enum.options))
        yield from _indented(_reserved(enum, 2**31 - 1, 0))
        for value in enum.value:
            options = list(_options(value.options))
            yield f"{_INDENT}{value.name} = {value.number}" + (f" [{', '.join(options)}]" if options else "") + ";"
        yield "}"

    def extensions(self, fields: Any, scope: str) -> Iterator[str]:
        for extendee in dict.fromkeys(field.extendee for field in fields):
            yield f"extend {extendee} {{"
            for field in fields:
                if field.extendee == extendee:
                    yield from _indented(self.field(field, {}, {}))
            yield "}"

    def service(self, service: Any) -> Iterator[str]:
        yield f"service {service.name} {{"
        yield from (f"{_INDENT}option {option};" for option in _options(service.options))
        for method in service.method:
            asked = f"{'stream ' if method.client_streaming else ''}{method.input_type}"
            answered = f"{'stream ' if method.server_streaming else ''}{method.output_type}"
            head = f"{_INDENT}rpc {method.name} ({asked}) returns ({answered})"
            options = list(_options(method.options))
            if options:
                yield f"{head} {{"
                yield from (f"{_INDENT * 2}option {option};" for option in options)
                yield f"{_INDENT}}}"
            else:
                yield f"{head};"
        yield "}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"{_INDENT}{line}" for line in lines)


def _type_name(field: Any) -> str:
    return field.type_name or _SCALAR_NAMES[field.type]


def _own_json_name(field: Any) -> bool:
    """protoc fills json_name in for every field; only one that was written is worth printing."""
    if not field.json_name:
        return False
    first, *rest = field.name.split("_")
    usual = first + "".join(part[:1].upper() + part[1:] for part in rest)
    return bool(field.json_name != usual)


def _reserved(target: Any, highest: int, end_offset: int) -> Iterator[str]:
    spans = [_span(span.start, span.end - end_offset, highest) for span in target.reserved_range]
    if spans:
        yield f"reserved {', '.join(spans)};"
    if target.reserved_name:
        yield f"reserved {', '.join(map(_quoted, target.reserved_name))};"


def _span(start: int, end: int, highest: int) -> str:
    return str(start) if start == end else f"{start} to {'max' if end >= highest else end}"


def _options(options: Any) -> Iterator[str]:
    for field, value in options.ListFields():
        if field.name == "uninterpreted_option" or field.name == "map_entry" or field.is_extension:
            continue
        if field.message_type is not None:
            continue  # features of editions: resolved ones cannot be told from written ones
        for one in value if field.is_repeated else [value]:
            yield f"{field.name} = {_option_value(field, one)}"
    for kept in options.uninterpreted_option:
        name = ".".join(f"({part.name_part})" if part.is_extension else part.name_part for part in kept.name)
        yield f"{name} = {_kept_value(kept)}"


def _option_value(field: Any, value: Any) -> str:
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else str(value)


def _kept_value(kept: Any) -> str:
    if kept.HasField("identifier_value"):
        return str(kept.identifier_value)
    if kept.HasField("string_value"):
        return _quoted(kept.string_value.decode("utf-8", "replace"))
    if kept.HasField("aggregate_value"):
        return f"{{ {kept.aggregate_value} }}"
    for name in ("positive_int_value", "negative_int_value", "double_value"):
        if kept.HasField(name):
            return str(getattr(kept, name))
    return "{}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
