"""The JSON Schema of an event class."""

from __future__ import annotations

import functools
import json
from typing import Any

from ottla.events.derivation import record_shape
from ottla.events.fields import MISSING
from ottla.events.shapes import Array, DecimalNumber, Enumeration, Logical, Map, Record, Scalar, Shape, Union
from ottla.serde.plain import TAG, PlainCodec, tagged_records

_SCALARS = {"null": "null", "boolean": "boolean", "long": "integer", "double": "number", "string": "string"}
_FORMATS = {"datetime": "date-time", "date": "date", "time": "time", "timedelta": "duration", "uuid": "uuid"}


def json_schema_text(cls: type) -> str:
    """The JSON Schema (draft 7) derived from a class, as compact text: what is registered.

    Objects are closed (`additionalProperties: false`): that is what lets a field with a default be added later without
    breaking Confluent's compatibility rules. Readers here pass unknown properties over all the same. A field is
    required unless it has a default. Other types get a definition; where a field may hold several of them, `@type`
    says which.

    Raises:
        EventDefinitionError: A field has a type no schema can be derived from.
    """
    key: Any = cls
    return _text(key)


@functools.lru_cache(maxsize=4096)
def _text(cls: Any) -> str:
    return json.dumps(_Rendering(record_shape(cls)).document(), separators=(",", ":"), ensure_ascii=False)


class _Rendering:
    def __init__(self, root: Record) -> None:
        self._root = root
        self._tagged = tagged_records(root)
        self._codec = PlainCodec(root)
        self._definitions: dict[str, Any] = {}
        self._root_is_used = False

    def document(self) -> dict[str, Any]:
        body = self._object(self._root)
        found = {"$schema": "http://json-schema.org/draft-07/schema#", "title": self._root.full_name, **body}
        return found | {"definitions": self._definitions} if self._definitions else found

    def _object(self, record: Record) -> dict[str, Any]:
        properties: dict[str, Any] = {TAG: {"const": record.full_name}} if id(record) in self._tagged else {}
        for field in record.fields:
            rendered = self.render(field.shape)
            if field.default is not MISSING:
                rendered = {**rendered, "default": self._codec.default(field)}
            properties[field.name] = rendered
        found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        required = [field.name for field in record.fields if not field.optional]
        return found | {"required": required} if required else found

    def render(self, shape: Shape) -> dict[str, Any]:
        match shape:
            case Scalar(kind="bytes"):
                return {"type": "string", "contentEncoding": "base64"}
            case Scalar(kind=kind, allowed=allowed):
                found: dict[str, Any] = {"type": _SCALARS[kind]}
                return found if allowed is None else {**found, "enum": list(allowed)}
            case Logical(kind=kind):
                return {"type": "string", "format": _FORMATS[kind]}
            case DecimalNumber(digits=digits):
                return {"type": "string", "format": "decimal", "precision": digits.precision, "scale": digits.scale}
            case Array(item=item, build=build):
                listed: dict[str, Any] = {"type": "array", "items": self.render(item)}
                return {**listed, "uniqueItems": True} if build in (set, frozenset) else listed
            case Map(value=value):
                return {"type": "object", "additionalProperties": self.render(value)}
            case Union(branches=branches):
                return {"oneOf": [self.render(branch) for branch in branches]}
            case Enumeration(symbols=symbols):
                return {"type": "string", "enum": list(symbols)}
            case Record():
                return self._reference(shape)

    def _reference(self, record: Record) -> dict[str, Any]:
        if record is self._root:
            return {"$ref": "#"}
        if record.full_name not in self._definitions:
            self._definitions[record.full_name] = {}  # taken, before what it contains refers to it
            self._definitions[record.full_name] = {"title": record.full_name, **self._object(record)}
        return {"$ref": f"#/definitions/{record.full_name}"}
