from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ottla.listeners.offsets import OffsetTracker, Progress


def test_nothing_is_committed_before_the_first_record_finishes() -> None:
    tracker = OffsetTracker()
    tracker.received([5, 6])
    assert tracker.to_commit() is None


def test_the_position_stops_before_an_unfinished_record() -> None:
    tracker = OffsetTracker()
    tracker.received([5, 6, 7])
    tracker.finished(6)
    tracker.finished(7)
    assert tracker.to_commit() is None
    tracker.finished(5)
    assert tracker.to_commit() == Progress(8)


def test_offsets_that_do_not_exist_leave_no_gap() -> None:
    tracker = OffsetTracker()
    tracker.received([5, 9])
    tracker.finished(5)
    tracker.finished(9)
    assert tracker.to_commit() == Progress(10)


def test_a_position_is_given_once() -> None:
    tracker = OffsetTracker()
    tracker.received([0])
    tracker.finished(0)
    assert tracker.to_commit() == Progress(1)
    assert tracker.to_commit() is None


def test_a_position_whose_commit_failed_is_given_again() -> None:
    tracker = OffsetTracker()
    tracker.received([0])
    tracker.finished(0)
    tracker.to_commit()
    tracker.commit_failed()
    assert tracker.to_commit() == Progress(1)


@given(st.sets(st.integers(0, 60), min_size=1).map(sorted), st.randoms(use_true_random=False))
def test_the_position_is_never_past_an_unfinished_record_in_any_order(offsets: list[int], random: object) -> None:
    tracker = OffsetTracker()
    tracker.received(offsets)
    order = list(offsets)
    random.shuffle(order)  # type: ignore[attr-defined]
    open_offsets = set(offsets)
    for offset in order:
        tracker.finished(offset)
        open_offsets.discard(offset)
        position = tracker.position or 0
        assert all(position <= unfinished for unfinished in open_offsets)
        assert tracker.unfinished == sum(1 for one in offsets if one >= position)
    assert tracker.position == offsets[-1] + 1
    assert tracker.unfinished == 0


class _Meanwhile(list[int]):
    """What is finished, with more of it at each look."""

    def __init__(self, later: list[int]) -> None:
        super().__init__()
        self._later = later

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        if self._later:
            self.append(self._later.pop(0))
        return found


def test_what_others_finish_while_somebody_looks_is_counted_at_the_next_look() -> None:
    tracker = OffsetTracker()
    tracker._done = _Meanwhile([5, 7])
    tracker.finished = tracker._done.append
    tracker.received(list(range(9)))
    for offset in range(5):
        tracker.finished(offset)
    assert [tracker.position for _ in range(3)] == [5, 6, 6]
    assert (tracker.beyond, tracker.unfinished) == (1, 3)
    tracker.finished(6)
    assert (tracker.position, tracker.next_offset, tracker.beyond) == (8, 8, 0)


def test_records_that_come_and_go_for_long_leave_nothing_behind() -> None:
    tracker = OffsetTracker()
    for first in range(0, 30_000, 30):
        tracker.received(list(range(first, first + 30)))
        for offset in (*range(first - 15, first), *range(first, first + 15)):
            if offset >= 0:
                tracker.finished(offset)
        assert (tracker.position, tracker.unfinished) == (first + 15, 15)
