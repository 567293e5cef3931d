"""Topics that belong to a stream application: repartition topics and changelogs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class InternalTopic:
    """A topic the application makes for itself.

    Attributes:
        name: Logical: without the application's name in front.
        kind: `repartition`: between sub-topologies, with as many partitions as the streams that are written to it have
            (`Topology.partition_counts`). `changelog`: one partition for each task of the sub-topology.
        partitions: Asked for by the user; None leaves it to the rule of its kind.
        config: Topic configuration.
        store: The store whose changelog it is.
    """

    name: str
    kind: Literal["repartition", "changelog"]
    partitions: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    store: str | None = None


REPARTITION_CONFIG = {"cleanup.policy": "delete", "retention.ms": "-1"}
"""What was processed is deleted by the runtime (DeleteRecords), never by time: nothing unread may go."""

CHANGELOG_CONFIG = {"cleanup.policy": "compact"}


def windowed_changelog_config(retention_ms: int) -> dict[str, str]:
    """The same for windows: compacted, and deleted a day (as Kafka Streams has it) after they expire."""
    return {"cleanup.policy": "compact,delete", "retention.ms": str(retention_ms + 24 * 3600 * 1000)}
