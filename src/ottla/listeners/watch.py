"""Looks whether everything that should move still moves, and raises a condition where it does not.

On a thread of its own: it must see that the event loop is blocked, that the consumer thread hangs, and that a broker
takes requests and answers none. What it says goes by the conditions, so that each change is a log line; that it is
still looking itself is a vital sign (`failure`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from typing import Protocol

import msgspec

from ottla.kafka.ends import Ends
from ottla.listeners.hooks import Conditions
from ottla.listeners.standing import Place, Standing
from ottla.settings import KafkaSettings

LOOK_S = 0.5
ASK_S = 1.0
"""Between two questions to the brokers."""

ANSWER_S = 4.0
"""... and how long an answer may take."""


ROUND_S = 2.0
"""A consumer thread that takes longer for a round does something other than asking for records."""

UNASSIGNED_S = 5.0
"""A group that shares out its partitions anew is done sooner; a member learns that it was put out only at its next
heartbeat, and that counts too."""


class Moving(Protocol):
    """What the watch wants to know of a runner."""

    topics: list[str]
    group: str
    round_at: float | None
    commit_asked_at: float | None
    unassigned_at: float | None

    def positions(self) -> dict[Place, Standing]: ...
    def doubt(self, reason: str) -> None: ...


class Sending(Protocol):
    """... and of a producer."""

    @property
    def silent_s(self) -> float: ...
    @property
    def waiting(self) -> int: ...


class Lag(msgspec.Struct, frozen=True):
    """How far a partition is behind: in records, and by the age in seconds of the first one that is not finished."""

    records: int
    seconds: float


class Watch:
    """Watches one running app. Its thread is a daemon that ends soon after `stop`, also where a broker hangs.

    Args:
        runner: The app's runner, if it listens.
        producer: Its producer.
        kafka: Where the brokers are.
        service: The name of the app.
        conditions: Told what does not move.
        loop: The event loop of the app.
        stuck_after_s: What has not moved for so long is stuck.
        log: For what goes wrong with looking.
    """

    def __init__(
        self,
        *,
        runner: Moving | None,
        producer: Sending,
        kafka: KafkaSettings,
        service: str,
        conditions: Conditions,
        loop: asyncio.AbstractEventLoop,
        stuck_after_s: float,
        log: logging.Logger,
    ) -> None:
        self._runner = runner
        self._producer = producer
        self._conditions = conditions
        self._loop = loop
        self._limit = stuck_after_s
        self._log = log
        self._told: set[str] = set()
        self._stop = threading.Event()
        now = time.monotonic()
        self._looked_at = self._loop_asked_at = self._loop_answered_at = self._late_at = now
        self._ends = Ends(
            kafka,
            group=service,
            places=self._places,
            wants_group=self._is_unassigned,
            every_s=ASK_S,
            timeout_s=ANSWER_S,
        )
        self._behind_since: dict[Place, tuple[int | None, float]] = {}
        self._thread = threading.Thread(target=self._run, name="ottla-watch", daemon=True)

    def start(self) -> None:
        self._ends.start()
        self._thread.start()

    def stop(self) -> None:
        """Ends the looking; what it has raised is cleared."""
        self._stop.set()
        self._ends.stop()
        if self._thread.is_alive():
            self._thread.join(2.0)
        self._tell({})

    def failure(self) -> str | None:
        """Why health cannot be believed any more, if so."""
        if self._stop.is_set() or not self._thread.ident:
            return None
        silent = time.monotonic() - self._looked_at
        if self._thread.is_alive() and silent < self._limit:
            return None
        return f"nobody has looked after this service for {silent:.0f} s: the thread that does has ended or hangs"

    def lag(self) -> dict[Place, Lag]:
        """How far each partition of this member is behind; those of which nothing is known yet are left out."""
        now, found = time.monotonic(), {}
        for place, one in (self._runner.positions() if self._runner else {}).items():
            if one.position is None:
                continue
            records = max(0, self._end(place, one) - one.position)
            seconds = 0.0
            if one.oldest_ms is not None:
                seconds = max(0.0, time.time() - one.oldest_ms / 1000)
            elif records and (behind := self._behind_since.get(place)) is not None:
                seconds = now - behind[1]
            found[place] = Lag(records, seconds)
        return found

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self._tell(dict(self._reasons(time.monotonic())))
            except Exception as error:
                self._log.error("the service cannot be looked after: %s", error, exc_info=error)
                continue  # `failure` tells, if it goes on.
            self._looked_at = time.monotonic()

    def _tell(self, reasons: dict[str, str]) -> None:
        for name in self._told - reasons.keys():
            self._conditions.clear_condition(name)
        for name, reason in reasons.items():
            self._conditions.raise_condition(name, reason)
        self._told = set(reasons)

    def _reasons(self, now: float) -> Iterator[tuple[str, str]]:
        yield from self._of_brokers(now)
        yield from self._of_loop(now)
        silent = self._producer.silent_s
        if silent > self._limit and self._producer.waiting:
            waiting = self._producer.waiting
            yield "watch: producer", f"{waiting} records wait to be acknowledged, and none has been for {silent:.0f} s"
        if self._runner is not None:
            yield from self._of_runner(self._runner, now)

    def _of_brokers(self, now: float) -> Iterator[tuple[str, str]]:
        answer = self._ends.answer
        silent = now - answer.at
        if silent > self._limit:
            yield "watch: brokers", f"no broker has answered for {silent:.0f} s: {answer.silence or 'it hangs'}"
        topics = {topic: refusal for (topic, _), refusal in answer.refusals.items()}
        for topic, refusal in topics.items():
            yield f"watch: topic {topic}", f"topic {topic} cannot be read: {refusal}"

    def _is_unassigned(self) -> bool:
        return self._runner is not None and self._runner.unassigned_at is not None

    def _places(self) -> list[Place]:
        if self._runner is None:
            return []
        # A topic that was deleted has no partitions to be assigned: its first one is asked for in any case.
        return sorted({*self._runner.positions(), *((topic, 0) for topic in self._runner.topics)})

    def _of_loop(self, now: float) -> Iterator[tuple[str, str]]:
        if self._loop_answered_at >= self._loop_asked_at:
            self._loop_asked_at = now
            try:
                self._loop.call_soon_threadsafe(self._loop_answers)
            except RuntimeError:  # closed: the app is stopping
                return
        elif (silent := now - self._loop_asked_at) > self._limit:
            yield "watch: event loop", f"the event loop has been blocked for {silent:.0f} s: something does not await"

    def _loop_answers(self) -> None:
        self._loop_answered_at = time.monotonic()

    def _of_runner(self, runner: Moving, now: float) -> Iterator[tuple[str, str]]:
        if runner.round_at is None or now - runner.round_at > ROUND_S:
            self._late_at = now
        if runner.round_at is not None and (silent := now - runner.round_at) > self._limit:
            yield "watch: consumer", f"the consumer thread has not come round for {silent:.0f} s"
        if runner.commit_asked_at is not None and (silent := now - runner.commit_asked_at) > self._limit:
            yield "watch: commit", f"a commit of offsets has had no answer for {silent:.0f} s"
        patience = min(self._limit, UNASSIGNED_S)
        if runner.unassigned_at is not None and (silent := now - runner.unassigned_at) > patience:
            yield from self._of_group(silent)
        standings = runner.positions()
        for place in self._behind_since.keys() - standings.keys():
            del self._behind_since[place]
        for place, one in standings.items():
            reason = self._of_partition(place, one, now)
            if reason is not None:
                reason = f"{place[0]}[{place[1]}] {reason}"
                yield f"watch: {place[0]}[{place[1]}]", reason
                # A client that was not asked for records has not failed to give them.
                asked = now - self._late_at > self._limit
                if asked and not one.unfinished and self._is_answered(place, now):
                    runner.doubt(reason)

    def _is_answered(self, place: Place, now: float) -> bool:
        """Whether the brokers give what is asked of a partition, just now."""
        answer = self._ends.answer
        return answer.silence is None and now - answer.at < self._limit and place in answer.ends

    def _of_group(self, silent: float) -> Iterator[tuple[str, str]]:
        """A member without partitions is well where the group has fewer partitions than members."""
        state = self._ends.answer.group or "its state is unknown"
        if state != "Stable":
            yield "watch: group", f"the group has given no partitions for {silent:.0f} s: {state}"

    def _of_partition(self, place: Place, one: Standing, now: float) -> str | None:
        """Why a partition should have moved and has not."""
        stood = now - one.since
        if one.resting:
            self._behind_since.pop(place, None)
            return None
        if one.unfinished:
            self._behind_since.pop(place, None)
            if stood > self._limit:
                return (
                    f"has stood at offset {one.position} for {stood:.0f} s, with {one.unfinished} records in hand: its "
                    f"handler has not returned, or is being tried again (listener.stuck_after_s)"
                )
            return None
        if one.position is None:
            return f"has given neither a record nor its end for {stood:.0f} s" if stood > self._limit else None
        behind = self._end(place, one) - one.position
        if behind <= 0:
            self._behind_since.pop(place, None)
            return None
        position, since = self._behind_since.setdefault(place, (one.position, now))
        if position != one.position:
            self._behind_since[place] = (one.position, now)
        elif now - since > self._limit:
            silent = f"{now - since:.0f} s"
            return f"has {behind} records to fetch from offset {one.position} on, and none has come for {silent}"
        return None

    def _end(self, place: Place, one: Standing) -> int:
        """Where the partition ends, as the brokers said: what the consumer saw is old where it does not fetch."""
        return self._ends.answer.ends.get(place, one.end)
