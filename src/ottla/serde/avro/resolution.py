"""Resolution: what the writer's schema means for the reader's class, settled once when a decoder is built.

Source: Avro 1.12 specification, "Schema Resolution". Beyond it, Ottla takes what loses nothing: names of records and
enums count only inside unions (a renamed class still reads), a decimal of any scale, a timestamp of any unit, a UUID as
text or 16 bytes, and a fixed as bytes.
"""

from __future__ import annotations

from typing import Any

from ottla.events.fields import is_pydantic
from ottla.events.shapes import (
    LOGICAL_TYPES,
    Array,
    DecimalNumber,
    Enumeration,
    Logical,
    Map,
    Record,
    RecordField,
    Scalar,
    Shape,
    Union,
    avro_branch,
)
from ottla.serde.avro import conversions
from ottla.serde.avro.faults import Malformed
from ottla.serde.avro.logical import conversion, decimal_conversion, own_conversion
from ottla.serde.avro.nodes import (
    ArrayNode,
    EnumNode,
    FieldNode,
    MapNode,
    Node,
    Primitive,
    RecordNode,
    UnionNode,
    branch_name,
    node_is_empty,
)
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
    Step,
)


class Mismatch(Exception):
    """A writer's schema cannot be read as a class, whatever the data. The message says which field and why."""


# What a reader's primitive takes from the writer, besides itself.
_PROMOTIONS: dict[str, tuple[str, ...]] = {
    "null": ("null",),
    "boolean": ("boolean",),
    "long": ("long", "int"),
    "double": ("double", "float", "long", "int"),
    "string": ("string", "bytes"),
    "bytes": ("bytes", "string"),
}


def resolve(node: Node, shape: Record) -> Plan:
    """How to read a writer's bytes into a class.

    Raises:
        Mismatch: The two cannot be resolved.
    """
    return _Resolution().plan(node, shape, shape.cls.__name__)


class _Resolution:
    def __init__(self) -> None:
        self._records: dict[tuple[int, int], ReadRecord] = {}

    def plan(self, node: Node, shape: Shape, path: str) -> Plan:
        if isinstance(node, UnionNode):
            return self._from_union(node, shape, path)
        match shape:
            case Union():
                return self._into_union(node, shape, path)
            case Scalar():
                return self._scalar(node, shape, path)
            case Logical():
                return self._logical(node, shape, path)
            case DecimalNumber():
                return self._decimal(node, shape, path)
            case Enumeration():
                return self._enum(node, shape, path)
            case Array() if isinstance(node, ArrayNode):
                return ReadArray(self.plan(node.items, shape.item, path), shape.build, node_is_empty(node.items))
            case Map() if isinstance(node, MapNode):
                return ReadMap(self.plan(node.values, shape.value, path))
            case Record() if isinstance(node, RecordNode):
                return self._record(node, shape, path)
        raise _mismatch(node, shape, path)

    # -- unions ----------------------------------------------------------------------------------------------------

    def _from_union(self, node: UnionNode, shape: Shape, path: str) -> Plan:
        branches: list[Plan] = []
        reasons: list[str] = []
        for branch in node.branches:
            try:
                branches.append(self.plan(branch, shape, path))
            except Mismatch as error:
                reasons.append(str(error))
                branches.append(Refuse(str(error)))
        if len(reasons) == len(node.branches):
            raise Mismatch(reasons[0] if reasons else f"{path}: the writer's union has no branches")
        return ReadUnion(tuple(branches))

    def _into_union(self, node: Node, shape: Union, path: str) -> Plan:
        """The reader's branch for a writer's type: the same type or name first, then whichever takes it."""
        for branch in sorted(shape.branches, key=lambda b: _affinity(node, b)):
            before = dict(self._records)
            try:
                return self.plan(node, branch, path)
            except Mismatch:
                self._records = before
        raise _mismatch(node, shape, path)

    # -- plain values ----------------------------------------------------------------------------------------------

    def _scalar(self, node: Node, shape: Scalar, path: str) -> Plan:
        if not isinstance(node, Primitive) or node.kind not in _PROMOTIONS[shape.kind]:
            raise _mismatch(node, shape, path)
        if (node.size is not None and shape.kind != "bytes") or (shape.size is not None and node.size != shape.size):
            raise _mismatch(node, shape, path)
        plan = ReadPrimitive(node.kind, node.size)
        if shape.kind == "string" and node.kind == "bytes":
            plan.kind = "string"  # the same bytes on the wire
        elif shape.kind == "bytes" and node.kind == "string":
            plan.kind = "bytes"
        elif shape.kind == "double" and node.kind in ("int", "long"):
            plan.convert, plan.convert_name = float, "float"
        if shape.allowed is not None:
            plan.convert, plan.convert_name = _limited_to(shape.allowed), "allowed"
        return plan

    def _logical(self, node: Node, shape: Logical, path: str) -> Plan:
        if not isinstance(node, Primitive):
            raise _mismatch(node, shape, path)
        found = conversion(node)
        if found and found[0] == shape.kind:
            return ReadPrimitive(node.kind, node.size, found[1], f"to_{shape.kind}")
        # By the specification only the types below count, so the reader's own reading of a plain number applies.
        if node.logical is None and node.size is None and node.kind in _PROMOTIONS_TO_LOGICAL[shape.kind]:
            kind = "string" if node.kind == "bytes" else node.kind
            return ReadPrimitive(kind, None, own_conversion(shape.kind, shape.millis), f"to_{shape.kind}")
        raise _mismatch(node, shape, path)

    def _decimal(self, node: Node, shape: DecimalNumber, path: str) -> Plan:
        if isinstance(node, Primitive):
            if node.logical == "decimal":
                digits = node.precision, node.scale
            elif node.logical is None and node.kind == "bytes" and node.size is None:
                digits = shape.digits.precision, shape.digits.scale
            else:
                raise _mismatch(node, shape, path)
            return ReadPrimitive("bytes", node.size, decimal_conversion(*digits), "to_decimal")
        raise _mismatch(node, shape, path)

    def _enum(self, node: Node, shape: Enumeration, path: str) -> Plan:
        if not isinstance(node, EnumNode):
            raise _mismatch(node, shape, path)
        known = dict(zip(shape.symbols, shape.values, strict=True))
        fallback = UNKNOWN if shape.default is None else known[shape.default]
        values = tuple(known.get(symbol, fallback) for symbol in node.symbols)
        return ReadEnum(node.symbols, values, shape.cls.__name__ if shape.cls else shape.name)

    # -- records ---------------------------------------------------------------------------------------------------

    def _record(self, node: RecordNode, shape: Record, path: str) -> ReadRecord:
        key = (id(node), id(shape))
        known = self._records.get(key)
        if known is not None:
            return known
        recursive = node.recursive or shape.recursive
        plan = ReadRecord(
            shape.full_name, _builder(shape.cls), as_mapping=is_pydantic(shape.cls), recursive=recursive, shape=shape
        )
        before = dict(self._records)
        self._records[key] = plan
        try:
            plan.steps = self._steps(node, shape, path)
        except Mismatch:
            # Plans made meanwhile may hold the one that has just failed.
            self._records = before
            raise
        taken = {step.into for step in plan.steps if step.into is not None}
        plan.positional, plan.keyword = _arguments(shape, taken)
        return plan

    def _steps(self, node: RecordNode, shape: Record, path: str) -> tuple[Step, ...]:
        matches = _matching_fields(node, shape)
        for field in shape.fields:
            if field.name not in matches and not field.optional:
                raise Mismatch(
                    f"{path}.{field.attribute}: the writer's {node.name} has no such field, and the class has no "
                    "default for it. Give the field a default, or FormerNames if it was renamed"
                )
        by_source = {id(source): field for field in shape.fields if (source := matches.get(field.name)) is not None}
        steps = []
        for source in node.fields:
            target = by_source.get(id(source))
            if target is None:
                steps.append(Step(source.name, None, None, source.type))
            else:
                inner = self.plan(source.type, target.shape, f"{path}.{target.attribute}")
                steps.append(Step(target.attribute, inner, target.init_name))
        return tuple(steps)


_PROMOTIONS_TO_LOGICAL: dict[str, tuple[str, ...]] = {
    kind: {"long": ("long", "int"), "int": ("int",), "string": ("string", "bytes")}[base]
    for kind, (base, _) in LOGICAL_TYPES.items()
}


def _matching_fields(node: RecordNode, shape: Record) -> dict[str, FieldNode]:
    """The reader's field name -> the writer's field: by name first, then by the reader's aliases."""
    sources = {f.name: f for f in node.fields}
    matches = {f.name: sources[f.name] for f in shape.fields if f.name in sources}
    for field in shape.fields:
        if field.name not in matches:
            for alias in field.aliases:
                if alias in sources and sources[alias] not in matches.values():
                    matches[field.name] = sources[alias]
                    break
    return matches


def _builder(cls: Any) -> Any:
    return cls.__pydantic_validator__.validate_python if is_pydantic(cls) else cls


def _arguments(shape: Record, taken: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Positional as far as possible (it is faster); from the first gap on by name."""
    positional: list[str] = []
    keyword: list[str] = []
    gap = False
    for field in _positional_first(shape.fields):
        if field.init_name not in taken:
            gap = True
        elif gap or field.keyword_only:
            keyword.append(field.init_name)
        else:
            positional.append(field.init_name)
    return tuple(positional), tuple(keyword)


def _positional_first(fields: tuple[RecordField, ...]) -> list[RecordField]:
    return sorted(fields, key=lambda f: f.keyword_only)


def _affinity(node: Node, shape: Shape) -> int:
    """How well a reader's branch goes with a writer's type; 0 is best."""
    writer, reader = branch_name(node), avro_branch(shape)
    if isinstance(node, Primitive) and node.logical and not isinstance(shape, Scalar):
        found = conversion(node)
        kind = shape.kind if isinstance(shape, Logical) else "decimal"
        return 0 if found and found[0] == kind else 3
    if writer == reader:
        return 0
    if isinstance(node, RecordNode | EnumNode) and writer.rpartition(".")[2] == reader.rpartition(".")[2]:
        return 1
    return 2


def _limited_to(allowed: tuple[Any, ...]) -> conversions.Conversion:
    known = {value: value for value in allowed}

    def check(value: Any) -> Any:
        try:
            return known[value]
        except KeyError:
            raise Malformed(f"{value!r:.100} is none of {list(allowed)}") from None

    return check


def _mismatch(node: Node, shape: Shape, path: str) -> Mismatch:
    return Mismatch(f"{path}: the writer has {_describe(node)}, the class {_describe_shape(shape)}")


def _describe(node: Node) -> str:
    match node:
        case Primitive(logical=str(logical), kind=kind):
            return f"{logical} ({'fixed' if node.size is not None else kind})"
        case Primitive(size=int(size)):
            return f"fixed({size})"
        case RecordNode(name=name):
            return f"record {name}"
        case EnumNode(name=name):
            return f"enum {name}"
        case UnionNode(branches=branches):
            return "union of " + ", ".join(_describe(b) for b in branches)
        case _:
            return branch_name(node)


def _describe_shape(shape: Shape) -> str:
    match shape:
        case Scalar(size=int(size)):
            return f"fixed({size})"
        case Logical(kind=kind):
            return kind
        case DecimalNumber():
            return "Decimal"
        case Record(cls=cls):
            return f"record {cls.__name__}"
        case Enumeration(name=name):
            return f"enum {name}"
        case Union(branches=branches):
            return "union of " + ", ".join(_describe_shape(b) for b in branches)
        case _:
            return avro_branch(shape)
