"""Idempotent producers: duplicates, gaps, epochs, and the wrap of sequences."""

from __future__ import annotations

import pytest

from ottla.broker.log.batch import BatchHeader, read_header
from ottla.broker.log.producers import Producers, Refused
from ottla.broker.wire.errors import ErrorCode
from tests.broker.batches import batch


def header(sequence: int, count: int = 1, epoch: int = 0) -> BatchHeader:
    return read_header(batch([b"v"] * count, producer_id=7, epoch=epoch, sequence=sequence))


def refusal(producers: Producers, batch_header: BatchHeader) -> ErrorCode:
    with pytest.raises(Refused) as refused:
        producers.check(batch_header)
    return refused.value.code


@pytest.fixture
def producers() -> Producers:
    """Sequences 0 to 9 in batches of two, at offsets 100 on."""
    known = Producers()
    for number in range(5):
        known.note(header(2 * number, 2), 100 + 2 * number)
    return known


def test_the_next_sequence_is_taken(producers: Producers) -> None:
    assert producers.check(header(10)) is None


@pytest.mark.parametrize("number", range(5))
def test_a_duplicate_of_the_last_five_batches_has_its_first_offset(producers: Producers, number: int) -> None:
    duplicate = producers.check(header(2 * number, 2))
    assert duplicate is not None
    assert duplicate.base_offset == 100 + 2 * number


def test_a_gap_is_out_of_order(producers: Producers) -> None:
    assert refusal(producers, header(11)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER == 45


def test_a_batch_that_overlaps_others_is_out_of_order(producers: Producers) -> None:
    assert refusal(producers, header(8, 3)) == 45


def test_a_duplicate_older_than_five_batches_is_out_of_order(producers: Producers) -> None:
    producers.note(header(10, 2), 110)
    assert refusal(producers, header(0, 2)) == 45


def test_an_older_epoch_is_fenced(producers: Producers) -> None:
    producers.note(header(0, epoch=3), 110)
    assert refusal(producers, header(1, epoch=2)) == ErrorCode.INVALID_PRODUCER_EPOCH == 47


def test_a_newer_epoch_begins_at_zero(producers: Producers) -> None:
    assert refusal(producers, header(10, epoch=1)) == 45
    assert producers.check(header(0, epoch=1)) is None
    producers.note(header(0, epoch=1), 110)
    assert producers.check(header(1, epoch=1)) is None


def test_an_unknown_producer_may_begin_anywhere() -> None:
    assert Producers().check(header(1234)) is None


def test_sequences_wrap_after_the_largest_int32() -> None:
    last = 2**31 - 1
    known = Producers()
    known.note(header(last - 1, 2), 0)
    assert refusal(known, header(1)) == 45
    assert known.check(header(0)) is None


def test_a_batch_across_the_wrap_is_followed_by_the_right_sequence() -> None:
    known = Producers()
    known.note(header(2**31 - 2, 4), 0)
    assert known.check(header(2)) is None
    duplicate = known.check(header(2**31 - 2, 4))
    assert duplicate is not None
    assert duplicate.base_offset == 0


def test_a_snapshot_restores_the_state(producers: Producers) -> None:
    again = Producers()
    again.restore(producers.snapshot())
    assert again.snapshot() == producers.snapshot()
    assert refusal(again, header(11)) == 45


def test_producers_silent_for_long_are_forgotten(producers: Producers) -> None:
    producers.expire(before=2**60)
    assert not producers.states
