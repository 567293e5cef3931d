"""What the checker counts."""

from __future__ import annotations

from tests.faults.matrix.checker import Findings


def test_the_checker_tells_a_redelivery_from_disorder() -> None:
    given = {"k": [1, 2, 3, 4]}
    again = Findings([("k", 1), ("k", 2), ("k", 1), ("k", 2), ("k", 3), ("k", 4)], given)
    assert (again.doubled, again.disordered) == ([("k", 1), ("k", 2)], [])
    swapped = Findings([("k", 1), ("k", 3), ("k", 2), ("k", 4)], given)
    assert (swapped.doubled, swapped.disordered) == ([], ["k"])
