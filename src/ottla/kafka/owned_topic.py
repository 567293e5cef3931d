"""A compacted topic whose partitions belong to members of a group: each is read from its beginning by the one that has
it, and only that one may write transactions to it.

Ownership, step by step: the group assigns a partition -> `opened` opens the transactional id of that partition, which
fences whoever had it before and has the broker undo what they left open -> the end of the partition is asked for ->
once everything before that end has been read, the owner knows all that the one before it committed, and nothing can be
added to that any more. A member that lost a partition and has not noticed cannot commit.
"""

from __future__ import annotations

from typing import Any

import confluent_kafka
import msgspec

from ottla.errors import BrokerUnavailable
from ottla.kafka.consumer import group_consumer
from ottla.kafka.lifeline import Lifeline
from ottla.kafka.record import Record
from ottla.kafka.transactions import TransactionalProducer
from ottla.settings import KafkaSettings, ListenerSettings

TRANSACTION_TIMEOUT_S = 10.0

RECORDS = 1000
"""Records of one poll."""


class OwnedTopic:
    """A member's view. Belongs to one thread.

    Attributes:
        owned: The partitions it has now.

    Args:
        settings, listener: Where the brokers are, and how long a member may be silent.
        topic: The topic, which must exist.
        group: The group; also the beginning of the transactional ids.
    """

    def __init__(self, settings: KafkaSettings, listener: ListenerSettings, topic: str, group: str) -> None:
        self.owned: set[int] = set()
        self._settings = settings
        self._topic = topic
        self._group = group
        # Where reading has come to: an end of the partition that was seen.
        self._reached: dict[int, int] = {}
        # Nothing is ever committed: whoever is assigned a partition begins at its beginning.
        properties = {**settings.properties, "enable.partition.eof": True, "auto.offset.reset": "earliest"}
        self._lifeline = Lifeline(settings)
        self._consumer: Any = group_consumer(
            msgspec.structs.replace(settings, properties=properties),
            listener,
            group=group,
            client_id=group,
            on_commit=lambda _error, _partitions: None,
            on_error=self._lifeline.told,
        )
        self._consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._lost, on_lost=self._lost)

    def opened(self, partition: int) -> tuple[TransactionalProducer, int]:
        """The writer of a partition, and the end to read up to before anything is written.

        Raises:
            BrokerUnavailable, KafkaError: It could not be opened.
        """
        name = f"{self._group}-{partition}"
        producer = TransactionalProducer(self._settings, name, transaction_timeout_s=TRANSACTION_TIMEOUT_S)
        try:
            place = confluent_kafka.TopicPartition(self._topic, partition)
            _, end = self._consumer.get_watermark_offsets(place, timeout=10.0, cached=False)
        except confluent_kafka.KafkaException as error:
            producer.close()
            raise BrokerUnavailable(f"{self._topic}[{partition}]: its end is not known: {error.args[0]}") from error
        return producer, end

    def has_read(self, partition: int, end: int) -> bool:
        """Whether everything before `end` has been given out by `poll`."""
        return self._reached.get(partition, -1) >= end

    def poll(self, timeout_s: float) -> list[Record]:
        """What was committed, of the partitions it has; waits up to `timeout_s` for the first record.

        Raises:
            BrokerUnavailable: Only another view would find a broker.
        """
        self._lifeline.check(self._consumer)
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        records = []
        for message in (first, *self._consumer.consume(RECORDS - 1, 0)):
            error = message.error()
            if message.partition() not in self.owned:
                continue
            if error is None:
                records.append(Record.of(message))
            elif error.code() == confluent_kafka.KafkaError._PARTITION_EOF:
                self._reached[message.partition()] = message.offset()
        return records

    def close(self) -> None:
        """Leaves the group: the others need not wait until it is missed."""
        self._consumer.close()

    def _assigned(self, _consumer: Any, partitions: list[Any]) -> None:
        self.owned |= {one.partition for one in partitions}

    def _lost(self, _consumer: Any, partitions: list[Any]) -> None:
        for one in partitions:
            self.owned.discard(one.partition)
            self._reached.pop(one.partition, None)
