from __future__ import annotations

import pytest

from ottla.observability.durations import Durations

BUCKETS = (0.001, 0.01, 0.1)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([], [0, 0, 0, 0]),
        ([0.0, 0.0005, 0.001], [3, 3, 3, 3]),
        ([0.0005, 0.0011, 0.01, 0.05, 2.0], [1, 3, 4, 5]),
        ([0.0005] * 40 + [0.1], [40, 40, 41, 41]),
    ],
)
def test_each_observation_is_in_the_buckets_that_it_fits(seconds: list[float], expected: list[int]) -> None:
    durations = Durations("took", "How long it took", ["who"], BUCKETS)
    durations.observe(("me",), seconds)
    (family,) = durations.collect()
    found = {one.labels.get("le", one.name): one.value for one in family.samples}
    assert [found[bound] for bound in ("0.001", "0.01", "0.1", "+Inf")] == expected
    assert found["took_sum"] == pytest.approx(sum(seconds))
