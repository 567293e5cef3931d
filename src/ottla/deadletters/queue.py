"""The dead letters of one topic, and what can be done with them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from ottla.deadletters.audit import Action, Decisions, audit_topic, decide, encode, key_of
from ottla.deadletters.letter import OPEN, DeadLetter, LetterId
from ottla.deadletters.selection import Selection
from ottla.errors import ConfigurationError, KafkaError
from ottla.kafka.admin import Admin
from ottla.kafka.reader import read_topic
from ottla.kafka.transactions import TransactionalProducer
from ottla.listeners.deadletter import dead_letter_topic
from ottla.settings import Settings

BATCH_LETTERS = 100
"""Letters settled in one transaction."""

BATCH_S = 1.0
"""... or as many as the rate allows in this time."""

REPLAYS_MAX = 3
SUFFIX = dead_letter_topic("")
STATES = (OPEN, "replayed", "edited", "parked", "purged")

Progress = Callable[[int], None]
"""Told how many letters have been settled so far."""


class Outcome(msgspec.Struct, frozen=True):
    """What a run did.

    Attributes:
        replayed: Letters written back (with `dry_run`: that would be).
        parked: Letters that had been replayed too often and are left alone from now on.
        purged: Letters that were settled without a replay.
    """

    replayed: int = 0
    parked: int = 0
    purged: int = 0


class _Step(NamedTuple):
    letter: DeadLetter
    action: Action
    to: str
    reason: str


class DeadLetterQueue:
    """The dead letters of a topic. Blocking; not thread-safe.

    Contract: a dead letter stays where it is until it is purged. What became of it is known from the audit topic
    (`<topic>-dlq-audit`), which is written in the same transaction as the replayed record: a run that is interrupted,
    or killed, has settled each letter or not, and goes on where it stopped when it is called again. Two runs at once:
    the second fences the first.

    Args:
        settings: Which cluster.
        topic: The topic whose records died, or the dead-letter topic itself.

    Raises:
        KafkaError: There are no dead letters for that topic.
        BrokerUnavailable: No broker answers.
    """

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._admin = Admin(settings.kafka)
        topics = self._admin.topics(internal=True)
        self.topic = topic if topic.endswith(SUFFIX) and topic in topics else dead_letter_topic(topic)
        if self.topic not in topics:
            raise KafkaError(
                f"there is no topic {self.topic!r} at {settings.kafka.bootstrap_servers}: nothing of {topic!r} has "
                f"died, or its services have never run here"
            )
        self._topics = topics
        self.audit_topic = audit_topic(self.topic)

    @staticmethod
    def topics(settings: Settings) -> list[str]:
        """All dead-letter topics of the cluster."""
        return [name for name in Admin(settings.kafka).topics() if name.endswith(SUFFIX)]

    # ------------------------------------------------------------------ looking

    def letters(self, selection: Selection = Selection()) -> Iterator[DeadLetter]:  # noqa: B008  # it is frozen
        """The selected letters; of each partition in its order."""
        decisions = self._decisions()
        # A letter that is replayed may die again while this reads: it is for the next look.
        ends = {one.partition: one.latest for one in self._admin.describe_topic(self.topic).partitions}
        count = 0
        for record in read_topic(self._settings.kafka, self.topic):
            if selection.limit is not None and count >= selection.limit:
                return
            if record.offset >= ends[record.partition]:
                continue
            decision = decisions.on(record)
            letter = DeadLetter.of(record, decision.action if decision else OPEN)
            if selection.matches(letter):
                count += 1
                yield letter

    def letter(self, letter_id: LetterId) -> DeadLetter:
        """One letter, whatever its state. Raises KafkaError if there is none."""
        selection = Selection(ids=frozenset({letter_id}), states=frozenset(STATES))
        found = next(self.letters(selection), None)
        if found is None:
            raise KafkaError(
                f"{self.topic} has no dead letter {letter_id}: `ottla dlq list {self.topic} --each` names all"
            )
        return found

    def _decisions(self) -> Decisions:
        if self.audit_topic not in self._topics:
            return Decisions()
        return Decisions(read_topic(self._settings.kafka, self.audit_topic))

    # ------------------------------------------------------------------ doing

    def replay(
        self,
        selection: Selection,
        *,
        to: str | None = None,
        rate: float | None = None,
        replays_max: int = REPLAYS_MAX,
        dry_run: bool = False,
        stop: threading.Event | None = None,
        progress: Progress | None = None,
    ) -> Outcome:
        """Writes letters back to the topics they came from, key, value and headers as they were.

        Args:
            selection: Which letters.
            to: Another topic.
            rate: At most so many a second.
            replays_max: A letter that has been replayed so often already is parked instead: it goes in circles.
            dry_run: Only count.
            stop: Set it to end after the transaction in hand.
            progress: Told how far it is.

        Raises:
            ConfigurationError: A topic to write to does not exist, or the rate is not above 0.
            TransactionAborted, ProducerFenced, BrokerUnavailable: What was not settled is still open.
        """
        if rate is not None and rate <= 0:
            raise ConfigurationError(f"rate={rate:g}: so many letters a second are replayed; say a number above 0")
        steps = self._replays(selection, to, replays_max)
        return _count(steps) if dry_run else self._settle(steps, rate, stop, progress)

    def _replays(self, selection: Selection, to: str | None, replays_max: int) -> Iterator[_Step]:
        for letter in self.letters(selection):
            if letter.replays >= replays_max:
                yield _Step(letter, "parked", "", f"replayed {letter.replays} times already")
            else:
                target = to or letter.topic
                self._require(target, letter)
                yield _Step(letter, "replayed", target, "")

    def edit(
        self, letter_id: LetterId, value: bytes | None, *, key: bytes | None = None, to: str | None = None
    ) -> None:
        """Replays one letter with another value (and, where given, another key).

        Raises:
            KafkaError: There is no such letter.
            ConfigurationError: It is settled already, or its topic does not exist.
        """

        def steps() -> Iterator[_Step]:
            letter = self.letter(letter_id)
            if letter.state not in (OPEN, "parked"):
                raise ConfigurationError(f"dead letter {letter_id} of {self.topic} has been {letter.state} already")
            target = to or letter.topic
            self._require(target, letter)
            record = msgspec.structs.replace(letter.record, value=value, key=letter.record.key if key is None else key)
            yield _Step(msgspec.structs.replace(letter, record=record), "edited", target, "")

        self._settle(steps(), None, None, None)

    def purge(
        self, selection: Selection, *, dry_run: bool = False, reason: str = "", progress: Progress | None = None
    ) -> Outcome:
        """Settles letters without a replay, then deletes from the topic what lies before the first letter that is open
        (or parked): Kafka deletes from the front only.

        Raises:
            TransactionAborted, ProducerFenced, BrokerUnavailable: What was not settled is still open.
        """
        steps = (_Step(letter, "purged", "", reason) for letter in self.letters(selection))
        if dry_run:
            return _count(steps)
        outcome = self._settle(steps, None, None, progress)
        self._delete_front()
        return outcome

    def _delete_front(self) -> None:
        ends = {one.partition: one.latest for one in self._admin.describe_topic(self.topic).partitions}
        kept = Selection(states=frozenset({OPEN, "parked"}))
        for letter in self.letters(kept):
            ends[letter.id.partition] = min(ends[letter.id.partition], letter.id.offset)
        self._admin.delete_records({(self.topic, partition): offset for partition, offset in ends.items()})

    def _require(self, target: str, letter: DeadLetter) -> None:
        if not target:
            raise ConfigurationError(
                f"dead letter {letter.id} of {self.topic} does not say where it came from (no kafka_dlt-original-topic "
                f"header): say where it goes"
            )
        if target not in self._topics:
            raise ConfigurationError(f"dead letter {letter.id} of {self.topic} goes to {target}, which does not exist")

    def _settle(
        self, steps: Iterator[_Step], rate: float | None, stop: threading.Event | None, progress: Progress | None
    ) -> Outcome:
        """Takes the steps, a transaction for some of them at a time.

        The steps are looked for only when everybody else who settles letters here is fenced: what they have settled is
        known then, and they can settle nothing more.
        """
        self._make_audit_topic()
        producer = TransactionalProducer(self._settings.kafka, f"ottla-dlq-{self.topic}")
        stop = stop or threading.Event()
        size = BATCH_LETTERS if rate is None else max(1, min(BATCH_LETTERS, int(rate * BATCH_S)))
        started, done = time.monotonic(), list[Action]()
        try:
            while not stop.is_set() and (batch := list(islice(steps, size))):
                with producer.transaction():
                    self._write(producer, batch)
                done += [step.action for step in batch]
                if progress is not None:
                    progress(len(done))
                if rate is not None:
                    stop.wait(max(0.0, started + len(done) / rate - time.monotonic()))
        finally:
            producer.close()
        return _outcome(done)

    def _make_audit_topic(self) -> None:
        if self.audit_topic not in self._topics:
            forever = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
            self._admin.ensure_topics({self.audit_topic: 1}, config=forever)
            self._topics[self.audit_topic] = 1

    def _write(self, producer: TransactionalProducer, batch: list[_Step]) -> None:
        for letter, action, to, reason in batch:
            if to:
                # Where it lay before: records of its key lie there too.
                fits = to == letter.topic and 0 <= letter.partition < self._topics[to]
                producer.send(
                    to,
                    letter.record.value,
                    key=letter.record.key,
                    headers=letter.headers_to_replay(),
                    partition=letter.partition if fits else -1,
                )
            decision = decide(letter, action, to=to, reason=reason)
            producer.send(self.audit_topic, encode(decision), key=key_of(decision))


def _count(steps: Iterable[_Step]) -> Outcome:
    return _outcome([step.action for step in steps])


def _outcome(done: list[Action]) -> Outcome:
    return Outcome(replayed=done.count("replayed"), parked=done.count("parked"), purged=done.count("purged"))
