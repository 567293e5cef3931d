"""Copies records to other topics, and does not let go of a record until its copy is acknowledged."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from ottla.errors import PublishError
from ottla.kafka.producer import Producer, lacks_partition
from ottla.kafka.record import Headers, Message
from ottla.listeners.hooks import Conditions
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.outputs import Outgoing
from ottla.listeners.steps import Sleep, Way
from ottla.listeners.transaction import OpenTransaction, commit_waits

WAITS_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Between attempts to write a copy that is refused; the last one repeats."""


class Copy(NamedTuple):
    """A record as it is to lie in another topic.

    Attributes:
        topic, headers: Where to, and with which headers; key, value and partition stay.
        partition: The partition it belongs to.
        anywhere: Whether another partition will do where the topic has fewer.
        what: What it is to the record, in words.
        condition: The name of what is wrong while it is refused.
        told: Called once it is taken.
    """

    topic: str
    headers: Headers
    partition: int
    anywhere: bool
    what: str
    condition: str
    told: Callable[[], None]


class Copies:
    """Writes copies. Its methods are called from several threads.

    Failure: a topic that refuses a copy (not one that is merely away: the producer waits for that) is tried again for
    ever, with growing waits; the service is not ready meanwhile and says why, and the record stays uncommitted, so that
    its partition pauses when its buffer is full. Nothing is lost, and nothing grows without bound.
    """

    def __init__(
        self, *, producer: Producer, conditions: Conditions, loop: asyncio.AbstractEventLoop, log: logging.Logger
    ) -> None:
        self._producer = producer
        self._conditions = conditions
        self._loop = loop
        self._log = log
        self._timers: set[asyncio.TimerHandle] = set()
        # Condition to the offsets whose copies were refused: one that is taken must not hide one that is not.
        self._refused: dict[str, set[int]] = {}
        self._lock = threading.Lock()

    def send(
        self, copy: Copy, message: Message, tracker: OffsetTracker, *, failures: int = 0, anywhere: bool = False
    ) -> None:
        """Sends the copy; the record is finished when it is acknowledged, and not before.

        Args:
            copy: What to send.
            message: The record.
            tracker: Told when the record is finished.
            failures: How often this copy has been refused so far.
            anywhere: Whether the topic is known to lack the partition.
        """

        def delivered(refusal: Any, _copy: Any) -> None:
            if refusal is not None:
                refused(refusal)
                return
            if copy.condition in self._refused:
                self._taken(copy.condition, message.offset())
            copy.told()
            tracker.finished(message.offset())

        def refused(refusal: Any) -> None:
            if copy.anywhere and not anywhere and failures == 0 and lacks_partition(refusal):
                self.send(copy, message, tracker, anywhere=True)
                return
            wait = WAITS_S[min(failures, len(WAITS_S) - 1)]
            reason = f"{self._reason(copy, message, refusal, wait)}, the record stays uncommitted until then"
            self._log.critical("%s", reason)
            with self._lock:
                self._refused.setdefault(copy.condition, set()).add(message.offset())
                self._conditions.raise_condition(copy.condition, reason)
            self._loop.call_soon_threadsafe(later, wait)

        def later(wait: float) -> None:
            timer: asyncio.TimerHandle = self._loop.call_later(wait, lambda: again(timer))
            self._timers.add(timer)

        def again(timer: asyncio.TimerHandle) -> None:
            self._timers.discard(timer)
            self.send(copy, message, tracker, failures=failures + 1, anywhere=anywhere)

        try:
            sent = self._producer.try_send(
                copy.topic,
                message.value(),
                key=message.key(),
                headers=copy.headers,
                partition=-1 if anywhere or (copy.anywhere and failures) else copy.partition,
                on_delivery=delivered,
            )
        except PublishError as refusal:
            refused(refusal)
            return
        if not sent:
            refused("the producer's buffer is full")

    def write(self, transaction: OpenTransaction, copy: Copy, message: Message, tracker: OffsetTracker) -> Way:
        """Writes the copy in the transaction that finishes the record. One that is refused is written again for ever,
        with growing waits, visibly: the record stays uncommitted."""
        outgoing = Outgoing(copy.topic, message.key(), message.value(), copy.headers)
        partition, failures, waits = copy.partition, 0, commit_waits()
        while True:
            try:
                if transaction.try_write(message, tracker, [outgoing], partition=partition, told=copy.told):
                    return
                yield Sleep(next(waits))
            except PublishError as refusal:
                if copy.anywhere and partition >= 0:
                    partition = -1  # The topic may have fewer partitions.
                    continue
                wait = WAITS_S[min(failures, len(WAITS_S) - 1)]
                failures += 1
                reason = self._reason(copy, message, refusal, wait)
                self._log.critical("%s", reason)
                self._conditions.raise_condition(copy.condition, reason)
                try:
                    yield Sleep(wait)
                finally:
                    self._conditions.clear_condition(copy.condition)

    def _reason(self, copy: Copy, message: Message, refusal: Any, wait: float) -> str:
        place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
        return f"{copy.topic} does not take {copy.what} of {place}: {refusal}; again in {wait:g} s"

    def _taken(self, condition: str, offset: int) -> None:
        with self._lock:
            waiting = self._refused.get(condition, set())
            waiting.discard(offset)
            if not waiting:
                self._refused.pop(condition, None)
                self._conditions.clear_condition(condition)

    def close(self) -> None:
        """Gives up the copies that wait to be sent again; their records are uncommitted."""
        for timer in self._timers:
            timer.cancel()
