"""The text under which a schema is stored: one text for schemas that mean the same.

It is Confluent's, which is what Java's `Schema.toString()` prints, and not Avro's Parsing Canonical Form (that one
drops docs, defaults and aliases, and so would make different schemas equal). Normalised are: white space; the order of
attributes (type, name, namespace, doc, then the body, other attributes in their own order, aliases last); a namespace
equal to the enclosing one is left out; a name is written short where its namespace is the enclosing one;
`{"type": "string"}` becomes `"string"`; `order: ascending` is left out; a type is written out where it first occurs.
Not normalised: the order of fields, symbols, branches and other attributes, docs, and how a number is written (Java
prints 1.0E10 where this prints 10000000000.0).
"""

from __future__ import annotations

import json

from .avro_schema import Array, AvroSchema, Enum, Field, Fixed, Json, Map, Primitive, Record, Union


def canonical(schema: AvroSchema, elsewhere: frozenset[str] = frozenset()) -> str:
    """The schema's text in canonical form.

    Args:
        schema: The schema.
        elsewhere: Full names of types that a referenced schema declares: only named here, never written out.
    """
    return json.dumps(_write(schema, "", set(elsewhere)), separators=(",", ":"), ensure_ascii=False)


def _write(schema: AvroSchema, namespace: str, written: set[str]) -> Json:
    match schema:
        case Union():
            return [_write(branch, namespace, written) for branch in schema.branches]
        case Array():
            return {"type": "array", "items": _write(schema.items, namespace, written), **schema.properties}
        case Map():
            return {"type": "map", "values": _write(schema.values, namespace, written), **schema.properties}
        case Primitive():
            return {"type": schema.kind, **schema.properties} if schema.properties else schema.kind
    if schema.name in written:
        return _short(schema.name, namespace)
    written.add(schema.name)
    return _write_named(schema, namespace, written)


def _write_named(schema: Enum | Fixed | Record, namespace: str, written: set[str]) -> Json:
    text: dict[str, Json] = {"type": schema.kind, "name": schema.simple_name}
    if schema.namespace != namespace:
        text["namespace"] = schema.namespace
    if schema.doc is not None:
        text["doc"] = schema.doc
    match schema:
        case Record():
            text["fields"] = [_write_field(f, schema.namespace, written) for f in schema.fields]
        case Enum():
            text["symbols"] = schema.symbols
            if schema.default is not None:
                text["default"] = schema.default
        case Fixed():
            text["size"] = schema.size
    text.update(schema.properties)
    if schema.aliases:
        text["aliases"] = [_short(alias, schema.namespace) for alias in schema.aliases]
    return text


def _write_field(field: Field, namespace: str, written: set[str]) -> Json:
    text: dict[str, Json] = {"name": field.name, "type": _write(field.schema, namespace, written)}
    if field.doc is not None:
        text["doc"] = field.doc
    if field.has_default:
        text["default"] = field.default
    if field.order != "ascending":
        text["order"] = field.order
    if field.aliases:
        text["aliases"] = field.aliases
    text.update(field.properties)
    return text


def _short(name: str, namespace: str) -> str:
    own, _, simple = name.rpartition(".")
    return simple if own == namespace else name
