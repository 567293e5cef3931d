"""What the consumer thread does with records of retry topics; time and searches are the test's."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, cast

from ottla import RetryTopics
from ottla.errors import BrokerUnavailable
from ottla.listeners import retry_flow
from ottla.listeners.agreement import RetryPlan
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.parked import ParkedKeys, Verdict
from ottla.listeners.retry_flow import RetryFlow
from ottla.listeners.ticket import WAITING, Ticket
from ottla.observability.health import Health

MAIN, RETRY, WAITS = ("orders", 0), ("orders-retry-1", 0), ("orders-retry-waiting", 0)


class _Plan(RetryPlan):
    def __init__(self, *, keep: bool) -> None:
        super().__init__(())
        self.topics = {"orders": RetryTopics([1.0], keep_key_order=keep)}
        self.levels = {"orders-retry-1": ("orders", 1)} | ({WAITS[0]: ("orders", WAITING)} if keep else {})


class _Copy:
    def __init__(self, due_ms: int) -> None:
        self._headers = Ticket(origin=("orders", 0, 0, 0, 1), group="g", handler="h", due_ms=due_ms).headers()

    def headers(self) -> Any:
        return self._headers


class _Message(_Copy):
    def __init__(self, offset: int) -> None:
        super().__init__(0)
        self.offset = offset

    def key(self) -> bytes:
        return b"a"

    def value(self) -> bytes:
        return b""


class _Worker:
    def __init__(self) -> None:
        self.tracker = OffsetTracker(remember=True)
        self.fed: list[Any] = []

    def feed(self, messages: list[Any]) -> None:
        self.fed += messages


class _Stage:
    def __init__(self, *, keep: bool) -> None:
        self.now = 100.0
        self.health = Health("service")
        self.failure: Exception | None = None
        self.parked = ParkedKeys()
        self.flow = RetryFlow(
            _Plan(keep=keep),
            find=self._find,
            committed=lambda places: dict.fromkeys(places, (0, None)),
            conditions=self.health,
            log=logging.getLogger("test"),
            now=lambda: self.now,
        )
        self.workers: dict[Any, Any] = {place: _Worker() for place in (MAIN, RETRY, WAITS)}
        self.flow.assigned([MAIN])

    def _find(self, places: Any, committed: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        return dict.fromkeys(places, self.parked)

    def searched(self) -> None:
        """Goes round until a search that was begun is over and looked at."""
        self.flow._next_search = 0.0
        self.flow.search(self.workers)
        deadline = time.monotonic() + 20
        while self.flow._search is not None:
            self.flow.search(self.workers)
            assert time.monotonic() < deadline

    def due(self) -> list[Any]:
        return list(self.flow.due())


def test_a_record_lies_on_the_shelf_until_it_is_due_and_its_partition_rests_so_long() -> None:
    stage = _Stage(keep=False)
    first, second, third = (cast(Any, _Copy(due_ms)) for due_ms in (101_000, 100_500, 103_000))
    assert stage.flow.take(RETRY, [first, second, third]) == []
    assert (stage.due(), stage.flow.holds(RETRY), stage.flow.holds(MAIN)) == ([], True, False)
    assert stage.flow.wait_s(5.0) == 1.0
    stage.now = 101.0
    assert stage.due() == [(RETRY, [first, second])]
    stage.now = 103.5
    assert stage.flow.wait_s(5.0) == 0.0
    assert stage.due() == [(RETRY, [third])]
    assert not stage.flow.holds(RETRY)
    assert stage.flow.wait_s(5.0) == 5.0


def test_nothing_is_handled_before_it_is_known_what_lies_in_the_retry_topics() -> None:
    stage = _Stage(keep=True)
    record, copy = cast(Any, object()), cast(Any, _Copy(0))
    assert stage.flow.take(MAIN, [record]) == stage.flow.take(RETRY, [copy]) == []
    assert stage.due() == []
    stage.failure = BrokerUnavailable("no answer")
    stage.searched()
    assert stage.health.wrong() == ["the retry topics could not be read: no answer"]
    assert stage.due() == []
    stage.failure = None
    stage.searched()
    assert stage.health.wrong() == []
    assert stage.due() == [(MAIN, [record]), (RETRY, [copy])]
    assert stage.workers[MAIN].tracker.parked is stage.workers[RETRY].tracker.parked is stage.parked
    assert stage.flow.take(MAIN, [record]) == [record]


def test_records_that_are_handled_anew_wait_for_another_look_and_come_before_later_ones() -> None:
    stage = _Stage(keep=True)
    stage.searched()
    early, late = cast(Any, object()), cast(Any, object())
    assert stage.flow.again(MAIN, [early])
    assert stage.flow.again(RETRY, [])
    assert stage.flow.take(MAIN, [late]) == []
    assert stage.due() == []
    stage.searched()
    assert stage.due() == [(MAIN, [early, late])]


def test_where_no_order_is_kept_nobody_looks() -> None:
    stage = _Stage(keep=False)
    record = cast(Any, object())
    assert stage.flow.take(MAIN, [record]) == [record]
    assert not stage.flow.again(MAIN, [record])
    stage.flow.search(stage.workers)
    assert stage.flow._search is None


def test_a_search_that_ends_after_its_partition_has_gone_opens_nothing() -> None:
    stage = _Stage(keep=True)
    stage.flow.search(stage.workers)
    for place in (MAIN, RETRY, WAITS):
        stage.flow.gone(place)
    stage.workers.clear()
    stage.searched()
    assert stage.due() == []


def test_a_partition_of_which_too_much_waits_in_retry_topics_rests(monkeypatch: Any) -> None:
    monkeypatch.setattr(retry_flow, "PARKED_MAX", 2)
    stage = _Stage(keep=True)
    stage.searched()
    for number in range(2):
        assert not stage.flow.holds(MAIN)
        stage.parked.moved(b"a", number, 1)
    assert stage.flow.holds(MAIN)
    assert not stage.flow.holds(RETRY)
    stage.parked.settled(b"a", 0)
    assert not stage.flow.holds(MAIN)


def test_records_that_wait_move_on_when_too_much_is_finished_behind_them(monkeypatch: Any) -> None:
    monkeypatch.setattr(retry_flow, "SPAN_MIN", 3)
    stage = _Stage(keep=True)
    stage.searched()
    tracker = stage.workers[WAITS].tracker
    copies: list[Any] = [_Message(offset) for offset in range(6)]
    assert stage.flow.take(WAITS, copies) == copies, "they have no time of their own to wait for"
    tracker.received(range(6))
    for number in range(2):
        stage.parked.moved(b"a", number, 1)
    assert stage.parked.admit(b"a", 1, 1, copies[0]) is Verdict.HELD
    assert (tracker.unfinished, tracker.in_hand) == (6, 5)
    for offset in (1, 2):
        tracker.finished(offset)
        stage.flow.move_on(stage.workers)
        assert (stage.workers[WAITS].fed, stage.flow.holds(WAITS)) == ([], False)
    tracker.finished(3)
    stage.flow.move_on(stage.workers)
    assert (stage.workers[WAITS].fed, stage.flow.holds(WAITS)) == (copies[:1], True)
    tracker.finished(0)
    stage.flow.move_on(stage.workers)
    assert not stage.flow.holds(WAITS)


def test_a_search_that_never_ends_is_given_up_and_begun_again(monkeypatch: Any) -> None:
    stage = _Stage(keep=True)
    ends = threading.Event()
    monkeypatch.setattr(stage.flow, "_find", lambda *_: ends.wait(30))
    stage.flow.search(stage.workers)
    stage.flow.search(stage.workers)
    assert stage.health.wrong() == []
    monkeypatch.setattr(retry_flow, "SEARCH_S", 0.0)
    stage.flow.search(stage.workers)
    assert stage.health.wrong() == ["the retry topics could not be read: it has taken more than 0 s"]
    monkeypatch.undo()
    stage.searched()
    assert stage.health.wrong() == []
    ends.set()
