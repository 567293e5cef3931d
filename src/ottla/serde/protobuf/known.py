"""Files that everyone may import without registering them: Protobuf's own, Google's common types, Confluent's.

Confluent's clients leave them out of a schema's references, so whoever reads such a schema must have them.
"""

from __future__ import annotations

import functools
import importlib

from google.protobuf.descriptor_pb2 import FileDescriptorProto as FileProto

from .parser import parse

_GOOGLE = {
    "google/protobuf/": "google.protobuf",
    "google/type/": "google.type",  # from googleapis-common-protos, where that is installed
}

_CONFLUENT = {
    "confluent/meta.proto": """
        syntax = "proto3";
        package confluent;
        import "google/protobuf/descriptor.proto";
        message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }
        extend google.protobuf.FileOptions { Meta file_meta = 1088; }
        extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
        extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
        extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
        extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
        """,
    "confluent/type/decimal.proto": """
        syntax = "proto3";
        package confluent.type;
        message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }
        """,
}


@functools.lru_cache(maxsize=256)
def known_file(name: str) -> FileProto | None:
    """The descriptor of a file that needs no reference; None if it is not one of those. Not to be changed."""
    if name in _CONFLUENT:
        from .names import resolve

        file = parse(_CONFLUENT[name], name)
        resolve(file, [found for found in map(known_file, file.dependency) if found is not None])
        return file
    for folder, package in _GOOGLE.items():
        if name.startswith(folder) and name.endswith(".proto") and "/" not in name[len(folder) :]:
            module = f"{package}.{name[len(folder) : -len('.proto')]}_pb2"
            try:
                descriptor = importlib.import_module(module).DESCRIPTOR
            except ImportError:
                return None
            return FileProto.FromString(descriptor.serialized_pb)
    return None
