"""A consumer of a group, configured for a runner that commits by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import confluent_kafka

from ottla.kafka.config import open_client
from ottla.settings import KafkaSettings, ListenerSettings

TopicPartition = confluent_kafka.TopicPartition


def group_consumer(
    settings: KafkaSettings,
    listener: ListenerSettings,
    *,
    group: str,
    client_id: str,
    on_commit: Callable[[Any, list[Any]], None],
    on_error: Callable[[Any], None],
) -> confluent_kafka.Consumer:
    """A consumer that joins `group`, starts at the earliest record where nothing is committed, and never commits alone.

    Args:
        settings: Where the brokers are.
        listener: Timeouts and sizes.
        group: The consumer group; `kafka.prefix` goes before it.
        client_id: Shown by the broker's tools.
        on_commit: Called on the polling thread after each asynchronous commit with (error or None, partitions).
        on_error: Called on the polling thread with client-level errors (broker away and the like).
    """
    return open_client(
        confluent_kafka.Consumer,
        settings,
        group_id=settings.named(group),
        client_id=client_id,
        enable_auto_commit=False,
        enable_auto_offset_store=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        # Where a partition ends, no record tells: the markers of transactions lie behind the last one.
        enable_partition_eof=True,
        **_membership(settings, listener),
        group_instance_id=listener.instance_id,
        max_poll_interval_ms=int(max(listener.max_poll_interval_s, listener.session_timeout_s) * 1000),
        fetch_min_bytes=listener.fetch_min_bytes,
        fetch_wait_max_ms=int(listener.fetch_wait_s * 1000),
        # librdkafka's default of one second cuts a fast consumer to an eighth: once its queue is full it does not
        # look again for that long.
        fetch_queue_backoff_ms=5,
        queued_max_messages_kbytes=16384,
        topic_metadata_refresh_interval_ms=30_000,
        on_commit=on_commit,
        error_cb=on_error,
    )


def _membership(settings: KafkaSettings, listener: ListenerSettings) -> dict[str, Any]:
    """How membership in the group is kept.

    With `kafka.properties."group.protocol" = "consumer"` (KIP-848) that is the broker's to say: librdkafka refuses to
    be told sessions, heartbeats and assignors then.
    """
    if speaks_new_protocol(settings):
        return {}
    return {
        "partition_assignment_strategy": "cooperative-sticky",
        "session_timeout_ms": int(listener.session_timeout_s * 1000),
        "heartbeat_interval_ms": int(min(3.0, listener.session_timeout_s / 3) * 1000),
    }


def incremental_assign(consumer: Any, settings: KafkaSettings, partitions: list[Any]) -> None:
    """Within an assignment's callback: takes these partitions, which may be more than the group has given."""
    if partitions:
        (consumer.incremental_assign if _cooperative(settings) else consumer.assign)(partitions)


def incremental_unassign(consumer: Any, settings: KafkaSettings, partitions: list[Any]) -> None:
    """Within a revocation's callback: gives these partitions up."""
    if not _cooperative(settings):
        consumer.unassign()
    elif partitions:
        consumer.incremental_unassign(partitions)


def _cooperative(settings: KafkaSettings) -> bool:
    """Whether the group moves partitions one by one: Ottla's choice, unless the user has another assignor."""
    chosen = settings.properties.get("partition.assignment.strategy", "cooperative-sticky")
    return "cooperative" in str(chosen) or speaks_new_protocol(settings)


def speaks_new_protocol(settings: KafkaSettings) -> bool:
    """Whether groups are of Kafka's new protocol (KIP-848)."""
    return str(settings.properties.get("group.protocol")).lower() == "consumer"
