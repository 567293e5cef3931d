"""A topology as text and as a Mermaid flowchart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.streams.topology.nodes import Node, SinkNode, SourceNode

if TYPE_CHECKING:
    from ottla.streams.topology.topology import SubTopology, Topology


def describe(topology: Topology) -> str:
    """In the manner of Kafka Streams' `Topology#describe`."""
    lines = ["Topology" + (f" {topology.application_id}" if topology.application_id else "")]
    for sub in topology.subtopologies:
        lines.append(f"  Sub-topology {sub.index}" + (" (global)" if sub.is_global else ""))
        for node in sub.nodes:
            lines.append(f"    {_title(topology, node)}")
            children = ", ".join(child.name for child in sub.children(node.name))
            if children:
                lines.append(f"      --> {children}")
    return "\n".join(lines) + "\n"


def _title(topology: Topology, node: Node) -> str:
    stores = f" (stores: {', '.join(node.stores)})" if node.stores else ""
    if isinstance(node, SourceNode):
        return f"Source {node.name} (topics: {', '.join(map(topology.physical, node.topics))}){stores}"
    if isinstance(node, SinkNode):
        return f"Sink {node.name} (topic: {_target(topology, node)}){stores}"
    return f"{node.operation} {node.name}{stores}"


def _target(topology: Topology, node: SinkNode) -> str:
    return topology.physical(node.topic) if isinstance(node.topic, str) else "chosen per record"


def mermaid(topology: Topology) -> str:
    """Topics are drawn as stadiums, operators as boxes, stores as cylinders, sub-topologies as frames."""
    ids: dict[str, str] = {}

    def id_of(kind: str, name: str) -> str:
        return ids.setdefault(f"{kind} {name}", f"{kind[0]}{len(ids)}")

    lines = ["flowchart TB"]
    edges: list[str] = []
    topics: dict[str, None] = {}
    for sub in topology.subtopologies:
        lines.append(f'  subgraph sub{sub.index}["sub-topology {sub.index}{" (global)" if sub.is_global else ""}"]')
        for node in sub.nodes:
            lines.append(f'    {id_of("node", node.name)}["{_escaped(node.operation)}<br/>{_escaped(node.name)}"]')
            edges += _edges(topology, sub, node, id_of, topics)
        lines += [f'    {id_of("store", store.name)}[("{_escaped(store.name)}")]' for store in sub.stores]
        lines.append("  end")
    lines += [f'  {id_of("topic", topic)}(["{_escaped(topic)}"])' for topic in topics]
    return "\n".join([*lines, *edges]) + "\n"


def _edges(topology: Topology, sub: SubTopology, node: Node, id_of, topics: dict[str, None]) -> list[str]:  # type: ignore[no-untyped-def]
    own = id_of("node", node.name)
    edges = [f"  {id_of('node', parent)} --> {own}" for parent in node.parents]
    edges += [f"  {own} -.- {id_of('store', store)}" for store in node.stores]
    if isinstance(node, SourceNode):
        for topic in map(topology.physical, node.topics):
            topics[topic] = None
            edges.append(f"  {id_of('topic', topic)} --> {own}")
    if isinstance(node, SinkNode):
        target = _target(topology, node)
        topics[target] = None
        edges.append(f"  {own} --> {id_of('topic', target)}")
    return edges


def _escaped(text: str) -> str:
    return text.replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
