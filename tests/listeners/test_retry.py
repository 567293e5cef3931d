from __future__ import annotations

import pytest

from ottla import ConfigurationError, DecodeError, Retry, exponential, fixed


def test_attempts_count_the_first_call() -> None:
    retry = Retry(attempts=2, backoff=fixed(0.5))
    assert retry.again_in(ValueError(), 1) == 0.5
    assert retry.again_in(ValueError(), 2) is None


def test_a_fatal_exception_is_never_retried() -> None:
    retry = Retry(attempts=9, backoff=fixed(0), fatal=(ValueError,))
    assert retry.again_in(ValueError(), 1) is None
    assert retry.again_in(KeyError(), 1) == 0


def test_undecodable_bytes_are_fatal_by_default() -> None:
    assert Retry().again_in(DecodeError("bad"), 1) is None


def test_exponential_waits_double_up_to_the_longest() -> None:
    backoff = exponential(0.1, 1.0, jitter=0)
    assert [backoff(failures) for failures in (1, 2, 3, 4, 5, 5000)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_jitter_keeps_within_its_share_and_under_the_longest() -> None:
    waits = [exponential(1.0, 9.0, jitter=0.2)(1) for _ in range(500)]
    assert min(waits) >= 0.8
    assert max(waits) <= 1.2
    assert len(set(waits)) > 400
    assert max(exponential(1.0, 1.0, jitter=0.2)(1) for _ in range(100)) <= 1.0


def test_no_attempts_at_all_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least once"):
        Retry(attempts=0)
