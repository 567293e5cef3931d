"""Moves records to retry topics, and knows which of those that come from there may be handled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from ottla.errors import DecodeError
from ottla.kafka.record import Message
from ottla.listeners.agreement import RetryPlan
from ottla.listeners.copies import Copies, Copy
from ottla.listeners.hooks import Observer
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.parked import Verdict
from ottla.listeners.retry import Retry
from ottla.listeners.steps import Call, Sleep, Way
from ottla.listeners.ticket import WAITING, Original, Ticket, retry_topic, told
from ottla.listeners.transaction import OpenTransaction


class Parking:
    """The part that retry topics have in a record's way. Its methods are called from several threads.

    Args:
        plan: Which topics have retry topics.
        group: The consumer group: records that others parked are theirs.
        copies: Writes copies of records.
        observer: Told of what was parked.
        log: For what the operator should know.
        transaction: What exactly-once handlers write to.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        plan: RetryPlan,
        *,
        group: str,
        copies: Copies,
        observer: Observer,
        log: logging.Logger,
        transaction: OpenTransaction | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._plan = plan
        self._group = group
        self._copies = copies
        self._observer = observer
        self._log = log
        self._transaction = transaction
        self._now = now

    def source(self, message: Message) -> Message | None:
        """The record that a message is, or is a copy of; None if it is another group's.

        Raises:
            DecodeError: It lies in a retry topic, and nobody knows where it comes from.
        """
        if message.topic() not in self._plan.levels:
            return message
        ticket = Ticket.of(message)
        if ticket is None:
            raise DecodeError(
                f"the record has no headers ottla-retry-*: no service of Ottla wrote it to {message.topic()}",
                topic=message.topic(),
                partition=message.partition(),
                offset=message.offset(),
            )
        return Original(message, ticket) if ticket.group == self._group else None

    def admit(
        self, message: Message, source: Message, tracker: OffsetTracker, handler: str
    ) -> Generator[Call | Sleep, Any, bool]:
        """Whether a record may be handled now. If not, it waits for others of its key, or is passed over."""
        parked, key = tracker.parked, message.key()
        if parked is None or key is None:
            return True
        ticket = source.ticket if isinstance(source, Original) else None
        waiting = message if self._plan.is_waiting(message.topic()) else None
        verdict = parked.admit(key, source.offset(), ticket.moves if ticket else 0, waiting)
        if verdict is Verdict.STALE:
            tracker.finished(message.offset())
        elif verdict is Verdict.WAITS:
            waits = msgspec.structs.replace(self._ticket(source, ticket, handler), due_ms=0)
            yield from self._move(message, source, tracker, WAITING, waits)
        return verdict is Verdict.MAY

    def park(
        self, message: Message, source: Message, tracker: OffsetTracker, error: Exception, retry: Retry, handler: str,
        attempts: int,
    ) -> Generator[Call | Sleep, Any, bool]:  # fmt: skip
        """Moves a record whose handler failed to its next retry topic; False if there is none for it."""
        before = source.ticket if isinstance(source, Original) else None
        parks = before.parks if before else 0
        wait = retry.later_in(error, parks)
        if wait is None:
            return False
        failure, now_ms = told(error), int(self._now() * 1000)
        ticket = msgspec.structs.replace(
            self._ticket(source, before, handler),
            due_ms=now_ms + int(wait * 1000) + 1,  # never before: what is cut off is added
            attempts=attempts,
            parks=parks + 1,
            first_failure=(before.first_failure if before else "") or failure,
            first_failed_ms=(before.first_failed_ms if before else 0) or now_ms,
            last_failure=failure,
        )
        yield from self._move(message, source, tracker, parks + 1, ticket)
        return True

    def settled(self, message: Message, source: Message, tracker: OffsetTracker) -> None:
        """A record is handled or dead-lettered: what waits behind it may go on."""
        parked, key = tracker.parked, message.key()
        if parked is not None and key is not None:
            parked.settled(key, source.offset())

    def _ticket(self, source: Message, before: Ticket | None, handler: str) -> Ticket:
        """The ticket of the next copy, due at once."""
        if before is not None:
            return msgspec.structs.replace(before, moves=before.moves + 1, handler=handler)
        kind, timestamp_ms = source.timestamp()
        origin = source.topic(), source.partition(), source.offset(), timestamp_ms, kind
        return Ticket(origin=origin, group=self._group, handler=handler, due_ms=0)

    def _move(self, message: Message, source: Message, tracker: OffsetTracker, level: int, ticket: Ticket) -> Way:
        key = message.key()
        if tracker.parked is not None and key is not None:
            tracker.parked.moved(key, source.offset(), ticket.moves)
        copy = Copy(
            topic=retry_topic(source.topic(), level),
            headers=[*(source.headers() or ()), *ticket.headers()],
            partition=source.partition(),
            anywhere=False,  # its partition's owner is who keeps its order
            what="the copy to retry",
            condition=f"retries of {message.topic()}[{message.partition()}]",
            told=lambda: self._observer.parked(source.topic(), ticket.handler),
        )
        if self._transaction is None:
            self._copies.send(copy, message, tracker)
        else:
            yield from self._copies.write(self._transaction, copy, message, tracker)
