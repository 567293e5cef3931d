from __future__ import annotations

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
