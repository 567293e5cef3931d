"""Fields of many payloads as Arrow's record batches, and through the deserializer."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from ottla.errors import DecodeError
from ottla.serde import Deserializer, schema_runs, wire
from ottla.serde.avro import ColumnReader, record_batch
from tests.serde import oracle
from tests.serde.memory_registry import MemoryRegistry
from tests.serde.test_batches import FIELDS, record

KINDS: dict[str, tuple[Any, Any, pa.DataType]] = {
    # What the field is, a value of it, Arrow's type.
    "text": ("string", "grün", pa.string()),
    "whole": ("long", -(2**63), pa.int64()),
    "small": ("int", -(2**31), pa.int32()),
    "real": ("double", 1.5, pa.float64()),
    "single": ("float", 0.25, pa.float32()),
    "yes": ("boolean", True, pa.bool_()),
    "raw": ("bytes", b"\x00\xff", pa.binary()),
    "key": (FIELDS["key"], b"abc", pa.binary(3)),
    "colour": (FIELDS["colour"], "green", pa.dictionary(pa.int32(), pa.string())),
    "at": (FIELDS["at"], datetime(2020, 1, 2, 3, 4, 5, 678901, UTC), pa.timestamp("us", tz="UTC")),
    "at_ms": (FIELDS["at_ms"], datetime(1960, 1, 2, 3, 4, 5, 678000, UTC), pa.timestamp("ms", tz="UTC")),
    "local": (
        {"type": "long", "logicalType": "local-timestamp-micros"},
        datetime(2020, 1, 2, 3, 4, 5, 678901),
        pa.timestamp("us"),
    ),
    "day": (FIELDS["day"], date(2020, 2, 29), pa.date32()),
    "clock": (FIELDS["clock"], time(3, 4, 5, 6000), pa.time32("ms")),
    "clock_us": ({"type": "long", "logicalType": "time-micros"}, time(23, 59, 59, 999999), pa.time64("us")),
    "price": (FIELDS["price"], Decimal("-12.34"), pa.decimal128(10, 2)),
    "wide_price": (
        {"type": "bytes", "logicalType": "decimal", "precision": 50, "scale": 3},
        Decimal("1.234"),
        pa.decimal256(50, 3),
    ),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("nullable", [False, True], ids=["always", "nullable"])
def test_every_kind_of_field_has_its_arrow_type(name: str, nullable: bool) -> None:
    kind, value, expected = KINDS[name]
    schema = record({name: ["null", kind] if nullable else kind})
    rows = [{name: value}, {name: None if nullable else value}, {name: value}]
    batch = record_batch(ColumnReader(schema, [name]), [oracle.write(row, schema) for row in rows])
    assert batch.schema == pa.schema([pa.field(name, expected, nullable=nullable)])
    batch.validate(full=True)
    assert batch.column(name).to_pylist() == [row[name] for row in rows]


def test_a_timedelta_is_a_duration() -> None:
    schema = record({"took": {"type": "long", "logicalType": "timedelta-micros"}})
    batch = record_batch(ColumnReader(schema, ["took"]), [oracle.write({"took": 1_500_000}, record({"took": "long"}))])
    assert batch.schema.field("took").type == pa.duration("us")
    assert batch.column("took").to_pylist() == [timedelta(seconds=1.5)]


def test_no_payloads_make_an_empty_batch() -> None:
    batch = record_batch(ColumnReader(record(FIELDS), list(FIELDS)), [])
    assert (batch.num_rows, batch.num_columns) == (0, len(FIELDS))


def test_what_no_arrow_type_holds_is_refused() -> None:
    schema = record({"n": "int"})
    payloads = [oracle.write({"n": 2**40}, record({"n": "long"}))]
    with pytest.raises(DecodeError, match=r"column 'n': a value does not fit Arrow's int32"):
        record_batch(ColumnReader(schema, ["n"]), payloads)
    digits = record({"d": {"type": "bytes", "logicalType": "decimal", "precision": 77, "scale": 0}})
    with pytest.raises(DecodeError, match="Arrow has at most 76"):
        record_batch(ColumnReader(digits, ["d"]), [])


V1 = record({"name": "string", "count": "long"})
V2 = record({"added": "boolean", "name": "string", "count": "long"})


def values(registry: MemoryRegistry) -> list[bytes]:
    one = wire.prefix(registry.add(V1))
    other = wire.prefix(registry.add(V2))
    first = [one + oracle.write({"name": f"n{i}", "count": i}, V1) for i in range(3)]
    return first + [other + oracle.write({"added": True, "name": f"n{i}", "count": i}, V2) for i in range(3, 5)]


def test_a_deserializer_gives_columns_of_values_that_share_a_schema() -> None:
    registry = MemoryRegistry()
    deserializer, found = Deserializer(registry), []
    for start, run in schema_runs(values(registry)):
        columns = deserializer.columns(run, ["count", "name"])
        batch = deserializer.record_batch(run, ["count", "name"])
        assert batch.to_pydict() == {name: column.tolist() for name, column in columns.items()}
        found.append((start, columns["count"].tolist(), columns["name"].tolist()))
    assert found == [(0, [0, 1, 2], ["n0", "n1", "n2"]), (3, [3, 4], ["n3", "n4"])]
    assert len([call for call, _ in registry.calls if call == "schema"]) == 2  # each schema once


def test_columns_of_two_schemas_and_of_damaged_values_are_refused_by_name() -> None:
    registry = MemoryRegistry()
    many, deserializer = values(registry), Deserializer(registry)
    with pytest.raises(DecodeError, match="another schema") as refused:
        deserializer.columns(many, ["count"])
    assert (refused.value.index, refused.value.schema_id) == (3, 1)
    with pytest.raises(DecodeError, match="another schema") as refused:
        deserializer.columns([many[0], None], ["count"])  # type: ignore[list-item]
    assert refused.value.index == 1
    with pytest.raises(DecodeError) as refused:
        deserializer.record_batch([many[0], many[1][:-1]], ["count"])
    assert (refused.value.index, refused.value.schema_id, refused.value.position) == (1, 1, len(many[1]) - 1)
    with pytest.raises(DecodeError, match="has no field 'nope'"):
        deserializer.columns(many[:1], ["nope"])


def test_columns_are_read_from_avro_alone() -> None:
    registry = MemoryRegistry()
    value = wire.prefix(registry.add("{}", "JSON")) + msgspec.json.encode({})
    with pytest.raises(DecodeError, match="of type JSON, and columns are read from Avro alone"):
        Deserializer(registry).columns([value], ["a"])
