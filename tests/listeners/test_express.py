"""The short way of ordinary records: what goes on it, what leaves it, and that nothing is lost where one does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec
import pytest

from ottla import event
from ottla.kafka.record import Message
from ottla.listeners.declaration import Listener, declare
from ottla.listeners.dispatch import Dispatcher
from ottla.listeners.express import Express, Trip
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.outcome import Outcome
from ottla.listeners.retry import Retry
from ottla.serde.deserializer import Deserializer
from ottla.serde.registry import Registered
from ottla.serde.serializer import Serializer


@event("orders")
class Ordered(msgspec.Struct):
    number: int


@event("orders")
class Cancelled(msgspec.Struct):
    number: int


class Registry:
    """Schemas in memory."""

    def __init__(self) -> None:
        self._schemas: list[tuple[str, str]] = []

    def register(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        self._schemas.append((schema, kind))
        return len(self._schemas)

    lookup = register

    def registered(self, schema_id: int) -> Registered:
        text, kind = self._schemas[schema_id - 1]
        return Registered(kind, text)

    def id_of_guid(self, guid: str) -> int:
        raise NotImplementedError


class Record:
    def __init__(self, offset: int, value: bytes | None) -> None:
        self._offset = offset
        self._value = value

    def topic(self) -> str:
        return "orders"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> None:
        return None

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> None:
        return None


class Seen:
    """What the express told its observer, and the records that left it."""

    def __init__(self) -> None:
        self.handled = 0
        self.left: list[tuple[int, Any]] = []

    def handled_many(self, topic: str, handler: str, seconds: list[float]) -> None:
        assert all(one >= 0 for one in seconds)
        self.handled += len(seconds)

    def way_on(
        self, message: Message, _listener: Listener, _event: Any, _context: Any, outcome: Outcome, *_: Any
    ) -> Any:
        try:
            ended: Any = outcome.take()
        except Exception as error:
            ended = error
        self.left.append((message.offset(), ended))
        return iter(())


class Line:
    """An express for one handler, that has met the schemas of both events."""

    def __init__(self, *functions: Callable[..., Any], answers: bool = False, noting: bool = False) -> None:
        self.answers, self.answered, self.noted = answers, list[tuple[int, Any]](), list[Any]()
        registry = Registry()
        self.serializer = Serializer(registry)
        listeners = [declare(function, (), name=None, retry=Retry()) for function in functions]
        dispatcher = Dispatcher(listeners, [], Deserializer(registry))
        for cls in (Ordered, Cancelled):
            if any(one.cls is cls for listener in listeners for one in listener.events):
                dispatcher.route(self.record(0, cls(0)))
        self.seen, self.tracker = Seen(), OffsetTracker()
        self.express = Express(
            service="test",
            dispatcher=dispatcher,
            observer=cast(Any, self.seen),
            way_on=cast(Any, self.seen.way_on),
            answer=self.answer,
            transaction=None,
            companion=cast(Any, self) if noting else None,
        )

    def answer(self, message: Message, event: Any, tracker: OffsetTracker, handler: str) -> bool:
        if self.answers:
            self.answered.append((message.offset(), event))
            tracker.finished(message.offset())
        return self.answers

    def note(self, record: Any) -> None:
        self.noted.append(record and (record.context.offset, record.event.number, record.listener.name))

    def record(self, offset: int, one: Any) -> Message:
        value = self.serializer.encode(one, "orders") if isinstance(one, msgspec.Struct) else one
        return cast(Message, Record(offset, value))

    def board(self, *events: Any, is_async: bool = False) -> Trip | None:
        messages = [self.record(offset, one) for offset, one in enumerate(events)]
        self.tracker.received([one.offset() for one in messages])
        return self.express.board(messages, self.tracker, is_async=is_async)


def walked(trip: Trip | None, stopping: threading.Event | None = None) -> Trip:
    assert trip is not None
    while trip.walk(stopping or threading.Event()) is not None:
        pass
    return trip


def test_ordinary_records_are_handled_in_their_order_and_finished() -> None:
    handled: list[int] = []

    def handle(one: Ordered) -> None:
        handled.append(one.number)

    line = Line(handle)
    trip = walked(line.board(*(Ordered(number) for number in range(10))))
    assert handled == list(range(10))
    assert trip.done == 10
    assert line.tracker.position == 10
    assert line.seen.handled == 10
    assert line.seen.left == []


def test_a_record_whose_handler_raises_leaves_and_the_others_go_on() -> None:
    def handle(one: Ordered) -> None:
        if one.number == 2:
            raise ValueError("two")

    line = Line(handle)
    walked(line.board(*(Ordered(number) for number in range(5))))
    ((offset, error),) = line.seen.left
    assert offset == 2
    assert isinstance(error, ValueError)
    assert line.tracker.position == 2
    line.tracker.finished(2)
    assert line.tracker.position == 5


def test_a_record_whose_handler_returns_an_event_leaves_with_it() -> None:
    line = Line(lambda_of(lambda one: Cancelled(one.number) if one.number == 1 else None))
    walked(line.board(Ordered(0), Ordered(1), Ordered(2)))
    assert line.seen.left == [(1, Cancelled(1))]
    assert line.tracker.unfinished == 2


def lambda_of(function: Callable[[Any], Any]) -> Callable[[Ordered], Any]:
    def handle(one: Ordered) -> Any:
        return function(one)

    return handle


@pytest.mark.parametrize("is_async", [False, True])
def test_an_event_that_can_be_published_at_once_does_not_make_its_record_leave(is_async: bool) -> None:
    def plain(ordered: Ordered) -> Cancelled | None:
        return Cancelled(ordered.number) if ordered.number % 2 else None

    async def coroutine(ordered: Ordered) -> Cancelled | None:
        return plain(ordered)

    async def walk(trip: Trip) -> None:
        assert (await trip.walk_async(asyncio.Event()) if is_async else trip.walk(threading.Event())) is None

    line = Line(coroutine if is_async else plain, answers=True)
    trip = line.board(*(Ordered(number) for number in range(4)), is_async=is_async)
    assert trip is not None
    asyncio.run(walk(trip))
    assert line.answered == [(1, Cancelled(1)), (3, Cancelled(3))]
    assert (line.seen.left, line.seen.handled, line.tracker.position) == ([], 4, 4)


def test_a_companion_is_told_which_record_is_in_hand_and_that_none_is() -> None:
    def handle(ordered: Ordered) -> None:
        in_hand.append(line.noted[-1])
        if ordered.number == 1:
            raise ValueError("no")

    in_hand = list[Any]()
    line = Line(handle, noting=True)
    trip = line.board(*(Ordered(number) for number in range(3)))
    assert trip is not None
    assert trip.walk(threading.Event()) is not None
    assert line.noted[-1] is None, "what leaves is told again"
    assert trip.walk(threading.Event()) is None
    assert in_hand == [(n, n, "handle") for n in range(3)]
    assert line.noted[-1] is None


def test_what_a_handler_yields_is_collected_while_it_runs() -> None:
    def handle(one: Ordered) -> Iterator[Cancelled]:
        yield Cancelled(one.number)
        yield Cancelled(one.number + 100)

    line = Line(handle)
    walked(line.board(Ordered(1), Ordered(2)))
    assert line.seen.left == [(0, [Cancelled(1), Cancelled(101)]), (1, [Cancelled(2), Cancelled(102)])]


def test_an_exception_between_two_yields_is_the_outcome() -> None:
    def handle(one: Ordered) -> Iterator[Cancelled]:
        yield Cancelled(one.number)
        raise ValueError("after the first")

    line = Line(handle)
    walked(line.board(Ordered(1)))
    assert isinstance(line.seen.left[0][1], ValueError)


@pytest.mark.parametrize("strange", [None, b"not an event", b"\0\0\0\0\1\xff\xff\xff"])
def test_bytes_that_are_no_event_are_left_where_they_are(strange: bytes | None) -> None:
    handled: list[int] = []
    line = Line(lambda_of(lambda one: handled.append(one.number)))
    trip = walked(line.board(Ordered(0), Ordered(1), strange, Ordered(3)))
    assert trip.done == 2
    assert handled == [0, 1]
    assert line.board(strange) is None


def test_whatever_else_decoding_raises_is_left_to_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(lambda_of(lambda one: None))

    def fail(*_: Any) -> Any:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(Dispatcher, "decode_leading", fail)
    assert line.board(Ordered(1)) is None


def test_records_of_another_schema_are_the_next_trip() -> None:
    handled: list[Any] = []

    def order(one: Ordered) -> None:
        handled.append(one)

    def cancel(one: Cancelled) -> None:
        handled.append(one)

    line = Line(order, cancel)
    trip = walked(line.board(Ordered(0), Cancelled(1), Ordered(2)))
    assert trip.done == 1


def test_a_schema_that_was_not_met_yet_goes_the_long_way() -> None:
    line = Line(lambda_of(lambda one: None))
    assert line.board(Cancelled(1)) is None


def test_nothing_is_handled_after_a_stop() -> None:
    stopping, handled = threading.Event(), list[int]()

    def handle(one: Ordered) -> None:
        handled.append(one.number)
        if one.number == 3:
            stopping.set()

    line = Line(handle)
    walked(line.board(*(Ordered(number) for number in range(10))), stopping)
    assert handled == [0, 1, 2, 3]
    assert line.tracker.position == 4
    assert line.tracker.unfinished == 6


def test_a_record_is_finished_while_the_next_one_is_still_in_hand() -> None:
    first, go_on = threading.Event(), threading.Event()

    def handle(one: Ordered) -> None:
        if one.number == 1:
            first.set()
            assert go_on.wait(30)

    line = Line(handle)
    thread = threading.Thread(target=walked, args=(line.board(Ordered(0), Ordered(1)),))
    thread.start()
    try:
        assert first.wait(30)
        assert line.tracker.position == 1
    finally:
        go_on.set()
        thread.join()


def test_coroutines_go_on_the_event_loop_and_a_cancelled_wait_of_theirs_is_a_failure() -> None:
    handled: list[int] = []

    async def handle(one: Ordered) -> Any:
        await asyncio.sleep(0)
        if one.number == 1:
            raise asyncio.CancelledError
        handled.append(one.number)
        return Cancelled(2) if one.number == 2 else None

    line = Line(handle)

    async def walk() -> None:
        trip = line.board(*(Ordered(number) for number in range(4)), is_async=True)
        assert trip is not None
        while await trip.walk_async(asyncio.Event()) is not None:
            pass

    asyncio.run(walk())
    assert handled == [0, 2, 3]
    assert [offset for offset, _ in line.seen.left] == [1, 2]
    assert isinstance(line.seen.left[0][1], Exception)
    assert line.seen.left[1][1] == Cancelled(2)


def test_plain_handlers_do_not_go_with_coroutines() -> None:
    line = Line(lambda_of(lambda one: None))
    assert line.board(Ordered(0), is_async=True) is None
