"""Says when a record is finished, where that is not simply when its handler has returned."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Literal

from ottla.errors import ConfigurationError, HandlerError, KafkaError
from ottla.kafka.consumer import TopicPartition
from ottla.kafka.record import Message
from ottla.listeners.hooks import Conditions
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.steps import Call, Sleep, wait_out

Ack = Literal["auto", "record", "batch", "manual"]
"""`auto`: handled records are committed in the background. `record`, `batch`: each is committed before the next one is
begun. `manual`: the handler says so, by `ctx.ack()`."""

LOOK_S = 0.001
LOOK_S_MAX = 0.02


class Acknowledgement:
    """Of one record with `ack="manual"`. Thread-safe.

    The record is finished when its handler has acknowledged it *and* what it returned is acknowledged by Kafka, in
    whatever order.
    """

    __slots__ = ("_lock", "_offset", "_tracker", "_waits_for", "delay_s", "running")

    def __init__(self, tracker: OffsetTracker, offset: int) -> None:
        self._tracker: OffsetTracker | None = tracker
        self._offset = offset
        self._waits_for = {"ack", "outputs"}
        self._lock = threading.Lock()
        self.running = False
        self.delay_s: float | None = None

    def ack(self) -> None:
        if self.delay_s is not None:
            raise HandlerError("ctx.ack() after ctx.nack(): the record is handled again")
        self._done("ack")

    def nack(self, delay_s: float) -> None:
        if not self.running:
            raise HandlerError("ctx.nack() after the handler has returned: the records behind it have gone on")
        if "ack" not in self._waits_for:
            raise HandlerError("ctx.nack() after ctx.ack(): the record is acknowledged")
        self.delay_s = max(0.0, delay_s)

    def finished(self, offset: int) -> None:
        """What the handler returned is acknowledged. Bears the name of the tracker's method, in whose place it is."""
        self._done("outputs")

    def leave(self) -> None:
        """The record goes another way (dead-lettered, to a retry topic): nobody waits for an acknowledgement."""
        with self._lock:
            self._tracker = None

    def _done(self, part: str) -> None:
        with self._lock:
            self._waits_for.discard(part)
            if self._waits_for or self._tracker is None:
                return
            tracker, self._tracker = self._tracker, None
        tracker.finished(self._offset)


class SyncCommits:
    """Commits for handlers that want it before the next record. Called from several threads.

    A commit is asked for on whatever thread the record is on, and sent and answered on the consumer thread: the client
    library takes one on another thread only when nobody polls, and that may be never.

    Args:
        conditions: Told while a commit fails.
    """

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._asked: deque[TopicPartition] = deque()
        self._sent: dict[tuple[str, int], TopicPartition] = {}
        self._answers: dict[tuple[str, int], str | None] = {}  # None: committed

    def committed(self, messages: list[Message], tracker: OffsetTracker) -> Generator[Call | Sleep, Any, None]:
        """Waits until records are finished, and commits. A commit that fails is tried again, and nothing is begun."""
        yield from _until(lambda: all(tracker.is_finished(message.offset()) for message in messages))
        place = messages[0].topic(), messages[0].partition()
        condition = f"commit of {place[0]}[{place[1]}]"
        try:
            while (progress := tracker.to_commit()) is not None:
                self._answers.pop(place, None)
                self._asked.append(TopicPartition(*place, progress.offset, progress.metadata))
                yield from _until(lambda: place in self._answers)
                failure = self._answers.pop(place, None)
                if failure is None:
                    return
                tracker.commit_failed()
                error = KafkaError(f"offset {progress.offset} of {place[0]}[{place[1]}] is not committed: {failure}")
                yield from wait_out(self._conditions, condition, error)
        finally:
            self._conditions.clear_condition(condition)

    def send(self, consumer: Any) -> None:
        """Sends what was asked for. On the consumer thread."""
        asked = [self._asked.popleft() for _ in range(len(self._asked))]
        if not asked:
            return
        self._sent |= {(one.topic, one.partition): one for one in asked}
        try:
            consumer.commit(offsets=asked, asynchronous=True)
        except Exception as error:
            self.answered(error, asked)

    def answered(self, error: Any, partitions: list[Any]) -> None:
        """A commit of these was answered. On the consumer thread."""
        for one in partitions:
            failure = error or one.error
            self._sent.pop((one.topic, one.partition), None)
            self._answers[one.topic, one.partition] = None if failure is None else str(failure)

    def unanswered(self, reason: str) -> None:
        """What was sent will never be answered. On the consumer thread."""
        self.answered(reason, list(self._sent.values()))


def _until(condition: Callable[[], bool]) -> Generator[Call | Sleep, Any, None]:
    look_s = LOOK_S
    while not condition():
        yield Sleep(look_s)
        look_s = min(2 * look_s, LOOK_S_MAX)


def check_ack(ack: Ack, label: str, *, batch: int, exactly_once: bool) -> None:
    """Raises ConfigurationError where a handler cannot be acknowledged so."""
    if ack not in ("auto", "record", "batch", "manual"):
        raise ConfigurationError(f"handler {label}: ack={ack!r}; there are 'auto', 'record', 'batch' and 'manual'")
    if exactly_once and ack != "auto":
        raise ConfigurationError(f"handler {label}: ack={ack!r} with exactly_once=True, whose transactions commit")
    if (ack == "batch") != (batch > 1) and ack in ("batch", "record"):
        raise ConfigurationError(
            f"handler {label}: ack={ack!r} with batch={batch}; 'batch' is for handlers of batches, 'record' for others"
        )
