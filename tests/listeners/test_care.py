"""When a consumer is replaced; time and brokers are the test's."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ottla.kafka import reach
from ottla.kafka.reach import Reach, Reply
from ottla.listeners.care import CALM_S, DOUBTED_S, DOUBTED_S_MAX, IDLE_S, Care
from ottla.settings import KafkaSettings

OWN, OTHER = cast(Any, "own"), cast(Any, "other")


class _Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.answered = {OWN: True, OTHER: True}
        self.asked: list[Any] = []
        monkeypatch.setattr(reach, "open_client", lambda *_args, **_kwargs: OTHER)
        monkeypatch.setattr(reach, "ask_for_brokers", self._ask_for_brokers)
        kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
        self.care = Care(Reach(kafka, patience_s=3.0, clock=lambda: self.now), clock=lambda: self.now)

    def _ask_for_brokers(self, client: Any, _timeout_s: float) -> Reply:
        self.asked.append(client)
        return Reply.BROKERS if self.answered[client] else Reply.NOBODY

    def look(self, *, away: bool = True, busy: bool = True) -> bool | None:
        return self.care.answered(OWN, away=away, busy=busy)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> _Stage:
    return _Stage(monkeypatch)


def test_who_has_partitions_and_brokers_is_not_asked(stage: _Stage) -> None:
    assert stage.look(away=False) is None
    assert stage.asked == []


def test_an_answer_is_told(stage: _Stage) -> None:
    assert stage.look() is True
    assert stage.asked == [OWN]


def test_while_the_brokers_answer_nobody_the_client_is_kept(stage: _Stage) -> None:
    stage.answered = {OWN: False, OTHER: False}
    for _ in range(100):
        assert stage.look() is None
        stage.now += 1.0


def test_a_client_is_lost_once_others_have_been_answered_for_a_while(stage: _Stage) -> None:
    stage.answered[OWN] = False
    assert stage.look() is None
    stage.now += 2.9
    assert stage.look() is None
    stage.now += 0.2
    assert stage.look() is False


def test_the_while_begins_anew_when_others_get_no_answer_either(stage: _Stage) -> None:
    stage.answered[OWN] = False
    assert stage.look() is None
    stage.answered[OTHER] = False
    stage.now += 2.0
    assert stage.look() is None
    stage.answered[OTHER] = True
    stage.now += 2.0
    assert stage.look() is None


def test_a_member_without_partitions_asks_after_a_moment(stage: _Stage) -> None:
    assert stage.look(away=False, busy=False) is None
    stage.now += IDLE_S + 0.1
    assert stage.look(away=False, busy=False) is True


def test_a_doubt_is_told_once(stage: _Stage) -> None:
    assert stage.care.doubted() is None
    stage.care.doubt("orders[0] stands")
    assert stage.care.doubted() == "orders[0] stands"
    assert stage.care.doubted() is None


def test_replacements_for_doubts_become_rare_and_are_forgotten_after_a_calm_time(stage: _Stage) -> None:
    waits = []
    for _ in range(8):
        stage.care.replaced(for_doubt=True)
        began = stage.now
        while True:
            stage.care.doubt("orders[0] stands")
            if stage.care.doubted() is not None:
                break
            stage.now += 1.0
        waits.append(stage.now - began)
    assert waits == [min(DOUBTED_S * 2**n, DOUBTED_S_MAX) for n in range(8)]
    stage.now += CALM_S
    stage.care.replaced(for_doubt=True)
    stage.now += DOUBTED_S
    stage.care.doubt("orders[0] stands")
    assert stage.care.doubted() is not None
