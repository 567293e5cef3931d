"""One reason why a reader's schema cannot read what was written with another."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """One reason why the reader cannot read the writer's data.

    Attributes:
        kind: Confluent's name for it where there is one (`TYPE_MISMATCH`, `FIELD_KIND_CHANGED`, ...).
        path: Where, as a JSON pointer (Avro, JSON Schema) or a path of names and field numbers (Protobuf).
        reader: What the reader has there, in words.
        writer: What the writer has there, in words.
        text: A sentence with `{reader}` and `{writer}` for the two schemas, which only the caller can name
            ("the new schema", "version 3").
        detail: The short fact behind it (a field's name, the missing symbols).
    """

    kind: str
    path: str
    reader: str
    writer: str
    text: str
    detail: str

    def sentence(self, reader: str, writer: str) -> str:
        """The reason in words, for instance with `reader="the new schema"`, `writer="the old schema"`."""
        return self.text.replace("{reader}", reader).replace("{writer}", writer)
