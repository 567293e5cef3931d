"""What the runtime must know of a store to open it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ottla.streams.serdes import Serde

StoreKind = Literal["key-value", "timestamped", "versioned", "window", "session", "buffer"]


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """A store of a sub-topology: each of its tasks has one.

    Attributes:
        name: Unique in the topology. Its changelog and its folder are named by it, so it must outlive edits.
        kind: How keys and values are laid out in the BytesStore.
        key, value: How they are written (the value within the layout of its kind).
        persistent: On disk; else in memory.
        logged: Whether its changes go to a changelog topic, from which it is restored.
        changelog_config: The topic's configuration.
        changelog: The changelog's logical name (`Topology.physical` gives the topic); None if not logged.
        retention_ms: How long windows, sessions and versions are kept after stream time has passed them.
        ttl_ms: How long after its last change a timestamped row is kept, by stream time; None: until it is deleted.
        segment_ms: How much time shares one key prefix, so that what has expired is dropped as a range.
        cached: Whether changes are collected until a commit and go on as one per key.
        duplicates: Whether a window may hold several values of a key (joins keep every record).
        is_global: Filled on every instance from all partitions of its topic, instead of by a task.
    """

    name: str
    kind: StoreKind
    key: Serde[Any]
    value: Serde[Any]
    persistent: bool = True
    logged: bool = True
    changelog_config: Mapping[str, str] = field(default_factory=dict)
    retention_ms: int | None = None
    segment_ms: int | None = None
    cached: bool = True
    duplicates: bool = False
    is_global: bool = False
    ttl_ms: int | None = None

    @property
    def changelog(self) -> str | None:
        return f"{self.name}-changelog" if self.logged and not self.is_global else None
