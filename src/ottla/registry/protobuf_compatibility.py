"""May a reader with this Protobuf schema read what was written with that one: Confluent's verdicts.

Fields are told apart by their numbers and messages by their names; enums, renamed fields, and fields that are added or
removed do no harm. Numbers that are written alike (int32, uint32, int64, uint64, bool and enums; string and bytes;
...) may replace each other. What Confluent overlooks is overlooked here: that a removed field's number is used again
(reserve it), and that a field without label becomes repeated.

Source: Confluent's documentation, "Protobuf compatibility rules", the behaviour of its registry 8, and the Protobuf
language guide, "Updating a message type".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto as FieldProto
from google.protobuf.descriptor_pb2 import FileDescriptorProto as FileProto

from ..serde.protobuf.files import ProtoFile
from .incompatibility import Incompatibility

_NUMBER, _SIGNED, _TEXT = "whole number", "signed whole number", "string or bytes"
_KINDS = {
    FieldProto.TYPE_INT32: _NUMBER,
    FieldProto.TYPE_INT64: _NUMBER,
    FieldProto.TYPE_UINT32: _NUMBER,
    FieldProto.TYPE_UINT64: _NUMBER,
    FieldProto.TYPE_BOOL: _NUMBER,
    FieldProto.TYPE_ENUM: _NUMBER,
    FieldProto.TYPE_SINT32: _SIGNED,
    FieldProto.TYPE_SINT64: _SIGNED,
    FieldProto.TYPE_STRING: _TEXT,
    FieldProto.TYPE_BYTES: _TEXT,
    FieldProto.TYPE_FIXED32: "fixed 32 bits",
    FieldProto.TYPE_SFIXED32: "fixed 32 bits",
    FieldProto.TYPE_FIXED64: "fixed 64 bits",
    FieldProto.TYPE_SFIXED64: "fixed 64 bits",
    FieldProto.TYPE_FLOAT: "float",
    FieldProto.TYPE_DOUBLE: "double",
}
_MESSAGES = (FieldProto.TYPE_MESSAGE, FieldProto.TYPE_GROUP)


def incompatibilities(reader: ProtoFile, writer: ProtoFile) -> list[Incompatibility]:
    """Every reason why `reader` cannot read what `writer` wrote; empty if it can."""
    return list(_Comparison(writer, reader).files())


class _Side:
    """One of the two files: its types by full name, and where each was declared."""

    def __init__(self, file: ProtoFile) -> None:
        self.file = file.descriptor
        self.types: dict[str, tuple[Any, FileProto]] = {}
        for declared in (*file.imports.values(), file.descriptor):
            self._collect(declared, declared.package, declared.message_type)

    def _collect(self, file: FileProto, scope: str, messages: Any) -> None:
        for message in messages:
            full = f"{scope}.{message.name}" if scope else message.name
            self.types[full] = (message, file)
            self._collect(file, full, message.nested_type)

    def message(self, field: Any) -> Any:
        return self.types[field.type_name.lstrip(".")][0]

    def entry(self, field: Any) -> Any:
        """The map entry behind a field; None if it is no map."""
        found = self.message(field) if field.type == FieldProto.TYPE_MESSAGE else None
        return found if found is not None and found.options.map_entry else None

    def local_name(self, field: Any) -> str:
        """A message type's name without its package."""
        full = str(field.type_name).lstrip(".")
        package = self.types[full][1].package
        return full.removeprefix(f"{package}.") if package else full

    def is_own(self, field: Any) -> bool:
        return self.types[field.type_name.lstrip(".")][1] is self.file

    def type_name(self, field: Any) -> str:
        entry = self.entry(field)
        if entry is not None:
            return f"map<{self.type_name(entry.field[0])}, {self.type_name(entry.field[1])}>"
        if field.type_name:
            return str(field.type_name.lstrip("."))
        return str(FieldProto.Type.Name(field.type)).removeprefix("TYPE_").lower()

    def label(self, field: Any) -> str:
        """As it is written: empty where proto3 and editions have none."""
        if field.label == FieldProto.LABEL_REPEATED:
            return "repeated"
        if field.label == FieldProto.LABEL_REQUIRED:
            return "required"
        return "optional" if field.proto3_optional or self.file.syntax in ("", "proto2") else ""


class _Comparison:
    def __init__(self, old: ProtoFile, new: ProtoFile) -> None:
        self.old = _Side(old)
        self.new = _Side(new)
        self.open: set[tuple[int, int]] = set()

    def files(self) -> Iterator[Incompatibility]:
        old, new = self.old.file, self.new.file
        if old.package != new.package:
            yield _fault(
                "PACKAGE_CHANGED", (), old.package or "none", new.package or "none",
                "the package at {path} is {new} in {reader} but {old} in {writer}: keep it, it is part of all names",
            )  # fmt: skip
        yield from self.types(old.message_type, new.message_type, ())

    def types(self, old: Any, new: Any, path: tuple[str, ...]) -> Iterator[Incompatibility]:
        after = {message.name: message for message in new}
        for message in old:
            here = (*path, message.name)
            if message.options.map_entry:
                continue  # compared as the type of its field
            if message.name in after:
                yield from self.messages(message, after[message.name], here)
            else:
                yield _fault(
                    "MESSAGE_REMOVED", here, f"message {message.name}", "no such message",
                    "{writer} has the message {path}, {reader} does not: keep it, there may be records of it",
                )  # fmt: skip

    def messages(self, old: Any, new: Any, path: tuple[str, ...]) -> Iterator[Incompatibility]:
        pair = (id(old), id(new))
        if pair in self.open:
            return
        self.open.add(pair)
        before, after = _fields(old), _fields(new)
        yield from self._oneofs(old, new, before, after, path)
        for number in sorted({*before, *after}):
            yield from self._field(old, new, before.get(number), after.get(number), path)
        self.open.discard(pair)
        yield from self.types(old.nested_type, new.nested_type, path)

    def _oneofs(
        self, old: Any, new: Any, before: Mapping[int, Any], after: Mapping[int, Any], path: tuple[str, ...]
    ) -> Iterator[Incompatibility]:
        """Fields that could be set together before must not exclude each other now."""
        for name in dict.fromkeys(filter(None, (_oneof(new, field) for field in new.field))):
            members = [field for field in new.field if _oneof(new, field) == name and field.number in before]
            groups = {_oneof(old, before[field.number]) or field.number for field in members}
            loose = [field.name for field in members if _oneof(old, before[field.number]) is None]
            if len(groups) > 1:
                yield _fault(
                    "MULTIPLE_FIELDS_MOVED_TO_ONEOF" if len(loose) > 1 else "FIELD_MOVED_TO_EXISTING_ONEOF",
                    (*path, name), "independent of each other", f"oneof {name}",
                    f"the fields {', '.join(field.name for field in members)} are {{new}} in {{reader}} but {{old}} in "
                    f"{{writer}}, at {{path}}: of several that were written together only one would be read",
                )  # fmt: skip

    def _field(self, old: Any, new: Any, before: Any, after: Any, path: tuple[str, ...]) -> Iterator[Incompatibility]:
        if after is None:
            yield from self._removed(old, new, before, path)
        elif before is None:
            if after.label == FieldProto.LABEL_REQUIRED:
                yield _fault(
                    "REQUIRED_FIELD_ADDED", (*path, str(after.number)), "no such field", f"required {after.name}",
                    "the field at {path} is {new} in {reader}; {writer} has {old}, so its records cannot be read: make "
                    "it optional",
                )  # fmt: skip
        else:
            oneof = _oneof(new, after)
            yield from self._types(before, after, (*path, *((oneof,) if oneof else ()), str(after.number)))

    def _removed(self, old: Any, new: Any, field: Any, path: tuple[str, ...]) -> Iterator[Incompatibility]:
        oneof = _oneof(old, field)
        if oneof is None:
            if field.label == FieldProto.LABEL_REQUIRED:
                yield _fault(
                    "REQUIRED_FIELD_REMOVED", (*path, str(field.number)), f"required {field.name}", "no such field",
                    "the field at {path} is {old} in {writer}; {reader} has {new}: who still has the old schema could "
                    "not read what is written without it",
                )  # fmt: skip
            return
        still = {_oneof(new, one) for one in new.field}
        members = {one.number for one in old.field if _oneof(old, one) == oneof}
        gone_with_it = oneof not in still and not members & {one.number for one in new.field}
        if not gone_with_it:
            yield _fault(
                "ONEOF_FIELD_REMOVED", (*path, oneof, str(field.number)), f"{field.name} of oneof {oneof}",
                "no such field",
                "the field at {path} is {old} in {writer}; {reader} has {new}, so it would read such a record as if "
                "nothing had been chosen: keep it",
            )  # fmt: skip

    def _types(
        self, before: Any, after: Any, path: tuple[str, ...], *, labels: bool = True
    ) -> Iterator[Incompatibility]:
        was, now = self.old.type_name(before), self.new.type_name(after)
        entries = self.old.entry(before), self.new.entry(after)
        kinds = [_shape(field, entry) for field, entry in zip((before, after), entries, strict=True)]
        if kinds[0] != kinds[1]:
            yield _fault(
                "FIELD_KIND_CHANGED", path, was, now, "the field at {path} is {new} in {reader} but {old} in {writer}",
            )  # fmt: skip
        elif entries[0] is not None and entries[1] is not None:
            for index in (0, 1):
                yield from self._types(entries[0].field[index], entries[1].field[index], path, labels=False)
        elif kinds[0] == "message":
            yield from self._message_types(before, after, path)
        elif _KINDS[before.type] != _KINDS[after.type]:
            yield _fault(
                "FIELD_SCALAR_KIND_CHANGED", path, was, now,
                f"the field at {{path}} is {{new}} in {{reader}} but {{old}} in {{writer}}, which are written "
                f"differently ({_KINDS[after.type]}, {_KINDS[before.type]}): add a new field with a new number",
            )  # fmt: skip
        elif labels and _KINDS[before.type] != _TEXT:
            yield from self._labels(before, after, path)

    def _labels(self, before: Any, after: Any, path: tuple[str, ...]) -> Iterator[Incompatibility]:
        was, now = self.old.label(before), self.new.label(after)
        if was and now and was != now:
            yield _fault(
                "FIELD_NUMERIC_LABEL_CHANGED", path, was, now,
                "the number field at {path} is {new} in {reader} but {old} in {writer}",
            )  # fmt: skip

    def _message_types(self, before: Any, after: Any, path: tuple[str, ...]) -> Iterator[Incompatibility]:
        fault = _fault(
            "FIELD_NAMED_TYPE_CHANGED", path, self.old.type_name(before), self.new.type_name(after),
            "the message type of the field at {path} is {new} in {reader} but {old} in {writer}",
        )  # fmt: skip
        if self.old.local_name(before) != self.new.local_name(after):
            yield fault
        elif not (self.old.is_own(before) and self.new.is_own(after)):
            # Types of these files are compared where they stand; imported ones only here.
            inside = list(self.messages(self.old.message(before), self.new.message(after), path))
            yield from inside
            if inside:
                yield fault


def _fields(message: Any) -> dict[int, Any]:
    return {field.number: field for field in message.field}


def _oneof(message: Any, field: Any) -> str | None:
    """The oneof a field is in; None for none, and for proto3's `optional`, which is one only underneath."""
    if not field.HasField("oneof_index") or field.proto3_optional:
        return None
    return str(message.oneof_decl[field.oneof_index].name)


def _shape(field: Any, entry: Any) -> str:
    if entry is not None:
        return "map"
    return "message" if field.type in _MESSAGES else "scalar"


def _fault(kind: str, path: tuple[str, ...], old: str, new: str, text: str) -> Incompatibility:
    place = "#/" + "/".join(path)
    told = text.replace("{path}", f"'{place}'").replace("{new}", new).replace("{old}", old)
    return Incompatibility(kind, place, new, old, told, f"{old} -> {new}")
