"""The topology an application ran with last, kept in a topic of its own and compared at the next start.

The topic `<application>-metadata` is compacted and has one partition. Its record `topology` holds JSON:
{"fingerprint": ..., "tasks": ["0_0", ...]}: the numbers of tasks never change their meaning (`plan.numbered`).
Running instances show themselves in it, too (`group_view.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ottla.errors import TopologyError
from ottla.kafka.admin import Admin
from ottla.kafka.reader import read_topic
from ottla.kafka.stream_producer import AtLeastOnceProducer
from ottla.settings import KafkaSettings
from ottla.streams.topology.fingerprint import compare

KEY = b"topology"


class StoredTopology(msgspec.Struct, frozen=True):
    """What is remembered of an application."""

    fingerprint: dict[str, Any]
    tasks: list[str]


METADATA_CONFIG = {"cleanup.policy": "compact", "segment.bytes": str(1 << 20), "min.cleanable.dirty.ratio": "0.1"}
"""Every instance writes every few seconds: what is out of date is to go soon."""


def metadata_topic(application_id: str) -> str:
    """The topic's name."""
    return f"{application_id}-metadata"


def read_stored(settings: KafkaSettings, application_id: str) -> StoredTopology | None:
    """What the application ran with last; None if it never ran.

    Raises:
        BrokerUnavailable, KafkaError: It cannot be read.
    """
    topic = metadata_topic(application_id)
    if topic not in Admin(settings).topics(internal=True):
        return None
    found = None
    for record in read_topic(settings, topic):
        if record.key == KEY and record.value is not None:
            found = msgspec.json.decode(record.value, type=StoredTopology)
    return found


def write_stored(settings: KafkaSettings, application_id: str, stored: StoredTopology) -> None:
    """Remembers it. Raises BrokerUnavailable or KafkaError where that fails."""
    producer = AtLeastOnceProducer(settings, application_id)
    try:
        producer.produce(metadata_topic(application_id), KEY, msgspec.json.encode(stored))
        producer.commit([], None)
    finally:
        producer.close()


def check_compatible(application_id: str, stored: StoredTopology | None, fingerprint: Mapping[str, Any]) -> None:
    """Whether the application may go on with this topology.

    Raises:
        TopologyError: It may not; the message names every reason and the way out.
    """
    if stored is None:
        return
    faults = compare(stored.fingerprint, fingerprint)
    if faults:
        listed = "".join(f"\n  - {fault}" for fault in faults)
        raise TopologyError(
            f"{application_id} ran with another topology, and its state does not fit this one:{listed}\n"
            f"To begin anew, with all state and positions deleted: stop all instances, then "
            f"`ottla streams reset {application_id}`; or run the new topology under another name"
        )
