"""A member of a group that keeps its positions elsewhere: in the database that it writes to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import confluent_kafka
import msgspec

from ottla.errors import KafkaError
from ottla.kafka.consumer import group_consumer, incremental_assign
from ottla.kafka.lifeline import Lifeline
from ottla.kafka.record import Record
from ottla.settings import KafkaSettings, ListenerSettings

Place = tuple[str, int]

RECORDS = 1000
"""Records of one poll."""

TELL_EVERY_S = 1.0


class PositionedReader:
    """Reads the partitions that its group gives it, each from where `positions` says. Belongs to one thread.

    The group's own offsets follow behind, for `ottla lag` and other tools to see; nobody reads them here.

    Attributes:
        owned: The partitions it has now.

    Args:
        settings, listener: Where the brokers are, and how long a member may be silent.
        topics: What is read; they must exist.
        group: The group.
        positions: From partitions that have just been given to the offset of the next record of each; one that is left
            out begins at its beginning. What it raises, `poll` raises.
        on_error: Called in `poll` with client-level errors (broker away and the like).
    """

    def __init__(
        self,
        settings: KafkaSettings,
        listener: ListenerSettings,
        topics: Iterable[str],
        group: str,
        positions: Callable[[list[Place]], Mapping[Place, int]],
        on_error: Callable[[Any], None],
    ) -> None:
        self.owned: set[Place] = set()
        self._settings = settings
        self._positions = positions
        self._failure: Exception | None = None
        self._at_end: dict[Place, int] = {}
        self._next: dict[Place, int] = {}
        self._told: dict[Place, int] = {}
        self._tell_at = 0.0
        # An offset that is gone is told, and not passed over: what was there is missing in the database.
        properties = {**settings.properties, "auto.offset.reset": "error"}
        self._lifeline = Lifeline(settings, on_error)
        self._consumer: Any = group_consumer(
            msgspec.structs.replace(settings, properties=properties),
            listener,
            group=group,
            client_id=group,
            on_commit=lambda _error, _partitions: None,
            on_error=self._lifeline.told,
        )
        self._consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._lost, on_lost=self._lost)

    def poll(self, timeout_s: float) -> dict[Place, list[Record]]:
        """What was committed, by partition; waits up to `timeout_s` for the first record.

        Raises:
            KafkaError: A partition cannot be read, or the record to go on from is gone.
            BrokerUnavailable: Only another reader would find a broker.
        """
        self._lifeline.check(self._consumer)
        first = self._consumer.poll(timeout_s)
        self._raise_failure()
        found: dict[Place, list[Record]] = {}
        if first is None:
            return found
        for message in (first, *self._consumer.consume(RECORDS - 1, 0)):
            place = message.topic(), message.partition()
            if place not in self.owned:
                continue
            error = message.error()
            if error is None:
                found.setdefault(place, []).append(Record.of(message))
                self._at_end.pop(place, None)
            elif error.code() == confluent_kafka.KafkaError._PARTITION_EOF:
                self._at_end[place] = message.offset()
            elif error.code() == confluent_kafka.KafkaError._AUTO_OFFSET_RESET:
                raise KafkaError(
                    f"topic {place[0]}, partition {place[1]}: the record to go on from is gone ({error.str()}): the "
                    "topic has deleted records that were not read yet"
                )
            elif not error.retriable():
                raise KafkaError(f"topic {place[0]}, partition {place[1]}: {error.str()}")
        self._raise_failure()
        return {place: records for place, records in found.items() if place in self.owned}

    def moved(self, place: Place, next_offset: int) -> None:
        """Notes how far the caller is, and tells the group now and then."""
        self._next[place] = next_offset
        if time.monotonic() < self._tell_at:
            return
        self._tell_at = time.monotonic() + TELL_EVERY_S
        new = {place: offset for place, offset in self._next.items() if self._told.get(place) != offset}
        if new:
            self._told |= new
            self._consumer.commit(
                offsets=[confluent_kafka.TopicPartition(*place, offset) for place, offset in new.items()],
                asynchronous=True,
            )

    def lag(self, place: Place, next_offset: int) -> int:
        """How many records are behind a position, as far as is known."""
        if place in self._at_end:
            return 0
        _, end = self._consumer.get_watermark_offsets(confluent_kafka.TopicPartition(*place), cached=True)
        return max(0, end - next_offset) if end >= 0 else 0

    @property
    def is_member(self) -> bool:
        """Whether the group has taken it in, be it with or without partitions."""
        return bool(self.owned) or bool(self._consumer.memberid())

    def close(self) -> None:
        """Leaves the group: the others need not wait until it is missed."""
        self._consumer.close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        places = [(one.topic, one.partition) for one in partitions]
        try:
            known = self._positions(places)
        except Exception as error:  # out of a callback it would get lost
            self._failure = error
            known = {}
        else:
            self.owned.update(places)
        for one in partitions:
            one.offset = known.get((one.topic, one.partition), confluent_kafka.OFFSET_BEGINNING)
        incremental_assign(consumer, self._settings, partitions)

    def _lost(self, _consumer: Any, partitions: list[Any]) -> None:
        for one in partitions:
            place = one.topic, one.partition
            self.owned.discard(place)
            self._at_end.pop(place, None)
            self._next.pop(place, None)
            self._told.pop(place, None)
