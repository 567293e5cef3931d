"""One returned event is published on the express exactly as it would be on the long way."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import msgspec
import pytest

from ottla import event
from ottla.errors import EncodeError
from ottla.listeners.context import Context
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.outputs import Outputs
from ottla.listeners.publishing import Publishing
from ottla.listeners.steps import Call
from ottla.serde.serializer import Serializer
from tests.listeners.test_express import Registry

CAUSE = [("ce_id", b"cause"), ("ce_correlationid", b"flow"), ("other", None)]
REPLY = [*CAUSE, ("kafka_replyTopic", b"answers")]


@event("stock", key="name", namespace="test")
class Reserved(msgspec.Struct):
    name: str


class Taken:
    """Takes what is sent, as the producer does; refuses where the test says so."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.full = False
        self.reports: list[Any] = []

    def try_send(
        self, topic: str, value: Any, *, key: Any, headers: Any, on_delivery: Any, partition: int = -1
    ) -> bool:
        if not self.full:
            self.sent.append((topic, value, key, [one for one in headers if one[0] != "ce_time"]))
            self.reports.append(on_delivery)
        return not self.full

    def again(self, _error: Any, _message: Any, _report: Any) -> bool:
        return False


class Topics:
    def named(self, topic: str) -> str:
        return topic

    def ensure(self, topics: Any) -> None: ...


class Told:
    def __init__(self) -> None:
        self.published_on: list[str] = []
        self.buried: list[Any] = []

    def published(self, topic: str) -> None:
        self.published_on.append(topic)

    def bury(self, *details: Any) -> None:
        self.buried.append(details)

    def call_soon_threadsafe(self, function: Any, *arguments: Any) -> None:
        function(*arguments)


class Message:
    def __init__(self, headers: Any) -> None:
        self._headers = headers

    def topic(self) -> str:
        return "orders"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7

    def headers(self) -> Any:
        return self._headers


class Stage:
    def __init__(self, transaction: Any = None) -> None:
        self.producer, self.told = Taken(), Told()
        self.outputs = Outputs(Serializer(Registry()), cast(Any, Topics()), "service")
        self.publishing = Publishing(
            outputs=self.outputs,
            producer=cast(Any, self.producer),
            dead_letters=cast(Any, self.told),
            observer=cast(Any, self.told),
            conditions=cast(Any, self.told),
            loop=cast(asyncio.AbstractEventLoop, self.told),
            log=logging.getLogger("test"),
            transaction=transaction,
        )
        self.tracker = OffsetTracker()
        self.tracker.received([7])
        self.outputs.maker(Reserved("known"))

    def answer(self, event: Any, headers: Any = CAUSE) -> bool:
        return self.publishing.answer(cast(Any, Message(headers)), event, self.tracker, "handle")

    def long_way(self, event: Any) -> None:
        message = cast(Any, Message(CAUSE))
        steps = self.publishing.prepare(event, Context(message, "service"), "handle")
        try:
            step = next(steps)
            assert isinstance(step, Call)
            steps.send(step.function(*step.arguments))
        except StopIteration as end:
            list(self.publishing.publish(message, self.tracker, end.value, "handle"))


def test_it_is_the_same_record_by_either_way_and_finished_with_its_acknowledgement() -> None:
    stage = Stage()
    assert stage.answer(Reserved("a"))
    stage.long_way(Reserved("a"))
    quick, slow = stage.producer.sent
    assert quick == slow
    assert dict(quick[3])["ce_causationid"] == b"cause"
    assert stage.tracker.unfinished == 1
    stage.producer.reports[0](None, None)
    assert (stage.tracker.position, stage.told.published_on) == (8, ["stock"])


def test_one_that_is_refused_is_dead_lettered_with_the_record_it_was_made_for() -> None:
    stage = Stage()
    assert stage.answer(Reserved("a"))
    stage.producer.reports[0]("too large", None)
    assert stage.tracker.unfinished == 1
    ((message, tracker, error, handler, attempts),) = stage.told.buried
    assert (message.offset(), tracker, handler, attempts) == (7, stage.tracker, "handle", 1)
    assert "topic stock refused what handler handle returned: too large" in str(error)


@pytest.mark.parametrize(
    ("returned", "headers"),
    [
        (Reserved("a"), REPLY),
        (Reserved("a"), [("other", b"")]),
        (Reserved("a"), None),
        ([Reserved("a")], CAUSE),
        ("no event", CAUSE),
        (Reserved(cast(Any, 5)), CAUSE),
    ],
    ids=["a reply", "no CloudEvent", "no headers", "a list", "no event", "does not fit"],
)
def test_whatever_is_out_of_the_ordinary_is_left_with_nothing_sent(returned: Any, headers: Any) -> None:
    stage = Stage()
    assert not stage.answer(returned, headers)
    assert stage.producer.sent == []


def test_a_full_buffer_and_a_transaction_in_trouble_are_left_too() -> None:
    stage = Stage()
    stage.producer.full = True
    assert not stage.answer(Reserved("a"))

    class Wary:
        at_ease = False

    assert not Stage(Wary()).answer(Reserved("a"))


def test_the_long_way_says_what_does_not_fit() -> None:
    with pytest.raises(EncodeError):
        Stage().long_way(Reserved(cast(Any, 5)))
