"""A .proto file together with everything it imports, and the message types that come out of it."""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto as FileProto
from google.protobuf.message import DecodeError

from .known import known_file
from .names import resolve
from .parser import parse
from .printer import print_file
from .tokens import InvalidProto

DEFAULT_NAME = "schema.proto"


@dataclass(frozen=True)
class ProtoFile:
    """A file, resolved.

    Attributes:
        descriptor: The file itself, every type name resolved.
        written: The same with the names as they were written.
        imports: Everything it needs, by the name it is imported by, its imports' imports included.
    """

    descriptor: FileProto
    written: FileProto
    imports: Mapping[str, FileProto] = field(default_factory=dict)

    @functools.cached_property
    def text(self) -> str:
        """The file as canonical text, with the names that its author wrote."""
        return print_file(self.written)

    @functools.cached_property
    def normalized(self) -> str:
        """The file as canonical text with full names: the same for files that mean the same."""
        return print_file(self.descriptor)

    @functools.cached_property
    def pool(self) -> descriptor_pool.DescriptorPool:
        """A pool of its own with the file and its imports, so that no two schemas can be in each other's way."""
        pool = descriptor_pool.DescriptorPool()
        for file in (*self.imports.values(), self.descriptor):
            pool.Add(_without_kept_options(file))
        return pool

    def message_class(self, full_name: str) -> Any:
        """The class of a message type, by full name. KeyError if there is none."""
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(full_name))

    def full_name(self, indexes: tuple[int, ...]) -> str:
        """The full name of the message at these indexes (Confluent's message indexes: which message of the file,
        which nested message in that, ...). Map entries are not counted.

        Raises:
            IndexError: There is none.
        """
        messages: Any = self.descriptor.message_type
        names = [self.descriptor.package] if self.descriptor.package else []
        for index in indexes:
            message = [m for m in messages if not m.options.map_entry][index]
            names.append(message.name)
            messages = message.nested_type
        return ".".join(names)


def load(text: str, references: Mapping[str, str] | None = None, name: str = DEFAULT_NAME) -> ProtoFile:
    """Reads a file: text, or a FileDescriptorProto in base64, which is what Confluent's Python client registers.

    Args:
        text: The file.
        references: The files it imports, and those that they import, by the name in the import.
        name: The file's own name.

    Raises:
        InvalidProto: It is no Protobuf, or imports what is neither a reference nor well known.
    """
    return _Loader(references or {}).load(text, name)


class _Loader:
    def __init__(self, references: Mapping[str, str]) -> None:
        self.references = references
        self.loaded: dict[str, FileProto] = {}  # in the order in which a pool wants them
        self.open: list[str] = []

    def load(self, text: str, name: str) -> ProtoFile:
        file = read_file(text, name)
        self.open.append(name)
        self.imports_of(file)
        written = FileProto()
        written.CopyFrom(file)
        resolve(file, self.visible(file))
        return ProtoFile(file, written, dict(self.loaded))

    def imports_of(self, file: FileProto) -> None:
        for name in file.dependency:
            if name in self.loaded:
                continue
            if name in self.open:
                raise InvalidProto(f"import {name!r} leads back to itself")
            text = self.references.get(name)
            if text is not None:
                imported = read_file(text, name)
            else:
                well_known = known_file(name)
                if well_known is None:
                    raise InvalidProto(
                        f"import {name!r} is neither one of the schema's references "
                        f"({', '.join(self.references) or 'it has none'}) nor a file everyone has"
                    )
                imported = well_known
            self.open.append(name)
            self.imports_of(imported)
            if text is not None:
                resolve(imported, self.visible(imported))
            self.open.pop()
            self.loaded[name] = imported

    def visible(self, file: FileProto) -> list[FileProto]:
        """What `file` imports, and what those import publicly."""
        found: dict[str, FileProto] = {}
        todo = list(file.dependency)
        while todo:
            name = todo.pop()
            if name not in found:
                found[name] = self.loaded[name]
                todo += [found[name].dependency[index] for index in found[name].public_dependency]
        return list(found.values())


def read_file(text: str, name: str) -> FileProto:
    """A file's descriptor, from its text or from base64; type names may be unresolved.

    Raises:
        InvalidProto: It is neither.
    """
    if not any(mark in text for mark in "{;"):
        try:
            file = FileProto.FromString(base64.b64decode(text, validate=True))
        except (binascii.Error, DecodeError, ValueError):
            return parse(text, name)
        file.name = name
        file.ClearField("source_code_info")
        return file
    return parse(text, name)


def serialized(file: FileProto) -> str:
    """A file's descriptor in base64: the form in which Confluent's Python client reads and writes schemas."""
    return base64.b64encode(file.SerializeToString(deterministic=True)).decode()


def _without_kept_options(file: FileProto) -> FileProto:
    """A copy without options that Protobuf itself does not define: pools would look for their definitions."""
    copy = FileProto()
    copy.CopyFrom(file)
    _strip(copy)
    return copy


def _strip(message: Any) -> None:
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        for part in value if descriptor.is_repeated else [value]:
            if descriptor.name == "options":
                part.ClearField("uninterpreted_option")
            else:
                _strip(part)
