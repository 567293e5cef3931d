"""Columns as Apache Arrow has them: a record batch of some fields of many payloads.

pyarrow is imported when the first batch is made; `pip install ottla[arrow]` brings it, and NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ottla.errors import DecodeError
from ottla.serde.avro.columns import Column, ColumnReader
from ottla.serde.avro.nodes import EnumNode

if TYPE_CHECKING:
    import pyarrow as pa

_DECIMAL128_DIGITS_MAX = 38
_DECIMAL256_DIGITS_MAX = 76


def record_batch(reader: ColumnReader, payloads: Sequence[bytes], position: int = 0) -> pa.RecordBatch:
    """The reader's fields of many payloads as a `pyarrow.RecordBatch`, a column for each, named by its path.

    | Avro | Arrow |
    |---|---|
    | int; long; double; float; boolean | int32; int64; float64; float32; bool |
    | timestamp of any unit | timestamp of that unit, in UTC; without a zone for local ones |
    | date; time-millis; time-micros; timedelta-micros | date32; time32[ms]; time64[us]; duration[us] |
    | string, uuid in text; enum | string; dictionary of strings |
    | bytes; fixed; decimal | binary; fixed_size_binary; decimal128, above 38 digits decimal256 |

    Args:
        reader: Which fields, of which schema.
        payloads: What was written with that schema.
        position: Where in each of them the payload begins (5 in Confluent's wire form).

    Raises:
        DecodeError: A payload is damaged (`index` says which one), or a value is none that Arrow's type holds.
        ImportError: pyarrow is not installed.
    """
    import pyarrow as pa

    found = reader(payloads, position)
    fields, arrays = [], []
    for column in reader.columns:
        kind = _type(pa, column)
        fields.append(pa.field(column.path, kind, nullable=column.null >= 0))
        try:
            arrays.append(_array(pa, kind, column, found))
        except (pa.ArrowInvalid, OverflowError) as error:
            raise DecodeError(f"column {column.path!r}: a value does not fit Arrow's {kind}: {error}") from error
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _array(pa: Any, kind: Any, column: Column, found: Mapping[str, Any]) -> Any:
    values = found[column.path]
    if values.dtype == object:
        if pa.types.is_dictionary(kind):
            return pa.array(values, pa.string()).dictionary_encode().cast(kind)
        return pa.array(values, kind)
    mask = None
    if column.null >= 0:
        values, mask = values.data, values.mask
    if values.dtype.kind in "mM":
        # Arrow's types of time are whole numbers of the same meaning; NumPy has none for a time of day.
        plain = pa.array(values.view("i8"), pa.int64(), mask=mask)
        return plain.cast(pa.int32()).view(kind) if kind.bit_width == 32 else plain.view(kind)
    return pa.array(values, mask=mask).cast(kind)


def _type(pa: Any, column: Column) -> Any:
    node = column.node
    if isinstance(node, EnumNode):
        return pa.dictionary(pa.int32(), pa.string())
    match node.logical:
        case "timestamp-millis" | "timestamp-micros" | "timestamp-nanos" as logical:
            return pa.timestamp(_UNITS[logical.rpartition("-")[2]], tz="UTC")
        case "local-timestamp-millis" | "local-timestamp-micros" | "local-timestamp-nanos" as logical:
            return pa.timestamp(_UNITS[logical.rpartition("-")[2]])
        case "date":
            return pa.date32()
        case "time-millis":
            return pa.time32("ms")
        case "time-micros":
            return pa.time64("us")
        case "timedelta-micros":
            return pa.duration("us")
        case "decimal" if node.precision <= _DECIMAL128_DIGITS_MAX:
            return pa.decimal128(node.precision, node.scale)
        case "decimal" if node.precision <= _DECIMAL256_DIGITS_MAX:
            return pa.decimal256(node.precision, node.scale)
        case "decimal":
            raise DecodeError(
                f"column {column.path!r}: a decimal of {node.precision} digits, and Arrow has at most "
                f"{_DECIMAL256_DIGITS_MAX}"
            )
    if node.size is not None:
        return pa.binary(node.size)
    return {
        "int": pa.int32(),
        "long": pa.int64(),
        "double": pa.float64(),
        "float": pa.float32(),
        "boolean": pa.bool_(),
        "string": pa.string(),
        "bytes": pa.binary(),
    }[node.kind]


_UNITS = {"millis": "ms", "micros": "us", "nanos": "ns"}
