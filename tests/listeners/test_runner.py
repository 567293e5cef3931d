from __future__ import annotations

from typing import Any

import confluent_kafka
import pytest

from ottla import Settings, per_partition
from ottla.listeners.flow import Sizes, by_place
from ottla.listeners.runner import ListenerRunner
from ottla.observability.health import Health


class _Anything:
    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


class _Place:
    def __init__(self, partition: int, error: str | None = None) -> None:
        self.topic, self.partition, self.error = "orders", partition, error


class _Listener:
    topics, is_async, batch, order, exactly_once = frozenset({"orders"}), False, 1, per_partition, False
    ack = "auto"


def _runner(health: Health) -> ListenerRunner:
    nothing: Any = _Anything()
    runner = ListenerRunner(
        service="s",
        settings=Settings(),
        listeners=[_Listener()],  # type: ignore[list-item]
        processor=nothing,
        producer=nothing,
        observer=nothing,
        conditions=health,
    )
    runner._consumer = nothing
    runner._assigned(nothing, [_Place(0), _Place(1)])
    return runner


def test_a_failed_commit_is_forgotten_when_its_partition_is_given_back() -> None:
    health = Health("service")
    runner = _runner(health)
    runner._committed("rebalancing", [_Place(0)])
    runner._committed(None, [_Place(1)])
    assert health.wrong() == ["offsets could not be committed: rebalancing"]
    runner._revoked(runner._consumer, [_Place(0)])
    assert health.wrong() == []
    runner._committed("too late", [_Place(0)])
    assert health.wrong() == []


class _Committing(_Anything):
    """A consumer that is asked to commit, and answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def commit(self, offsets: list[Any], asynchronous: bool) -> None:
        assert asynchronous
        self.asked += [one.offset for one in offsets]


def test_an_offset_is_committed_only_after_the_answer_to_the_one_before() -> None:
    runner, consumer = _runner(Health("service")), _Committing()
    runner._consumer = consumer
    tracker = runner._workers["orders", 0].tracker
    tracker.received([0, 1, 2])
    tracker.finished(0)
    runner._commit_finished()
    tracker.finished(1)
    runner._commit_finished()
    assert consumer.asked == [1], "the client library may still be trying, and would write 1 over 2"
    runner._committed(None, [_Place(0)])
    runner._commit_finished()
    assert consumer.asked == [1, 2]
    tracker.finished(2)
    runner._committed("no coordinator", [_Place(0)])
    runner._commit_finished()
    assert consumer.asked == [1, 2, 3]


class _Report:
    def __init__(self, code: int) -> None:
        self._error = confluent_kafka.KafkaError(code)

    def error(self) -> confluent_kafka.KafkaError:
        return self._error

    def topic(self) -> None: ...

    def partition(self) -> int:
        return 0


def test_a_fatal_error_of_the_consumer_ends_its_thread_and_any_other_does_not() -> None:
    runner = _runner(Health("service"))
    report: Any = _Report(confluent_kafka.KafkaError._MAX_POLL_EXCEEDED)
    runner._partition_error(report)
    with pytest.raises(RuntimeError, match="cannot go on"):
        runner._partition_error(_Report(confluent_kafka.KafkaError._FATAL))


class _Fetched:
    def __init__(self, topic: str, partition: int, offset: int) -> None:
        self._where = topic, partition, offset

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return self._where[0]

    def partition(self) -> int:
        return self._where[1]

    def offset(self) -> int:
        return self._where[2]


@pytest.mark.parametrize("several", [False, True])
def test_records_are_given_to_their_partitions_in_their_order(several: bool) -> None:
    topics = ["orders", "payments"] if several else ["orders"]
    fetched = [_Fetched(topics[n // 3 % len(topics)], n // 2 % 3, n) for n in range(40)]
    batches = by_place(fetched, several, faulty=lambda message: None)
    assert {place: [one.offset() for one in batch] for place, batch in batches.items()} == {
        place: [one.offset() for one in fetched if (one.topic(), one.partition()) == place]
        for place in {(one.topic(), one.partition()) for one in fetched}
    }


class _Sized:
    def __init__(self, size: int) -> None:
        self._value = bytes(size)

    def value(self) -> bytes:
        return self._value


def test_a_partition_may_have_fewer_records_in_hand_where_they_are_large() -> None:
    sizes, place = Sizes(1000), ("orders", 0)
    assert sizes.most(place, 20) == 20
    for size, most in ((10, 20), (100, 10), (5000, 1), (0, 20)):
        sizes.received(place, [_Sized(size)] * 9)  # type: ignore[list-item]
        assert sizes.most(place, 20) == most
    assert sizes.most(("orders", 1), 20) == 20
