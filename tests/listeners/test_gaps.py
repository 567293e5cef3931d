from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ottla.listeners.gaps import METADATA_CHARACTERS_MAX, TAG, decode, encode
from ottla.listeners.offsets import OffsetTracker, Progress


@given(st.integers(0, 1 << 40), st.sets(st.integers(0, 400)))
def test_what_is_written_down_is_read_back(position: int, distances: set[int]) -> None:
    finished = {position + distance for distance in distances}
    assert decode(position, encode(position, finished)) == finished


def test_nothing_finished_beyond_the_position_needs_no_metadata() -> None:
    assert encode(5, {1, 2, 3}) == ""


def test_what_does_not_fit_the_brokers_limit_is_left_out_from_the_end() -> None:
    finished = set(range(1, 10_000, 2))
    text = encode(0, finished)
    assert len(text) <= METADATA_CHARACTERS_MAX
    read = decode(0, text)
    assert read == {offset for offset in finished if offset <= max(read)}
    assert len(read) > 1000


@given(st.text(), st.binary())
def test_other_peoples_metadata_and_damage_tell_of_nothing_or_of_little(text: str, data: bytes) -> None:
    assert decode(0, text.replace(TAG, "")) == set()
    assert len(decode(0, TAG + data.hex())) <= 1_000_000


def test_a_claim_of_endless_runs_costs_no_memory() -> None:
    assert decode(0, encode(0, {1}) + "____f____38") in (set(), {1})


def test_records_finished_beyond_the_gap_are_committed_with_the_first_unfinished_offset() -> None:
    tracker = OffsetTracker(remember=True)
    tracker.received([5, 6, 7, 8])
    tracker.finished(6)
    tracker.finished(8)
    progress = tracker.to_commit()
    assert progress is not None
    assert progress.offset == 5
    assert decode(5, progress.metadata) == {6, 8}
    assert tracker.to_commit() is None


def test_the_next_owner_is_told_which_records_were_finished_before() -> None:
    tracker = OffsetTracker(remember=True)
    tracker.restore(5, encode(5, {6, 8}))
    assert tracker.received([5, 6]) == {6}
    assert tracker.received([7, 8, 9]) == {8}
    tracker.finished(5)
    tracker.finished(7)
    assert tracker.to_commit() == Progress(9)


def test_what_was_finished_before_is_written_down_again_until_its_records_come() -> None:
    tracker = OffsetTracker(remember=True)
    tracker.restore(5, encode(5, {6, 8}))
    tracker.received([5])
    progress = tracker.progress
    assert progress is not None
    assert decode(progress.offset, progress.metadata) == {6, 8}


def test_a_log_that_begins_before_the_committed_offset_is_another_one() -> None:
    tracker = OffsetTracker(remember=True)
    tracker.restore(5, encode(5, {6, 8}))
    assert tracker.received([0, 1]) == set()
    assert tracker.received([5, 6, 7, 8]) == set()


@given(st.data())
def test_over_any_number_of_owners_each_finished_record_is_known_and_no_unfinished_one_is(data: st.DataObject) -> None:
    size, finished = 30, set[int]()
    committed = Progress(0)
    for _ in range(4):
        tracker = OffsetTracker(remember=True)
        tracker.restore(*committed)
        again = tracker.received(list(range(committed.offset, size)))
        assert again == {offset for offset in finished if offset >= committed.offset}
        left = [offset for offset in range(size) if offset not in finished]
        for offset in data.draw(st.lists(st.sampled_from(left), unique=True)) if left else []:
            tracker.finished(offset)
            finished.add(offset)
        committed = tracker.progress or committed
        assert all(offset in finished for offset in range(committed.offset))
