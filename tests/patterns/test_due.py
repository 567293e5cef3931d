"""When something is due."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ottla.patterns.due import due_ms


def test_without_a_time_it_is_due_at_once() -> None:
    assert due_ms(None, None) is None


def test_a_delay_counts_from_now_and_is_rounded_up() -> None:
    before = time.time() * 1000
    due = due_ms(timedelta(milliseconds=1500, microseconds=1), None)
    assert due is not None
    assert before + 1500 < due <= time.time() * 1000 + 1503


def test_a_moment_is_the_same_in_every_zone_and_rounded_up() -> None:
    moment = datetime(2030, 1, 2, 3, 4, 5, 600_001, tzinfo=UTC)
    assert due_ms(None, moment) == 1893553445601
    assert due_ms(None, moment.astimezone(timezone(timedelta(hours=5)))) == 1893553445601


@pytest.mark.parametrize(
    ("delay", "at"),
    [(timedelta(1), datetime.now(UTC)), (timedelta(seconds=-1), None), (None, datetime(2030, 1, 1))],
    ids=["both", "before now", "naive"],
)
def test_a_time_that_means_nothing_is_refused(delay: timedelta | None, at: datetime | None) -> None:
    with pytest.raises(ValueError):
        due_ms(delay, at)
