"""How a service's coming up ended is told."""

from __future__ import annotations

import asyncio

import pytest

from ottla.errors import TopologyError
from ottla.observability.coming_up import ComingUp


async def test_what_a_service_could_not_start_with_is_in_its_log_and_why_it_cannot_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def come_up() -> None:
        raise TopologyError("topics orders and stock differ")

    coming_up = ComingUp(come_up(), "shop", "application")
    await asyncio.wait([coming_up.task])
    assert coming_up.failure == "the application could not start: topics orders and stock differ"
    await asyncio.sleep(0)  # callbacks of the task
    (line,) = caplog.records
    assert (line.name, line.levelname, line.getMessage()) == ("ottla.shop", "ERROR", coming_up.failure)
    assert not line.exc_info


async def test_what_nobody_expected_is_logged_with_where_it_happened(caplog: pytest.LogCaptureFixture) -> None:
    async def come_up() -> None:
        raise KeyError("commands")

    coming_up = ComingUp(come_up(), "shop", "service")
    await asyncio.wait([coming_up.task])
    await asyncio.sleep(0)
    assert coming_up.failure == "the service could not start: KeyError('commands')"
    assert "raise KeyError" in caplog.text


async def test_a_service_that_is_up_or_was_stopped_has_not_failed(caplog: pytest.LogCaptureFixture) -> None:
    async def come_up() -> None:
        await asyncio.sleep(60)

    coming_up = ComingUp(come_up(), "shop", "service")
    assert coming_up.failure is None
    await coming_up.cancel()
    assert coming_up.failure is None
    assert caplog.records == []
