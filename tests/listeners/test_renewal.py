"""Which positions are committed again so that brokers do not forget them; when is the test's."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from ottla.kafka.consumer import TopicPartition
from ottla.listeners import renewal as renewal_module
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.renewal import Renewal

RETRY, MAIN = ("orders-retry-1", 0), ("orders", 0)


class _Worker:
    def __init__(self) -> None:
        self.tracker = OffsetTracker(remember=True)


class _Consumer:
    """As much of one as is asked: what is committed can be read and is written."""

    def __init__(self) -> None:
        self.stored = {RETRY: (3, "x"), MAIN: (9, "y")}
        self.commits: list[dict[Any, tuple[int, str]]] = []

    def committed(self, places: list[Any], timeout: float) -> list[Any]:
        stored = [(one, *self.stored[one.topic, one.partition]) for one in places]
        return [TopicPartition(one.topic, one.partition, offset, text) for one, offset, text in stored]

    def commit(self, offsets: list[Any], asynchronous: bool) -> None:
        assert not asynchronous
        self.commits.append({(one.topic, one.partition): (one.offset, one.metadata) for one in offsets})


class _Stage:
    def __init__(self, *own_commits: str) -> None:
        self.workers = {RETRY: _Worker(), MAIN: _Worker()}
        self.consumer = _Consumer()
        forgettable = {"orders-retry-1"}
        self.renewal = Renewal(forgettable.__contains__, own_commits, logging.getLogger("test"))

    def handle(self, offset: int) -> OffsetTracker:
        tracker = self.workers[RETRY].tracker
        tracker.received([offset])
        tracker.finished(offset)
        return tracker

    def renew(self) -> list[dict[Any, tuple[int, str]]]:
        self.renewal._next = 0.0
        self.renewal.renew(self.consumer, cast(Any, self.workers))
        return self.consumer.commits


def test_what_nothing_was_handled_of_is_committed_as_it_is_and_only_where_it_would_be_forgotten() -> None:
    assert _Stage().renew() == [{RETRY: (3, "x")}]


def test_nothing_is_committed_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal_module, "RENEW_S", 1000.0)
    stage = _Stage()
    stage.renewal.renew(stage.consumer, cast(Any, stage.workers))
    assert stage.consumer.commits == []
    stage.renew()
    stage.renewal.renew(stage.consumer, cast(Any, stage.workers))
    assert len(stage.consumer.commits) == 1


def test_what_was_handled_is_given_to_commit_once_more() -> None:
    stage = _Stage()
    tracker = stage.handle(4)
    assert tracker.to_commit() == (5, "")
    assert tracker.to_commit() is None
    assert stage.renew() == []
    assert tracker.to_commit() == (5, "")


def test_what_its_handler_commits_is_committed_here_when_it_is_at_rest() -> None:
    stage = _Stage("orders-retry-1")
    tracker = stage.handle(4)
    assert tracker.to_commit() == (5, "")
    tracker.received([5])
    assert stage.renew() == [], "its handler is about to"
    tracker.finished(5)
    assert tracker.to_commit() == (6, "")
    assert stage.renew() == [{RETRY: (6, "")}]
    assert tracker.to_commit() is None


def test_a_broker_that_does_not_answer_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    stage = _Stage()
    stage.consumer.stored.clear()
    assert stage.renew() == []
    assert "could not be committed again" in caplog.text
