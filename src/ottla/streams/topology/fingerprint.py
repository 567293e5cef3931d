"""What must not change between two starts of an application, and what to do when it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ottla.streams.topology.topology import SubTopology, Topology

VERSION = 1


def fingerprint(topology: Topology) -> dict[str, object]:
    """The parts of a topology that live on in Kafka and on disk: sub-topologies by number, stores, internal topics.

    Plain JSON data; stateless operators are no part of it, so they may come and go.
    """
    return {
        "version": VERSION,
        "subtopologies": {str(sub.index): _subtopology(sub) for sub in topology.subtopologies if not sub.is_global},
        "repartition": sorted(t.name for t in topology.internal_topics.values() if t.kind == "repartition"),
    }


def _subtopology(sub: SubTopology) -> dict[str, object]:
    return {
        "sources": sorted(sub.source_topics),
        "stores": {
            store.name: {"kind": store.kind, "key": store.key.name, "value": store.value.name, "logged": store.logged}
            for store in sub.stores
            if not store.is_global
        },
    }


def compare(stored: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Why an application that ran with one topology cannot go on with another, in sentences that name the way out.

    Args:
        stored: The fingerprint of the last start.
        new: The fingerprint of this one.
    """
    before, after = _stores(stored), _stores(new)
    faults = []
    for name, (sub, store) in before.items():
        if name not in after:
            if store["logged"]:
                faults.append(
                    f"store {name!r} is gone: its state would be left behind. If it has a new name, give it the old "
                    f'one (name="{name}"); if it is not wanted, reset the application'
                )
            continue
        sub_now, now = after[name]
        if sub != sub_now:
            faults.append(
                f"store {name!r} belonged to sub-topology {sub} and would now belong to {sub_now}: its tasks would not "
                "find their state. Put new sources after the old ones, or reset the application"
            )
        for what in ("kind", "key", "value"):
            if store[what] != now[what]:
                faults.append(
                    f"store {name!r} held {what} {store[what]!r} and would now hold {now[what]!r}. Give the new store "
                    "another name, or reset the application"
                )
    for name in sorted(set(stored["repartition"]) - set(new["repartition"])):
        faults.append(
            f"repartition topic {name!r} is gone: what is in it and not yet processed would be lost. Name the operator "
            "as before, or let the old application finish, then reset"
        )
    return faults


def _stores(of: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    return {name: (sub, store) for sub, part in of["subtopologies"].items() for name, store in part["stores"].items()}
