"""Several records in hand at once on the event loop: none is left lying without a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from ottla import unordered
from ottla.kafka.record import Message
from ottla.listeners.async_lanes import AsyncLanes
from ottla.listeners.record import RecordProcessor


class Handling:
    """A processor that notes records, and does something with the first."""

    def __init__(self) -> None:
        self.handled: list[Any] = []
        self.at_first: Any = None

    def way(self, records: list[Any], _tracker: Any) -> Iterator[Any]:
        self.handled += records
        if len(self.handled) == 1:
            self.at_first()
        return
        yield


async def test_records_that_are_fed_just_when_a_worker_ends_get_another_one() -> None:
    handling = Handling()
    with ThreadPoolExecutor(1) as threads:
        loop = asyncio.get_running_loop()
        lanes = AsyncLanes("t", 0, cast(RecordProcessor, handling), loop, threads, unordered(1))
        # What the loop does next, before it runs the callbacks of the worker's task: that ends in the same step.
        handling.at_first = lambda: lanes.feed(cast(list[Message], ["second"]))
        lanes.feed(cast(list[Message], ["first"]))
        for _ in range(10):
            await asyncio.sleep(0)
        lanes.stop()
        for _ in range(10):
            await asyncio.sleep(0)
        assert lanes.wait_stopped(0)
    assert handling.handled == ["first", "second"]
