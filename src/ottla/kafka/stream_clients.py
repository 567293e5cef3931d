"""The consumers of a stream application: one is a member of its group, one fetches, one restores.

The group shares out *tasks*, not the topics they read (`streams/runtime/membership.py` says why), so the member never
fetches, and whoever fetches is told its partitions by hand.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import confluent_kafka
import msgspec

from ottla.kafka.config import open_client
from ottla.kafka.consumer import TopicPartition
from ottla.settings import KafkaSettings, StreamsSettings

Consumer = confluent_kafka.Consumer
OFFSET_BEGINNING = confluent_kafka.OFFSET_BEGINNING
OFFSET_END = confluent_kafka.OFFSET_END
PARTITION_EOF = confluent_kafka.KafkaError._PARTITION_EOF

__all__ = [
    "Consumer",
    "TopicPartition",
    "fetch_also",
    "fetching_consumer",
    "looking_consumer",
    "member_consumer",
    "restoring_consumer",
]

LOOK_S = 2.0


def member_consumer(
    settings: KafkaSettings, streams: StreamsSettings, *, group: str, client_id: str, instance_id: str, on_error: Any
) -> Consumer:
    """A consumer that keeps a membership of `group` and commits for it.

    Args:
        instance_id: Static membership (KIP-345): who comes back with it soon gets the same tasks, without a rebalance.
        on_error: Called on the polling thread with client-level errors.
    """
    config: dict[str, Any] = {
        "group_id": settings.named(group),
        "group_instance_id": instance_id,
        "client_id": client_id,
        "enable_auto_commit": False,
        "enable_auto_offset_store": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "max_poll_interval_ms": int(max(streams.max_poll_interval_s, streams.session_timeout_s) * 1000),
        "topic_metadata_refresh_interval_ms": 10_000,
        "error_cb": on_error,
    }
    if str(settings.properties.get("group.protocol")).lower() != "consumer":  # KIP-848 has these at the broker
        config |= {
            "partition_assignment_strategy": "cooperative-sticky",
            "session_timeout_ms": int(streams.session_timeout_s * 1000),
            "heartbeat_interval_ms": int(min(3.0, streams.session_timeout_s / 3) * 1000),
        }
    return open_client(confluent_kafka.Consumer, settings, **config)


def fetching_consumer(settings: KafkaSettings, *, group: str, client_id: str, on_error: Any) -> Consumer:
    """A consumer to be assigned partitions by hand, which says when it has reached their ends."""
    return _by_hand(settings, group, client_id, on_error, fetch_wait_max_ms=100, queued_max_messages_kbytes=32_768)


def restoring_consumer(settings: KafkaSettings, *, group: str, client_id: str, on_error: Any) -> Consumer:
    """The same for changelogs."""
    return _by_hand(
        settings, group, client_id, on_error, fetch_wait_max_ms=50, queued_max_messages_kbytes=65_536,
        queued_min_messages=200_000, fetch_max_bytes=16 << 20, max_partition_fetch_bytes=4 << 20,
    )  # fmt: skip


def looking_consumer(settings: KafkaSettings, *, group: str, client_id: str, on_error: Any) -> Consumer:
    """A consumer that fetches nothing and is only asked where partitions end, with what is not committed yet."""
    return _by_hand(settings, group, client_id, on_error, isolation_level="read_uncommitted")


def _by_hand(settings: KafkaSettings, group: str, client_id: str, on_error: Any, **chosen: Any) -> Consumer:
    # Who does not join cannot have a protocol of joining.
    joining = {"group.protocol", "group.instance.id", "partition.assignment.strategy"}
    properties = {name: value for name, value in settings.properties.items() if name not in joining}
    return open_client(
        confluent_kafka.Consumer,
        msgspec.structs.replace(settings, properties=properties),
        group_id=settings.named(group),
        client_id=client_id,
        enable_auto_commit=False,
        enable_auto_offset_store=False,
        # What a partition begins with is said when it is assigned; an offset that is gone must be told, not skipped.
        auto_offset_reset="error",
        **({"isolation_level": "read_committed"} | chosen),
        enable_partition_eof=True,
        allow_auto_create_topics=False,
        # librdkafka's default of one second cuts a fast consumer to an eighth.
        fetch_queue_backoff_ms=5,
        topic_metadata_refresh_interval_ms=10_000,
        error_cb=on_error,
    )


def fetch_also(consumer: Consumer, partitions: list[TopicPartition], known: set[str]) -> None:
    """Adds partitions, with their offsets, to what a consumer fetches.

    Args:
        known: The topics this consumer has fetched of before; added to.
    """
    for topic in {one.topic for one in partitions} - known:
        # Without a look at the topic the client library finds its leader at its next round, up to a second later.
        with suppress(confluent_kafka.KafkaException):
            consumer.list_topics(topic, timeout=LOOK_S)
            known.add(topic)
    if partitions:
        consumer.incremental_assign(partitions)
