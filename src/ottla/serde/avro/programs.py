"""Programs for the C extension, made from the same plans and shapes that Python's code is generated from.

A program is a tuple of nodes, the first of them the root; nodes name each other by index. native/avro/program.c says
what each node holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ottla.events.shapes import Array, DecimalNumber, Enumeration, Logical, Map, Record, Scalar, Shape, Union
from ottla.serde.avro import conversions
from ottla.serde.avro.branches import branch_picker, exact_branches, optional_branch
from ottla.serde.avro.construction import attributes_set
from ottla.serde.avro.logical import decimal_digits
from ottla.serde.avro.nodes import ArrayNode, EnumNode, MapNode, Node, Primitive, RecordNode, UnionNode, node_is_empty
from ottla.serde.avro.plan import (
    UNKNOWN,
    Plan,
    ReadArray,
    ReadEnum,
    ReadMap,
    ReadPrimitive,
    ReadRecord,
    ReadUnion,
    Refuse,
)

Program = tuple[tuple[Any, ...], ...]

_CONTAINERS: dict[type, int] = {list: 0, tuple: 1, set: 2, frozenset: 3}
_SKIPPED_SIZES = {"null": 0, "boolean": 1, "float": 4, "double": 8}


class _Nodes:
    """The nodes so far. A compound one takes its place before its kids, so that they can name it."""

    def __init__(self, codec: Any) -> None:
        self.codec = codec
        self.nodes: list[tuple[Any, ...]] = []
        self._plain: dict[tuple[Any, ...], int] = {}
        self._known: dict[int, int] = {}

    def plain(self, *node: Any) -> int:
        """A node of numbers and functions; the same one when asked again."""
        index = self._plain.get(node)
        if index is None:
            index = self._plain[node] = self.add(*node)
        return index

    def add(self, *node: Any) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def known(self, source: object) -> int | None:
        return self._known.get(id(source))

    def reserve(self, source: object) -> int:
        index = self._known[id(source)] = self.add()
        return index

    def program(self) -> Program:
        return tuple(self.nodes)


# -- reading -----------------------------------------------------------------------------------------------------------


def read_program(codec: Any, plan: Plan) -> Program:
    """What the extension executes for a plan.

    Args:
        codec: The extension's module.
        plan: How to read.
    """
    writing = _ReadProgram(codec)
    writing.root(plan)
    return writing.program()


class _ReadProgram(_Nodes):
    def root(self, plan: Plan) -> None:
        """The root is the first node, whatever it is."""
        if isinstance(plan, ReadRecord | ReadArray | ReadMap | ReadUnion):
            self.node(plan)
        else:
            self.nodes.append(())
            index = self.node(plan)
            self.nodes[0] = self.nodes[index]

    def node(self, plan: Plan) -> int:
        codec = self.codec
        match plan:
            case ReadPrimitive():
                return self._primitive(plan)
            case ReadEnum(values=values):
                return self.add(codec.ENUM, tuple(Ellipsis if value is UNKNOWN else value for value in values))
            case Refuse():
                return self.plain(codec.REFUSE)
        known = self.known(plan)
        if known is not None:
            return known
        index = self.reserve(plan)
        match plan:
            case ReadArray(item=item, build=build, empty_items=empty):
                self.nodes[index] = (codec.ARRAY, self.node(item), _CONTAINERS[build], int(empty))
            case ReadMap(value=value):
                self.nodes[index] = (codec.MAP, self.node(value))
            case ReadUnion(branches=branches):
                self.nodes[index] = (codec.UNION, tuple(self.node(branch) for branch in branches))
            case ReadRecord():
                self.nodes[index] = self._record(plan)
        return index

    def _primitive(self, plan: ReadPrimitive) -> int:
        convert = plan.convert
        if convert is None:
            return self._plain_primitive(plan.kind, plan.size)
        special = self._special(plan)
        if special is not None:
            return special
        # No other conversion would be known to C: Python's is called.
        return self.plain(self.codec.CONVERT, self._plain_primitive(plan.kind, plan.size), convert)

    def _plain_primitive(self, kind: str, size: int | None) -> int:
        codec = self.codec
        if size is not None:
            return self.plain(codec.FIXED, size)
        op = {
            "null": codec.NULL,
            "boolean": codec.BOOLEAN,
            "int": codec.LONG,
            "long": codec.LONG,
            "float": codec.FLOAT,
            "double": codec.DOUBLE,
            "bytes": codec.BYTES,
            "string": codec.STRING,
        }[kind]
        return self.plain(op)

    def _special(self, plan: ReadPrimitive) -> int | None:
        codec, convert = self.codec, plan.convert
        digits = decimal_digits(convert)
        if digits is not None and plan.kind == "bytes":
            size = -1 if plan.size is None else plan.size
            return self.plain(codec.DECIMAL, size, digits[1], conversions.decimal_size_max(digits[0]), convert)
        if plan.kind in ("int", "long") and convert in _OF_NUMBERS:
            op, *unit = _OF_NUMBERS[convert]
            return self.plain(getattr(codec, op), *(getattr(codec, u) if isinstance(u, str) else u for u in unit))
        if convert is conversions.uuid_of_text and plan.kind == "string" and plan.size is None:
            return self.plain(codec.UUID)
        if convert is conversions.uuid_of_bytes and plan.size == 16:
            return self.plain(codec.UUID_FIXED)
        return None

    def _record(self, plan: ReadRecord) -> tuple[Any, ...]:
        codec = self.codec
        names = (*plan.positional, *plan.keyword)
        slots = {name: slot for slot, name in enumerate(names)}
        steps = []
        for step in plan.steps:
            if step.into is not None and step.plan is not None:
                steps.append((self.node(step.plan), slots[step.into]))
            elif step.skip is not None:
                steps.append((self.skip(step.skip), -1))
        head = (codec.RECORD, int(plan.recursive))
        body = (plan.build, len(names), tuple(steps))
        if plan.as_mapping:
            return *head, codec.MAKE_FROM_DICT if plan.build else codec.MAKE_DICT, *body, names
        found = attributes_set(plan.shape) if plan.shape else None
        if found is None:
            return *head, codec.MAKE_BY_CALL, *body, len(plan.positional), plan.keyword
        attributes, post_init = found
        targets = tuple(
            (a.name, slots.get(a.init_name, -1), a.default, int(a.has_default), a.factory) for a in attributes
        )
        return *head, codec.MAKE_DIRECTLY, *body, targets, post_init

    def skip(self, node: Node) -> int:
        codec = self.codec
        match node:
            case Primitive(size=int(size)):
                return self.plain(codec.SKIP_BYTES, size)
            case Primitive(kind="string" | "bytes"):
                return self.plain(codec.SKIP_STRING)
            case Primitive(kind="int" | "long") | EnumNode():
                return self.plain(codec.SKIP_LONG)
            case Primitive(kind=kind):
                return self.plain(codec.SKIP_BYTES, _SKIPPED_SIZES[kind])
        known = self.known(node)
        if known is not None:
            return known
        index = self.reserve(node)
        match node:
            case ArrayNode(items=items):
                self.nodes[index] = (codec.SKIP_ARRAY, self.skip(items), int(node_is_empty(items)))
            case MapNode(values=values):
                self.nodes[index] = (codec.SKIP_MAP, self.skip(values))
            case UnionNode(branches=branches):
                self.nodes[index] = (codec.SKIP_UNION, tuple(self.skip(branch) for branch in branches))
            case RecordNode(fields=fields, recursive=recursive):
                self.nodes[index] = (codec.SKIP_RECORD, int(recursive), tuple(self.skip(f.type) for f in fields))
        return index


_COLUMN_KINDS = {
    "int": "COLUMN_LONG",
    "long": "COLUMN_LONG",
    "double": "COLUMN_DOUBLE",
    "float": "COLUMN_FLOAT",
    "boolean": "COLUMN_BOOLEAN",
    "string": "COLUMN_TEXT",
    "bytes": "COLUMN_BYTES",
    "fixed": "COLUMN_FIXED",
}


def column_program(codec: Any, root: Node, wanted: Mapping[str, Any], columns: Sequence[Any]) -> Program:
    """What the extension executes to read some fields into columns.

    Args:
        codec: The extension's module.
        root: The writer's schema.
        wanted: A field's name -> the fields wanted in it, or its column.
        columns: The columns, in the order of their buffers.
    """
    writing = _ColumnProgram(codec)
    writing.record(root, wanted, columns)
    return writing.program()


class _ColumnProgram(_ReadProgram):
    def record(self, node: Node, wanted: Mapping[str, Any], columns: Sequence[Any]) -> int:
        assert isinstance(node, RecordNode)
        index = self.add()
        kids = []
        for field in node.fields:
            inner = wanted.get(field.name)
            if inner is None:
                kids.append(self.skip(field.type))
            elif isinstance(inner, Mapping):
                kids.append(self.record(field.type, inner, columns))
            else:
                kids.append(self._column(inner, columns.index(inner)))
        self.nodes[index] = (self.codec.SKIP_RECORD, 0, tuple(kids))
        return index

    def _column(self, column: Any, index: int) -> int:
        kind = getattr(self.codec, _COLUMN_KINDS[column.kind])
        kid = self.plain(self.codec.LONG)
        if column.kind == "fixed":
            kid = self.plain(self.codec.FIXED, column.node.size)
        return self.add(self.codec.COLUMN, kid, index, kind, column.null)


# Conversions of whole numbers that C does itself: the operation, and the unit and whether it is without a zone.
_OF_NUMBERS: dict[Any, tuple[Any, ...]] = {
    float: ("LONG_AS_DOUBLE",),
    conversions.datetime_of_micros: ("TIMESTAMP", "MICROS", 0),
    conversions.datetime_of_millis: ("TIMESTAMP", "MILLIS", 0),
    conversions.datetime_of_nanos: ("TIMESTAMP", "NANOS", 0),
    conversions.local_datetime_of_micros: ("TIMESTAMP", "MICROS", 1),
    conversions.local_datetime_of_millis: ("TIMESTAMP", "MILLIS", 1),
    conversions.local_datetime_of_nanos: ("TIMESTAMP", "NANOS", 1),
    conversions.date_of_days: ("DATE",),
    conversions.time_of_micros: ("TIME", "MICROS", 0),
    conversions.time_of_millis: ("TIME", "MILLIS", 0),
    conversions.timedelta_of_micros: ("TIMEDELTA",),
}


# -- writing -----------------------------------------------------------------------------------------------------------


def write_program(codec: Any, shape: Record) -> Program:
    """What the extension executes to write a class.

    Args:
        codec: The extension's module.
        shape: The class's shape.
    """
    writing = _WriteProgram(codec)
    writing.node(shape)
    return writing.program()


class _WriteProgram(_Nodes):
    def node(self, shape: Shape) -> int:
        codec = self.codec
        match shape:
            case Scalar():
                return self._scalar(shape)
            case Logical(kind="datetime", millis=millis):
                return self.plain(codec.TIMESTAMP, codec.MILLIS if millis else codec.MICROS, 0)
            case Logical(kind="time", millis=millis):
                return self.plain(codec.TIME, codec.MILLIS if millis else codec.MICROS, 0)
            case Logical(kind=kind):
                return self.plain({"date": codec.DATE, "timedelta": codec.TIMEDELTA, "uuid": codec.UUID}[kind])
            case DecimalNumber(digits=digits):
                write = conversions.decimal_writer(digits.precision, digits.scale)
                return self.plain(codec.DECIMAL, -1, digits.scale, digits.precision, write)
            case Enumeration(cls=None, values=values):
                return self.add(codec.SYMBOL, {value: i for i, value in enumerate(values)})
            case Enumeration(values=values):
                return self.add(codec.ENUM, values)
        known = self.known(shape)
        if known is not None:
            return known
        index = self.reserve(shape)
        match shape:
            case Array(item=item):
                self.nodes[index] = (codec.ARRAY, self.node(item), 0, 0)
            case Map(value=value):
                self.nodes[index] = (codec.MAP, self.node(value))
            case Union():
                self.nodes[index] = self._union(shape)
            case Record():
                self.nodes[index] = self._record(shape)
        return index

    def _scalar(self, shape: Scalar) -> int:
        codec = self.codec
        if shape.size is not None:
            return self.plain(codec.FIXED, shape.size)
        op = {
            "null": codec.NULL,
            "boolean": codec.BOOLEAN,
            "long": codec.LONG,
            "double": codec.DOUBLE,
            "string": codec.STRING,
            "bytes": codec.BYTES,
        }[shape.kind]
        plain = self.plain(op)
        if shape.allowed is None:
            return plain
        return self.add(codec.ALLOWED, {value: value for value in shape.allowed}, plain)

    def _union(self, union: Union) -> tuple[Any, ...]:
        optional = optional_branch(union)
        if optional is not None:
            null, other = optional
            return self.codec.OPTIONAL, null, self.node(other)
        exact = exact_branches(union)
        kids = tuple(self.node(branch) for branch in union.branches)
        return self.codec.UNION, kids, tuple(exact), tuple(exact.values()), branch_picker(union)

    def _record(self, record: Record) -> tuple[Any, ...]:
        codec = self.codec
        steps = tuple((self.node(field.shape), i) for i, field in enumerate(record.fields))
        targets = tuple((field.attribute, i, None, 1, None) for i, field in enumerate(record.fields))
        head = (codec.RECORD, int(record.recursive), codec.MAKE_DIRECTLY, record.cls, len(steps))
        return *head, steps, targets, 0
