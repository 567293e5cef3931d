"""A schema of any type: parsed once, printed in its canonical form, held against others."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from . import avro_compatibility
from .avro_canonical import canonical
from .avro_parser import parse as parse_avro
from .incompatibility import Incompatibility
from .schema_error import InvalidSchema, MissingExtra

if TYPE_CHECKING:
    from .avro_schema import AvroSchema

TYPES = ("AVRO", "JSON", "PROTOBUF")


class Schema(ABC):
    """One schema with what it refers to.

    Attributes:
        text: Its canonical text: white space, comments and the like do not count.
    """

    kind: ClassVar[str]
    text: str

    @property
    def normalized(self) -> str:
        """Its text in the form that `normalize` asks for: what means the same reads the same."""
        return self.text

    @abstractmethod
    def incompatibilities(self, writer: Any, *, lenient: bool = False) -> list[Incompatibility]:
        """Why this schema cannot read what `writer` (of the same type) wrote; empty if it can."""

    def formatted(self, form: str) -> str:
        """Its text in a form that a client asks for with `format`; an unknown one is ignored."""
        return self.text


class Avro(Schema):
    kind = "AVRO"

    def __init__(self, text: str, references: Mapping[str, str], *, strict: bool) -> None:
        known: dict[str, Any] = {}
        for name, referred in references.items():
            known |= _named(referred, known, name)
        self.parsed: AvroSchema = parse_avro(text, validate_defaults=strict, known=known)
        self._known = known
        self.text = canonical(self.parsed, frozenset(known))

    def incompatibilities(self, writer: Avro, *, lenient: bool = False) -> list[Incompatibility]:
        return avro_compatibility.incompatibilities(self.parsed, writer.parsed)

    def formatted(self, form: str) -> str:
        return canonical(self.parsed) if form == "resolved" else self.text


def _named(text: str, known: dict[str, Any], name: str) -> dict[str, Any]:
    declared = dict(known)
    try:
        parse_avro(text, validate_defaults=False, known=declared, declare_into=declared)
    except InvalidSchema as error:
        raise InvalidSchema(f"reference {name!r}: {error}") from error
    return declared


class JsonSchema(Schema):
    kind = "JSON"

    def __init__(self, text: str, references: Mapping[str, str], *, strict: bool) -> None:
        from .json_schema.document import Document, compact

        self.document = Document(text, references, check=strict)
        self.text = compact(text)

    @property
    def normalized(self) -> str:
        return json.dumps(self.document.root, separators=(",", ":"), ensure_ascii=False, sort_keys=True)

    def incompatibilities(self, writer: JsonSchema, *, lenient: bool = False) -> list[Incompatibility]:
        from .json_schema.diff import incompatibilities

        return incompatibilities(self.document, writer.document, lenient=lenient)


class Protobuf(Schema):
    kind = "PROTOBUF"

    def __init__(self, text: str, references: Mapping[str, str], *, strict: bool) -> None:
        try:
            from ..serde.protobuf.files import load
            from ..serde.protobuf.tokens import InvalidProto
        except ImportError:
            raise MissingExtra("Protobuf", "protobuf") from None
        try:
            self.file = load(text, references)
        except InvalidProto as error:
            raise InvalidSchema(str(error)) from error
        self.text = self.file.text

    @property
    def normalized(self) -> str:
        return self.file.normalized

    def incompatibilities(self, writer: Protobuf, *, lenient: bool = False) -> list[Incompatibility]:
        from .protobuf_compatibility import incompatibilities

        return incompatibilities(self.file, writer.file)

    def formatted(self, form: str) -> str:
        from ..serde.protobuf.files import serialized

        return serialized(self.file.descriptor) if form == "serialized" else self.text


_CLASSES: dict[str, type[Avro] | type[JsonSchema] | type[Protobuf]] = {
    "AVRO": Avro,
    "JSON": JsonSchema,
    "PROTOBUF": Protobuf,
}


def parse(kind: str, text: str, references: Mapping[str, str] | None = None, *, strict: bool = True) -> Schema:
    """Reads a schema.

    Args:
        kind: AVRO, JSON or PROTOBUF.
        text: Its text; a Protobuf schema may also be a FileDescriptorProto in base64.
        references: What it refers to, by the name it uses for it, before what refers to it: text.
        strict: Refuse also what breaks a rule without making the schema unreadable (a default that does not fit). Off
            for text that some registry accepted already.

    Raises:
        InvalidSchema: It is none, refers to what is not there, or is of an unknown type.
        MissingExtra: What reads this type is not installed.
    """
    try:
        made = _CLASSES[kind]
    except KeyError:
        raise InvalidSchema(f"schema type {kind!r} is none of {', '.join(TYPES)}") from None
    if not text.strip():
        raise InvalidSchema("the schema is empty")
    return made(text, references or {}, strict=strict)
