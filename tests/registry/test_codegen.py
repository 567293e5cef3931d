"""Classes written from schemas: typed, importable, and what they write fits the schema they came from."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ottla.registry.codegen import Style, generate
from ottla.registry.schema import parse
from ottla.registry.schema_error import InvalidSchema
from ottla.serde import Deserializer, Serializer
from ottla.serde.formats import format_named
from ottla.serde.registry import Registered
from tests.serde.memory_registry import MemoryRegistry

AVRO = Registered("AVRO", json.dumps({
    "type": "record", "name": "Order", "namespace": "shop", "doc": "An order.",
    "fields": [
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "items", "type": {"type": "array", "items": {
            "type": "record", "name": "Item", "fields": [
                {"name": "sku", "type": "string"}, {"name": "quantity", "type": "long", "default": 1},
                {"name": "parent", "type": ["null", "Item"], "default": None}]}}},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "DONE"]}, "default": "NEW"},
        {"name": "notes", "type": {"type": "map", "values": "string"}, "default": {}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "ratio", "type": "double", "default": 0.5},
    ],
}))  # fmt: skip
PROTO = Registered("PROTOBUF", """
    syntax = "proto3"; package shop; import "google/protobuf/timestamp.proto";
    message Order {
      string id = 1; double total = 3; google.protobuf.Timestamp at = 4; repeated Item items = 5; State state = 6;
      map<string, string> notes = 8; optional string note = 9; oneof payment { Card card = 11; string voucher = 12; }
    }
    message Item { string sku = 1; int64 quantity = 2; Item parent = 3; }
    message Card { bytes number = 1; }
    enum State { STATE_UNSPECIFIED = 0; STATE_NEW = 1; STATE_DONE = 2; }
    """)  # fmt: skip
JSON = Registered("JSON", json.dumps({
    "title": "shop.Order", "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"}, "total": {"type": "number"},
        "at": {"type": "string", "format": "date-time"},
        "items": {"type": "array", "items": {"$ref": "#/definitions/Item"}},
        "state": {"type": "string", "enum": ["new", "done"]},
        "notes": {"type": "object", "additionalProperties": {"type": "string"}, "default": {}},
        "note": {"oneOf": [{"type": "null"}, {"type": "string"}], "default": None},
        "from": {"type": ["string", "null"]},
        "count": {"type": "integer", "default": 3},
    },
    "required": ["id", "total", "at", "items", "state"],
    "definitions": {"Item": {"type": "object", "required": ["sku"], "properties": {
        "sku": {"type": "string"}, "quantity": {"type": "integer", "default": 1},
        "parent": {"oneOf": [{"type": "null"}, {"$ref": "#/definitions/Item"}]}}}},
}))  # fmt: skip
SCHEMAS = {"avro": AVRO, "protobuf": PROTO, "json": JSON}


@pytest.fixture
def imported(tmp_path: Path) -> Iterator[Any]:
    loaded: list[str] = []

    def load(code: str) -> ModuleType:
        name = f"generated_{len(loaded)}_{tmp_path.name}"
        path = tmp_path / f"{name}.py"
        path.write_text(code)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # type hints are resolved in it
        loaded.append(name)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in loaded:
        del sys.modules[name]


def example(module: ModuleType, format: str) -> Any:
    from uuid import UUID

    item = module.Item(sku="a", quantity=2, parent=None)
    given: dict[str, Any] = {
        "id": "o" if format == "protobuf" else UUID(int=1),
        "total": Decimal("1.50") if format == "avro" else 1.5,
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "items": [item],
        "state": module.State.DONE if format != "json" else module.OrderState.DONE,
        "notes": {"a": "b"},
        "note": "hello",
    }
    if format == "protobuf":
        given["payment"] = module.Card(number=b"\1\2")
    return module.Order(**given)


@pytest.mark.parametrize("format", SCHEMAS)
def test_what_the_classes_write_is_read_back(format: Any, imported: Any) -> None:
    code = generate(SCHEMAS[format], Style(topic="orders", key="id"))
    module = imported(code)
    registry = MemoryRegistry()
    serializer, deserializer = Serializer(registry), Deserializer(registry)
    sent = example(module, format)
    value = serializer.encode(sent, "orders")
    assert registry.kinds == [SCHEMAS[format].kind]
    assert deserializer.record_name(value) == "shop.Order"
    assert deserializer.decode(value, module.Order) == sent


@pytest.mark.parametrize("format", ["avro", "protobuf"])
def test_the_classes_and_the_schema_can_read_each_other(format: Any, imported: Any) -> None:
    module = imported(generate(SCHEMAS[format], Style(topic="orders")))
    old = parse(SCHEMAS[format].kind, SCHEMAS[format].text)
    new = parse(old.kind, format_named(format).schema_text(module.Order))
    assert [str(reason) for reason in new.incompatibilities(old) if "MESSAGE_REMOVED" not in reason.kind] == []
    assert old.incompatibilities(new) == []


@pytest.mark.parametrize("style", ["struct", "dataclass"])
def test_what_is_written_passes_mypy_and_the_linter(style: str, tmp_path: Path) -> None:
    for format, schema in SCHEMAS.items():
        if style == "dataclass" and format == "json":
            with pytest.raises(InvalidSchema, match="from cannot be names in Python"):
                generate(schema, Style(kind=style))
            continue
        (tmp_path / f"made_{format}.py").write_text(
            generate(schema, Style(kind=style, topic="orders", origin="x.avsc"))
        )
    files = [str(path) for path in sorted(tmp_path.glob("*.py"))]
    lint = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--ignore", "E501", *files],
        text=True,
        capture_output=True,
        cwd=tmp_path,
    )
    assert lint.returncode == 0, lint.stdout
    types = subprocess.run([sys.executable, "-m", "mypy", "--strict", *files], text=True, capture_output=True)
    assert types.returncode == 0, types.stdout


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (Registered("AVRO", '"string"'), "no record"),
        (Registered("JSON", '{"type": "string"}'), "no object"),
        (Registered("JSON", '{"properties": {"a": {}}}'), "has no type in Python"),
        (Registered("JSON", '{"properties": {"a-b": {"type": "null"}}}'), "cannot be the name"),
        (Registered("PROTOBUF", 'syntax = "proto3";'), "no message"),
        (Registered("PROTOBUF", 'syntax = "proto3"; message A { map<int32, string> m = 1; }'), "strings as keys"),
    ],
)
def test_what_no_class_can_have_is_refused_in_words(schema: Registered, reason: str) -> None:
    with pytest.raises(InvalidSchema, match=reason):
        generate(schema, Style())
