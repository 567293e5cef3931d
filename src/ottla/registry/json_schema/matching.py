"""Pairing the parts of two combined schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def largest_matching(edges: Mapping[int, Sequence[int]]) -> int:
    """How many on the left can each have a partner of their own on the right (a maximum bipartite matching).

    Args:
        edges: For each on the left, the partners it could have.
    """
    partner: dict[int, int] = {}

    def find(left: int, tried: set[int]) -> bool:
        for right in edges[left]:
            if right not in tried:
                tried.add(right)
                if right not in partner or find(partner[right], tried):
                    partner[right] = left
                    return True
        return False

    return sum(find(left, set()) for left in edges)
