"""Pairs of Avro schemas with the verdict: may the reader read what the writer wrote.

Each case names the rule of the specification (1.12, "Schema Resolution", "Aliases", "Default values") it stands for.
`kinds` are the kinds of incompatibility expected; empty means compatible.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pair:
    """One case. `differs` says why Apache's Python checker answers otherwise, where it does."""

    name: str
    reader: str
    writer: str
    kinds: tuple[str, ...]
    differs: str | None = None


def record(*fields: dict[str, Any], name: str = "R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def enum(*symbols: str, name: str = "E", **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size: int, name: str = "F", **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size, **more}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def mapping(values: Any) -> dict[str, Any]:
    return {"type": "map", "values": values}


def decimal(precision: int, scale: int, on: Any = "bytes") -> dict[str, Any]:
    base = {"type": on} if isinstance(on, str) else dict(on)
    return {**base, "logicalType": "decimal", "precision": precision, "scale": scale}


def node(*more: dict[str, Any]) -> dict[str, Any]:
    return record(field("next", ["null", "Node"]), *more, name="Node")


PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
PROMOTED = {
    ("int", "long"), ("int", "float"), ("int", "double"), ("long", "float"), ("long", "double"), ("float", "double"),
    ("bytes", "string"), ("string", "bytes"),
}  # fmt: skip
"""(writer, reader): the specification's whole list of promotions."""

TYPE, NAME, BRANCH = "TYPE_MISMATCH", "NAME_MISMATCH", "MISSING_UNION_BRANCH"
DEFAULT, SYMBOLS = "READER_FIELD_MISSING_DEFAULT_VALUE", "MISSING_ENUM_SYMBOLS"
SIZE, DECIMAL = "FIXED_SIZE_MISMATCH", "DECIMAL_MISMATCH"
NO_DECIMALS = "Apache's checker does not look at logical types; the specification says that such decimals do not match"

A, B = field("a", "int"), field("b", "string")


def _pair(name: str, reader: Any, writer: Any, *kinds: str, differs: str | None = None) -> Pair:
    return Pair(name, json.dumps(reader), json.dumps(writer), kinds, differs)


PAIRS = [
    *(
        _pair(f"{reader} reads {writer}", reader, writer, *(() if same or (writer, reader) in PROMOTED else (TYPE,)))
        for reader in PRIMITIVES
        for writer in PRIMITIVES
        for same in (reader == writer,)
    ),
    # Records
    _pair("the same record", record(A, B), record(A, B)),
    _pair("fields in another order", record(B, A), record(A, B)),
    _pair("a field the reader does not have", record(A), record(A, B)),
    _pair("a new field with a default", record(A, field("c", "int", default=0)), record(A)),
    _pair("a new field with a null default", record(A, field("c", ["null", "int"], default=None)), record(A)),
    _pair("a new field without default", record(A, B), record(A), DEFAULT),
    _pair("two new fields without default", record(A, B), record(), DEFAULT, DEFAULT),
    _pair("an optional new field without default", record(A, field("c", ["null", "int"])), record(A), DEFAULT),
    _pair("a field promoted", record(field("a", "long")), record(A)),
    _pair("a field demoted", record(A), record(field("a", "long")), TYPE),
    _pair("a field that becomes optional", record(field("a", ["null", "int"])), record(A)),
    _pair("a field that was optional", record(A), record(field("a", ["null", "int"])), TYPE),
    _pair("a record against a primitive", record(A), "string", TYPE),
    _pair("a primitive against a record", "int", record(A), TYPE),
    _pair("a renamed record", record(A, name="S"), record(A), NAME),
    _pair("a renamed record with an alias", record(A, name="S", aliases=["R"]), record(A)),
    _pair("a moved record: names match without namespace", record(A, namespace="x"), record(A, namespace="y")),
    _pair("an alias in another namespace", record(A, name="x.S", aliases=["y.R"]), record(A, name="y.R")),
    _pair(
        "an alias in the wrong namespace", record(A, name="x.S", aliases=["R"]), record(A, name="y.R"), NAME,
    ),
    _pair("a renamed field with an alias", record(field("z", "int", aliases=["a"])), record(A)),
    _pair("a renamed field without alias", record(field("z", "int")), record(A), DEFAULT),
    _pair("an alias onto another type", record(field("z", "string", aliases=["a"])), record(A), TYPE),
    _pair(
        "a nested record that fits",
        record(field("r", record(A, name="S"))), record(field("r", record(A, B, name="S"))),
    ),
    _pair(
        "a nested record that does not fit",
        record(field("r", record(A, B, name="S"))), record(field("r", record(A, name="S"))), DEFAULT,
    ),
    # Recursion
    _pair("the same recursive record", node(), node()),
    _pair("a recursive record with a new default", node(field("v", "int", default=0)), node()),
    _pair("a recursive record with a new field", node(field("v", "int")), node(), DEFAULT),
    _pair(
        "a fault below a recursion is found once",
        record(field("kids", array("Tree")), field("v", "int"), name="Tree"),
        record(field("kids", array("Tree")), field("v", "string"), name="Tree"), TYPE,
    ),
    # Enums
    _pair("the same enum", enum("X", "Y"), enum("X", "Y")),
    _pair("an enum with a new symbol", enum("X", "Y", "Z"), enum("X", "Y")),
    _pair("an enum that lost a symbol", enum("X"), enum("X", "Y"), SYMBOLS),
    _pair("an enum that lost a symbol but has a default", enum("X", default="X"), enum("X", "Y")),
    _pair("the writer's enum default does not help", enum("X"), enum("X", "Y", default="X"), SYMBOLS),
    _pair("symbols in another order", enum("Y", "X"), enum("X", "Y")),
    _pair("a renamed enum", enum("X", name="G"), enum("X"), NAME),
    _pair("a renamed enum with an alias", enum("X", name="G", aliases=["E"]), enum("X")),
    _pair("an enum against a string", enum("X"), "string", TYPE),
    _pair("a string against an enum", "string", enum("X"), TYPE),
    _pair("a new field of an enum with its own default", record(field("e", enum("X", default="X"))), record(), DEFAULT),
    _pair("a renamed enum that lost a symbol", enum("X", name="G"), enum("X", "Y"), NAME, SYMBOLS),
    # Fixed
    _pair("the same fixed", fixed(4), fixed(4)),
    _pair("a fixed of another size", fixed(8), fixed(4), SIZE),
    _pair("a renamed fixed", fixed(4, name="G"), fixed(4), NAME),
    _pair("a renamed fixed with an alias", fixed(4, name="G", aliases=["F"]), fixed(4)),
    _pair("a fixed against bytes", fixed(4), "bytes", TYPE),
    _pair("bytes against a fixed", "bytes", fixed(4), TYPE),
    # Arrays and maps
    _pair("the same array", array("int"), array("int")),
    _pair("an array of promoted items", array("long"), array("int")),
    _pair("an array of demoted items", array("int"), array("long"), TYPE),
    _pair("an array against its item", array("int"), "int", TYPE),
    _pair("an array against a map", array("int"), mapping("int"), TYPE),
    _pair("an array of records", array(record(A, field("c", "int", default=1))), array(record(A))),
    _pair("the same map", mapping("int"), mapping("int")),
    _pair("a map of promoted values", mapping("double"), mapping("float")),
    _pair("a map of demoted values", mapping("float"), mapping("double"), TYPE),
    # Unions
    _pair("the same union", ["null", "int"], ["null", "int"]),
    _pair("a union with a new branch", ["null", "int", "string"], ["null", "int"]),
    _pair("a union that lost a branch", ["null", "int"], ["null", "int", "boolean"], BRANCH),
    _pair("a union that lost two branches", ["null"], ["null", "int", "boolean"], BRANCH, BRANCH),
    _pair("branches in another order", ["int", "null"], ["null", "int"]),
    _pair("a union reads one of its branches", ["null", "int"], "int"),
    _pair("a union reads a promoted branch", ["null", "long"], "int"),
    _pair("a union lacks the type", ["null", "int"], "boolean", BRANCH),
    _pair("a union lacks even a promotion", ["null", "int"], "long", BRANCH),
    _pair("a plain type reads a union of it", "int", ["int"]),
    _pair("a plain type reads a union of what promotes to it", "double", ["int", "long", "float"]),
    _pair("a plain type against a union with null", "int", ["null", "int"], TYPE),
    _pair(
        "a union of records by name",
        ["null", record(A, name="X"), record(B, name="Y")], ["null", record(B, name="Y")],
    ),
    _pair(
        "a union of records, one changed badly",
        ["null", record(A, B, name="X")], ["null", record(A, name="X")], BRANCH,
    ),
    _pair("nested unions in arrays", array(["null", "long"]), array(["null", "int"])),
    _pair("an empty union reads an empty union", [], []),
    # Logical types
    _pair("the same decimal", decimal(10, 2), decimal(10, 2)),
    _pair("a decimal of another scale", decimal(10, 3), decimal(10, 2), DECIMAL, differs=NO_DECIMALS),
    _pair("a decimal of another precision", decimal(12, 2), decimal(10, 2), DECIMAL, differs=NO_DECIMALS),
    _pair(
        "a fixed decimal of another scale",
        decimal(9, 3, fixed(8)), decimal(9, 2, fixed(8)), DECIMAL, differs=NO_DECIMALS,
    ),
    _pair("a decimal read as plain bytes", "bytes", decimal(10, 2)),
    _pair("plain bytes read as a decimal", decimal(10, 2), "bytes"),
    _pair("an invalid decimal is only its base type", decimal(2, 5), decimal(10, 2)),
    _pair(
        "a decimal without scale has scale 0",
        {"type": "bytes", "logicalType": "decimal", "precision": 4}, decimal(4, 0),
    ),
    _pair("a decimal in a union", ["null", decimal(10, 3)], ["null", decimal(10, 2)], BRANCH, differs=NO_DECIMALS),
    _pair("a date read as int", "int", {"type": "int", "logicalType": "date"}),
    _pair("a uuid read as string", "string", {"type": "string", "logicalType": "uuid"}),
    _pair(
        "an unknown logical type is only its base type", {"type": "long", "logicalType": "moons"}, "int",
    ),
]  # fmt: skip
