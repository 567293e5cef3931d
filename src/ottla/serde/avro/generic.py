"""Plans for reading without a class: records become dicts, logical types their Python values."""

from __future__ import annotations

from ottla.serde.avro.logical import conversion
from ottla.serde.avro.nodes import ArrayNode, EnumNode, MapNode, Node, Primitive, RecordNode, UnionNode, node_is_empty
from ottla.serde.avro.plan import Plan, ReadArray, ReadEnum, ReadMap, ReadPrimitive, ReadRecord, ReadUnion, Step


def generic_plan(node: Node) -> Plan:
    """How to read a schema's bytes into dicts, lists and plain values; enum symbols become their names."""
    return _Walk().plan(node)


class _Walk:
    def __init__(self) -> None:
        self._records: dict[int, ReadRecord] = {}

    def plan(self, node: Node) -> Plan:
        match node:
            case Primitive():
                found = conversion(node)
                if found is None:
                    return ReadPrimitive(node.kind, node.size)
                return ReadPrimitive(node.kind, node.size, found[1], f"to_{found[0].replace('-', '_')}")
            case EnumNode():
                return ReadEnum(node.symbols, node.symbols, node.name)
            case ArrayNode():
                return ReadArray(self.plan(node.items), list, node_is_empty(node.items))
            case MapNode():
                return ReadMap(self.plan(node.values))
            case UnionNode():
                return ReadUnion(tuple(self.plan(branch) for branch in node.branches))
            case RecordNode():
                return self._record(node)

    def _record(self, node: RecordNode) -> ReadRecord:
        known = self._records.get(id(node))
        if known is None:
            known = ReadRecord(node.name, None, as_mapping=True, recursive=node.recursive)
            self._records[id(node)] = known
            known.steps = tuple(Step(f.name, self.plan(f.type), f.name) for f in node.fields)
            known.keyword = tuple(f.name for f in node.fields)
        return known
