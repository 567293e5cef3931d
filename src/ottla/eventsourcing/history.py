"""The history of one aggregate, read from its events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ottla.errors import HistoryBroken
from ottla.events.envelope import read_envelope
from ottla.eventsourcing.aggregate import Aggregate
from ottla.eventsourcing.cluster import Cluster
from ottla.eventsourcing.replay import decoded_event
from ottla.kafka.record import Record
from ottla.streams.serdes import Serde


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of an aggregate's history.

    Attributes:
        version: Its number, and the aggregate's version after it.
        event: The event.
        time: When it was written; None where its record does not say.
        event_id, correlation_id: Its own, and that of the flow it is part of.
        command_id: The id of the command that led to it.
        partition, offset: Where it lies.
    """

    version: int
    event: Any
    time: datetime | None
    event_id: str | None
    correlation_id: str | None
    command_id: str | None
    partition: int
    offset: int


def read_history(
    cluster: Cluster,
    aggregate: Aggregate[Any],
    events: Serde[Any],
    topic: str,
    partition: int,
    key: bytes,
    *,
    version: int,
    since_ms: int,
    start: int,
    limit: int | None,
) -> list[Happened]:
    """The events of one aggregate, in their order.

    Only its partition is read: from the time of its first event, which its state knows, up to the event that made the
    state what it is.

    Args:
        version: The aggregate's.
        since_ms: The time of its first event.
        start: The first version that is wanted.
        limit: How many are wanted at most; None: all.

    Raises:
        HistoryBroken: Some are missing, or cannot be read.
        BrokerUnavailable, KafkaError: The cluster does not answer, or says no.
    """
    last = version if limit is None else min(version, start + limit - 1)
    if last < start:
        return []
    end = cluster.end(topic, partition)
    first = cluster.since(topic, partition, since_ms) if since_ms >= 0 else 0
    found = _between(cluster, events, topic, partition, key, first, end, last)
    if first > 0 and [one.version for one in found] != list(range(1, last + 1)):
        # The brokers' clock stamps the records and is behind, or the first event came in under a later time.
        found = _between(cluster, events, topic, partition, key, 0, end, last)
    versions = [one.version for one in found]
    if versions != list(range(1, last + 1)):
        raise HistoryBroken(
            f"{aggregate.name} {key.decode('utf-8', 'replace')} has version {version}, and of its first {last} events "
            f"topic {topic}, partition {partition} has {len(versions)}. Has it lost some (retention.ms)?"
        )
    return found[start - 1 :]


def _between(
    cluster: Cluster, events: Serde[Any], topic: str, partition: int, key: bytes, start: int, end: int, last: int
) -> list[Happened]:
    found: list[Happened] = []
    if start >= end:
        return found
    records = cluster.read(topic, partition, start, end)
    for record in records:
        if record.key != key:
            continue
        event, number = decoded_event(record, events)
        have = found[-1].version if found else 0
        number = have + 1 if number is None else number
        if event is None or (found and number <= have):
            continue
        found.append(_happened(record, event, number))
        if number >= last:
            break
    records.close()  # type: ignore[attr-defined]
    return found


def _happened(record: Record, event: Any, version: int) -> Happened:
    envelope = read_envelope(record.headers, received_at=record.time or datetime.now(UTC))
    return Happened(
        version,
        event,
        envelope.time if envelope else record.time,
        envelope.id if envelope else None,
        envelope.correlation_id if envelope else None,
        envelope.causation_id if envelope else None,
        record.partition,
        record.offset,
    )
