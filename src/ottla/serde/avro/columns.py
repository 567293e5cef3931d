"""Many payloads of one schema to columns: NumPy arrays of some fields, for work on many records at once.

NumPy is imported when a reader is made; `pip install ottla[columns]` brings it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ottla.errors import DecodeError
from ottla.serde.avro import engine
from ottla.serde.avro.decoder import Decoder, build_decoder
from ottla.serde.avro.logical import conversion
from ottla.serde.avro.nodes import (
    EnumNode,
    Node,
    Primitive,
    RecordNode,
    SchemaError,
    UnionNode,
    branch_name,
    parse_schema,
)
from ottla.serde.avro.plan import Plan, ReadEnum, ReadPrimitive, ReadRecord, ReadUnion, Step
from ottla.serde.avro.programs import column_program

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# The writer's logical type -> NumPy's type over the same 64 bits.
_OVER_LONG = {
    "timestamp-millis": "datetime64[ms]",
    "timestamp-micros": "datetime64[us]",
    "timestamp-nanos": "datetime64[ns]",
    "local-timestamp-millis": "datetime64[ms]",
    "local-timestamp-micros": "datetime64[us]",
    "local-timestamp-nanos": "datetime64[ns]",
    "date": "datetime64[D]",
    "time-millis": "timedelta64[ms]",
    "time-micros": "timedelta64[us]",
    "timedelta-micros": "timedelta64[us]",
}
_FIXED_WIDTH = {"int": "i8", "long": "i8", "double": "<f8", "float": "<f4", "boolean": "?"}


@dataclass(frozen=True, slots=True)
class Column:
    """One field of the payloads.

    Attributes:
        path: Its name, with the records it lies in: `"customer.address.city"`.
        node: Its type, without null.
        null: The branch of null; -1 if it is never null.
    """

    path: str
    node: Primitive | EnumNode
    null: int

    @property
    def kind(self) -> str:
        """How its plain values are kept: an Avro type, or `"fixed"`; an enum as the index of its symbol."""
        if isinstance(self.node, EnumNode):
            return "long"
        return self.node.kind if self.node.size is None else "fixed"


class ColumnReader:
    """Reads some fields of many payloads into one NumPy array each. Safe to use from several threads.

    | Avro | NumPy |
    |---|---|
    | int, long; double; float; boolean | int64; float64; float32; bool |
    | timestamp of any unit (in UTC), local timestamp | datetime64 of that unit |
    | date; time and timedelta of any unit | datetime64[D]; timedelta64 of that unit |
    | string, uuid; enum; bytes, fixed; decimal | object: str; the symbol; bytes; Decimal |

    A field that may be null becomes a masked array, or has None in an array of objects. Fields of records are named
    by their path. Arrays, maps, other unions and records that may be null have no place in a column.

    Args:
        writer_schema: The schema that all payloads were written with.
        fields: Names of fields.

    Attributes:
        columns: What is known of each of them.

    Raises:
        DecodeError: The schema is no Avro schema, has no such field, or the field fits no column.
        ImportError: NumPy is not installed.
    """

    def __init__(self, writer_schema: str, fields: Sequence[str]) -> None:
        import numpy as np

        self._np = np
        try:
            root = parse_schema(writer_schema)
        except SchemaError as error:
            raise DecodeError(f"the writer's schema is not an Avro schema: {error}") from error
        self.columns = tuple(_column(root, path) for path in dict.fromkeys(fields))
        wanted = _tree(self.columns)
        # Reads the same fields as Python values: all there is without the extension, and with it the one that says
        # what is wrong with a payload.
        self._slow: Decoder = build_decoder(_plan(root, wanted), branch_name(root))
        self._fast: Any = None
        codec = engine.extension()
        if codec is not None:
            self._fast = codec.ColumnReader(column_program(codec, root, wanted, self.columns), len(self.columns))

    def __call__(self, payloads: Sequence[bytes], position: int = 0) -> dict[str, Array]:
        """The fields' arrays by their names, each as long as there are payloads.

        Args:
            payloads: What was written.
            position: Where in each of them the payload begins (5 in Confluent's wire form).

        Raises:
            DecodeError: A payload is damaged; `index` says which one.
        """
        buffers = None if self._fast is None else self._fast(payloads, position)
        if buffers is None:
            return self._slowly(payloads, position)
        found = {}
        for column, (values, objects, missing) in zip(self.columns, buffers, strict=True):
            mask = self._np.frombuffer(missing, "?") if column.null >= 0 else None
            plain = self._plain(column, values, objects)
            if isinstance(column.node, EnumNode) and not self._known(column.node, plain):
                return self._slowly(payloads, position)
            found[column.path] = self._finished(column, plain, mask)
        return found

    def _slowly(self, payloads: Sequence[bytes], position: int) -> dict[str, Array]:
        rows = []
        for index, payload in enumerate(payloads):
            try:
                rows.append(self._slow(payload, position))
            except DecodeError as error:
                error.index = index
                raise
        np = self._np
        found = {}
        for column in self.columns:
            values = [_within(row, column.path) for row in rows]
            mask = np.fromiter((v is None for v in values), bool, len(values)) if column.null >= 0 else None
            if column.kind in _FIXED_WIDTH:
                plain = np.array([v or 0 for v in values], _FIXED_WIDTH[column.kind])
            else:
                plain = _objects(np, values)
            found[column.path] = self._finished(column, plain, mask)
        return found

    def _plain(self, column: Column, values: bytearray, objects: list[Any] | None) -> Array:
        if column.kind in _FIXED_WIDTH:
            fixed: Array = self._np.frombuffer(values, _FIXED_WIDTH[column.kind])
            return fixed
        return _objects(self._np, objects or [])

    def _known(self, node: EnumNode, indexes: Array) -> bool:
        return not len(indexes) or (indexes.min() >= 0 and indexes.max() < len(node.symbols))

    def _finished(self, column: Column, plain: Array, mask: Array | None) -> Array:
        np, node = self._np, column.node
        if isinstance(node, EnumNode):
            plain = _objects(np, node.symbols)[plain]
        elif node.logical == "decimal":
            found = conversion(node)
            assert found is not None
            plain = _objects(np, [None if value is None else found[1](value) for value in plain])
        elif node.logical in _OVER_LONG:
            plain = plain.view(_OVER_LONG[node.logical])
        if mask is None:
            return plain
        if plain.dtype != object:
            masked: Array = np.ma.masked_array(plain, mask)
            return masked
        if isinstance(node, EnumNode):
            plain[mask] = None
        return plain


def _objects(np: Any, values: Sequence[Any]) -> Array:
    """An array of objects, which NumPy is not to look into."""
    array: Array = np.empty(len(values), object)
    array[:] = values
    return array


Tree = dict[str, Any]  # a field's name -> the fields wanted in it, or its column


def _tree(columns: Sequence[Column]) -> Tree:
    tree: Tree = {}
    for column in columns:
        *parents, name = column.path.split(".")
        at = tree
        for parent in parents:
            at = at.setdefault(parent, {})
        at[name] = column
    return tree


def _within(row: Any, path: str) -> Any:
    for name in path.split("."):
        row = row[name]
    return row


def _column(root: Node, path: str) -> Column:
    node = root
    for name in path.split("."):
        if not isinstance(node, RecordNode):
            raise DecodeError(f"column {path!r}: the writer's schema has {branch_name(node)} where {name!r} would lie")
        found = next((field.type for field in node.fields if field.name == name), None)
        if found is None:
            names = ", ".join(field.name for field in node.fields)
            raise DecodeError(f"column {path!r}: the writer's {node.name} has no field {name!r}. Its fields: {names}")
        node = found
    null = -1
    if isinstance(node, UnionNode) and len(node.branches) == 2:
        for i, branch in enumerate(node.branches):
            if isinstance(branch, Primitive) and branch.kind == "null":
                null, node = i, node.branches[1 - i]
                break
    if isinstance(node, EnumNode) or (isinstance(node, Primitive) and node.kind != "null"):
        return Column(path, node, null)
    raise DecodeError(f"column {path!r}: the writer has {branch_name(node)} there, which has no place in a column")


def _plan(node: Node, wanted: Tree) -> Plan:
    """How to read the wanted fields as plain values, and to step over the others."""
    assert isinstance(node, RecordNode)
    plan = ReadRecord(node.name, None, as_mapping=True)
    steps = []
    for field in node.fields:
        inner = wanted.get(field.name)
        if inner is None:
            steps.append(Step(field.name, None, None, field.type))
        else:
            read = _value_plan(inner) if isinstance(inner, Column) else _plan(field.type, inner)
            steps.append(Step(field.name, read, field.name))
    plan.steps = tuple(steps)
    plan.keyword = tuple(step.name for step in steps if step.into is not None)
    return plan


def _value_plan(column: Column) -> Plan:
    node = column.node
    read: Plan
    if isinstance(node, EnumNode):
        read = ReadEnum(node.symbols, tuple(range(len(node.symbols))), node.name)
    else:
        read = ReadPrimitive(node.kind, node.size)
    if column.null < 0:
        return read
    null = ReadPrimitive("null")
    return ReadUnion((null, read) if column.null == 0 else (read, null))
