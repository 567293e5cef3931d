"""Handles every record twice, to prove that it does no harm. For tests."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ottla.errors import HandlerError
from ottla.middleware.hook import HandlerCall


class RunTwice:
    """Calls the handler twice for each record, as a crash after its work and before its commit would.

    Both calls must return the same: events that are only returned the first time are lost where a service dies before
    they are published. What the handler writes elsewhere is for the test to look at.

    Args:
        compare: Whether to compare what was returned.

    Raises:
        HandlerError: The second call returned something else. The record goes the way of every failure.
    """

    def __init__(self, *, compare: bool = True) -> None:
        self._compare = compare

    def __call__(self, call: HandlerCall) -> Generator[HandlerCall, Any, Any]:
        first = yield call
        second = yield call
        if self._compare and first != second:
            raise HandlerError(
                f"{call.handler} is not idempotent: for {call.place} it returned {first!r}, and then {second!r}"
            )
        return first
