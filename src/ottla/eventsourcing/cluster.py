"""The cluster as aggregates see it: the topics of their events, and reading them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from ottla.errors import KafkaError, TopologyError
from ottla.eventsourcing.aggregate import Aggregate
from ottla.kafka.admin import Admin
from ottla.kafka.reader import TopicReader
from ottla.kafka.record import Record
from ottla.settings import KafkaSettings

EVENT_TOPIC = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
"""Events are the truth, all of them, for good."""

LOOK_AGAIN_S = 5.0

log = logging.getLogger("ottla.eventsourcing")

Progress = Callable[[str, int, int, int], None]


class Cluster:
    """An EventLog.

    Args:
        settings: Where the brokers are.
        replaying: Told how far states are made: aggregate, partition, position, end.
    """

    def __init__(self, settings: KafkaSettings, replaying: Progress) -> None:
        self._settings = settings
        self._admin = Admin(settings)
        self._known: dict[str, int] = {}
        self._looked_at = float("-inf")
        self.replaying = replaying

    def partitions(self, topic: str) -> int:
        if topic not in self._known and time.monotonic() - self._looked_at > LOOK_AGAIN_S:
            self._known = self._admin.topics(internal=True)
            self._looked_at = time.monotonic()
        return self._known.get(topic, 0)

    def end(self, topic: str, partition: int) -> int:
        return self._admin.ends([(topic, partition)])[topic, partition]

    def since(self, topic: str, partition: int, time_ms: int) -> int:
        """The offset of the first record that is not older; 0 where that is not known."""
        try:
            return self._admin.since((topic, partition), time_ms)
        except KafkaError:
            return 0

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        with TopicReader(self._settings, topic, start={partition: start}) as reader:
            yield from reader.until({partition: end})

    def prepare(self, aggregate: Aggregate[Any]) -> None:
        """Makes the topics of an aggregate's commands and events, where they are missing and that is allowed.

        Raises:
            TopologyError: The topics there are do not fit.
            BrokerUnavailable, KafkaError: The cluster does not answer, or says no.
        """
        named = self._settings.named
        commands, events = named(aggregate.command_topic), named(aggregate.event_topic)
        if self._settings.create_topics:
            self._admin.ensure_topics({commands: self._settings.topic_partitions})
            count = self._admin.partitions([commands])[commands]
            if self._admin.ensure_topics({events: count}, config=EVENT_TOPIC):
                log.info("created topic %s, which keeps its records for good", events)
        known = self._admin.topics(internal=True)
        missing = [topic for topic in (commands, events) if topic not in known]
        if missing:
            raise KafkaError(
                f"aggregate {aggregate.name!r}: topics {', '.join(missing)} do not exist at "
                f"{self._settings.bootstrap_servers}, and kafka.create_topics is off"
            )
        if known[commands] != known[events]:
            raise TopologyError(
                f"aggregate {aggregate.name!r}: topic {commands} has {known[commands]} partitions and {events} has "
                f"{known[events]}. They must have the same number, so that the events of an aggregate lie in the "
                "partition of the number its commands have: add partitions before there are records, or use new topics"
            )
        self._check_keeps(aggregate, events)

    def _check_keeps(self, aggregate: Aggregate[Any], events: str) -> None:
        config = self._admin.describe_topic(events).config
        if "compact" in (config.get("cleanup.policy") or ""):
            raise TopologyError(
                f"aggregate {aggregate.name!r}: topic {events} is compacted, which keeps the last event of each and "
                f"loses the others. Set cleanup.policy=delete and retention.ms=-1"
            )
        if any((config.get(name) or "-1") != "-1" for name in ("retention.ms", "retention.bytes")):
            log.warning(
                "topic %s deletes events after a time (retention.ms=%s, retention.bytes=%s): what they made cannot be "
                "made anew then, and histories begin in the middle. Set both to -1",
                events, config.get("retention.ms"), config.get("retention.bytes"),
            )  # fmt: skip
