"""What makes a service not ready ends when its own cause ends, and not before."""

from __future__ import annotations

import threading
from typing import Any

from ottla.errors import RegistryRejected, RegistryUnavailable
from ottla.listeners.burial import DeadLetters
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.record import RecordProcessor
from ottla.listeners.steps import walk
from ottla.observability.health import Health


class _Message:
    def __init__(self, value: bytes, partition: int = 0, offset: int = 0) -> None:
        self._value, self._partition, self._offset = value, partition, offset

    def topic(self) -> str:
        return "orders"

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value

    def key(self) -> bytes | None:
        return None

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, 0


class _Dispatcher:
    """Knows the schema of b"known"; for others the registry fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def may_block(self, message: _Message) -> bool:
        return message.value() != b"known"

    def route(self, message: _Message) -> None:
        if message.value() != b"known":
            raise self.error


class _Anything:
    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


def _processor(health: Health, error: Exception) -> RecordProcessor:
    nothing: Any = _Anything()
    return RecordProcessor(
        service="service",
        dispatcher=_Dispatcher(error),  # type: ignore[arg-type]
        publishing=nothing,
        dead_letters=nothing,
        observer=nothing,
        conditions=health,
    )


def _waiting(health: Health, processor: RecordProcessor, stop: threading.Event) -> threading.Thread:
    way = processor.way([_Message(b"unknown", 1)], OffsetTracker())
    thread = threading.Thread(target=walk, args=(way, stop))
    thread.start()
    while not health.wrong():
        assert thread.is_alive()
    return thread


def test_one_partitions_success_does_not_hide_that_another_waits_for_the_registry() -> None:
    health, stop = Health("service"), threading.Event()
    processor = _processor(health, RegistryUnavailable("no answer"))
    thread = _waiting(health, processor, stop)
    assert walk(processor.way([_Message(b"known", 0)], OffsetTracker()), threading.Event())
    assert health.wrong() == ["no answer"]
    stop.set()
    thread.join(5)


def test_a_record_given_up_while_it_waits_takes_its_condition_with_it() -> None:
    health, stop = Health("service"), threading.Event()
    thread = _waiting(health, _processor(health, RegistryUnavailable("no answer")), stop)
    stop.set()
    thread.join(5)
    assert health.wrong() == []


def test_a_registry_that_turns_the_service_away_is_not_the_records_fault() -> None:
    health, stop = Health("service"), threading.Event()
    thread = _waiting(health, _processor(health, RegistryRejected("too many", status=429, code=429)), stop)
    assert health.wrong() == ["too many"]
    stop.set()
    thread.join(5)


class _Pickiness:
    """A producer whose dead-letter topic refuses some values."""

    def __init__(self, refused: bytes) -> None:
        self.refused = refused

    def try_send(self, topic: str, value: bytes, *, on_delivery: Any, **_: Any) -> bool:
        on_delivery("too large" if value == self.refused else None, None)
        return True


def test_a_dead_letter_that_is_taken_does_not_hide_one_that_is_refused() -> None:
    health, nothing = Health("service"), _Anything()
    producer: Any = _Pickiness(b"large")
    letters = DeadLetters(
        service="s",
        group="g",
        producer=producer,
        observer=nothing,
        conditions=health,
        loop=nothing,  # type: ignore[arg-type]
    )
    tracker = OffsetTracker()
    tracker.received([0, 1])
    for offset, value in enumerate((b"large", b"small")):
        letters.bury(_Message(value, 0, offset), tracker, ValueError(), "handler", 1)
    assert "too large" in health.wrong()[0]
    producer.refused = b""
    letters.bury(_Message(b"large", 0, 0), tracker, ValueError(), "handler", 1, failures=1)
    assert health.wrong() == []
    assert tracker.position == 2
