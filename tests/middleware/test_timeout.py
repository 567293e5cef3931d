"""A handler that takes too long."""

from __future__ import annotations

import asyncio

import pytest

from ottla import ConfigurationError
from ottla.middleware.timeout import Timeout
from tests.middleware.calls import Placed, call, with_middleware


def test_a_handler_that_takes_too_long_is_cancelled_and_fails() -> None:
    ended: list[str] = []

    async def handle(placed: Placed) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    with pytest.raises(TimeoutError, match=r"handle took longer than 0.01 s on orders\[0\]@17"):
        call(with_middleware(handle, Timeout(0.01)))
    assert ended == ["cancelled"]


def test_a_handler_in_time_is_left_alone() -> None:
    async def handle(placed: Placed) -> str:
        return placed.id

    assert call(with_middleware(handle, Timeout(3600))) == "1"


def test_a_timeout_of_the_handler_itself_stays_what_it_is() -> None:
    async def handle(placed: Placed) -> None:
        raise TimeoutError("the database")

    with pytest.raises(TimeoutError, match=r"^the database$"):
        call(with_middleware(handle, Timeout(3600)))


def test_a_plain_handler_cannot_be_stopped_and_that_is_said_when_it_is_declared() -> None:
    def handle(placed: Placed) -> None: ...

    with pytest.raises(ConfigurationError, match="make the handler async"):
        with_middleware(handle, Timeout(1))


def test_no_time_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="more than none"):
        Timeout(0)
