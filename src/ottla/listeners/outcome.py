"""How a call of a handler ended."""

from __future__ import annotations

from typing import Any


class Outcome:
    """What a handler returned, or the exception it raised."""

    __slots__ = ("_error", "_result")

    def __init__(self, result: Any = None, error: BaseException | None = None) -> None:
        self._result = result
        self._error = error

    def take(self) -> Any:
        """Gives what was returned, or raises what was raised."""
        if self._error is not None:
            raise self._error
        return self._result
