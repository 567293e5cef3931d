"""Which record comes next: the lowest timestamp among the partitions, waiting for those that have more."""

from __future__ import annotations

from typing import Any

from ottla.streams.runtime.pace import Pace
from ottla.streams.runtime.queues import TaskQueues

A, B = ("a", 0), ("b", 0)


class Message:
    def __init__(self, offset: int, timestamp_ms: int) -> None:
        self._offset, self._timestamp_ms = offset, timestamp_ms

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, self._timestamp_ms

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"v"

    def headers(self) -> Any:
        return None


def messages(*timestamps: int, first: int = 0) -> list[Message]:
    return [Message(first + at, timestamp) for at, timestamp in enumerate(timestamps)]


def order(queues: TaskQueues, limit: int = 100) -> list[tuple[str, list[int]]]:
    found = []
    while (batch := queues.next(limit)) is not None:
        found.append((batch.topic, list(batch.timestamps_ms)))
    return found


def test_records_of_two_partitions_come_by_their_timestamps() -> None:
    queues = TaskQueues([A, B], max_idle_s=0)
    queues.by_place[A].add(messages(1, 2, 7, 8))
    queues.by_place[B].add(messages(3, 4, 9))
    queues.by_place[A].at_end = queues.by_place[B].at_end = True
    assert order(queues) == [("a", [1, 2]), ("b", [3, 4]), ("a", [7, 8]), ("b", [9])]


def test_records_come_by_the_times_they_bear_themselves_where_these_are_asked_for() -> None:
    queues = TaskQueues(
        [A, B],
        max_idle_s=0,
        event_times=lambda batch: [-ms for ms in batch.timestamps_ms] if batch.topic == "b" else None,
    )
    queues.by_place[A].add(messages(1, 2, 7))
    queues.by_place[B].add(messages(-5, -9))
    queues.by_place[A].at_end = queues.by_place[B].at_end = True
    assert order(queues) == [("a", [1, 2]), ("b", [-5]), ("a", [7]), ("b", [-9])]


def test_a_partition_keeps_its_own_order_whatever_its_timestamps_say() -> None:
    queues = TaskQueues([A, B], max_idle_s=0)
    queues.by_place[A].add(messages(9, 1, 2))
    queues.by_place[B].add(messages(3, 10))
    queues.by_place[A].at_end = queues.by_place[B].at_end = True
    assert order(queues) == [("b", [3]), ("a", [9, 1, 2]), ("b", [10])]


def test_a_task_waits_for_a_partition_that_has_more() -> None:
    queues = TaskQueues([A, B], max_idle_s=0)
    queues.by_place[A].add(messages(5))
    assert queues.next(10) is None
    queues.by_place[B].at_end = True
    assert order(queues) == [("a", [5])]


def test_a_task_waits_its_idle_time_for_a_partition_that_has_no_more() -> None:
    queues = TaskQueues([A, B], max_idle_s=0.02)
    queues.by_place[A].add(messages(5))
    queues.by_place[B].at_end = True
    assert queues.next(10) is None
    assert queues.waiting
    while queues.next(10) is None:
        pass
    assert len(queues) == 0


def test_a_batch_is_taken_in_parts_and_loses_nothing() -> None:
    queues = TaskQueues([A], max_idle_s=0)
    queues.by_place[A].add(messages(*range(10)))
    queues.by_place[A].add(messages(*range(10, 12), first=10))
    taken = [list(batch.offsets) for batch in iter(lambda: queues.next(4), None)]
    assert taken == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [10, 11]]


def test_quick_records_come_by_the_thousand_and_slow_ones_one_by_one() -> None:
    pace = Pace(5_000)
    for _ in range(10):
        pace.note(pace.limit, 0.001)
    assert pace.limit == 5_000
    pace.note(5_000, 20.0)
    assert pace.limit == 50
    pace.note(1, 3.0)
    assert pace.limit == 1
    pace.note(1, 0.1)
    assert pace.limit == 1
    pace.note(1, 0.001)
    assert pace.limit == 2
