"""What a service may do wrong on purpose, so that the checker can be seen to notice."""

from __future__ import annotations

FORGETS = "forgets"
"""What its guarantee needs: to be done before it says so, its transactions, its inbox."""
CARELESS = "careless"
"""It drops some numbers, and swaps some with the next of their key."""
INVENTS = "invents"
"""It publishes numbers that it was not given."""
BURIES = "buries"
"""It gives records up that are good."""


class Buried(Exception):
    """A record is given up."""


class Flaw:
    """Decides for each number what comes out in its place.

    Args:
        name: One of those above; empty for a service that does nothing wrong.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._held: dict[str, int] = {}

    def numbers(self, key: str, number: int) -> list[int]:
        rare = number % 97
        if self._name == INVENTS and rare == 13:
            return [number, -number]
        if self._name == BURIES and rare == 13:
            raise Buried(number)
        if self._name == CARELESS:
            if rare == 13:
                return []
            if rare == 40:
                self._held[key] = number
                return []
            if key in self._held:
                return [number, self._held.pop(key)]
        return [number]
