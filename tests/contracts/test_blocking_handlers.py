"""A plain handler that blocks stops nothing but its own partitions, on both brokers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from tests.listeners.harness import World, eventually, service

MOST = 4
"""Threads of a topic here; it has more partitions."""

PARTITIONS = 6


@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "beside coroutines"])
async def test_a_plain_handler_that_blocks_stops_nobody_else(
    world: World, mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ottla.listeners.threads.MOST", MOST)
    world.partitions = PARTITIONS
    app, gate, entered, seen, loops = service(world), threading.Event(), list[str](), list[str](), list[bool]()

    @app.listen(world.Ordered)
    def block(order: Any) -> None:
        entered.append(order.order_id)
        loops.append(threading.current_thread() is threading.main_thread())
        assert gate.wait(60)

    if mixed:  # Its topic's records go by the event loop then.

        @app.listen(world.Cancelled)
        async def never(order: Any) -> None: ...

    @app.listen(world.Reserved)
    def note(reserved: Any) -> None:
        seen.append(reserved.order_id)

    web = Starlette()
    async with app.lifespan(web), httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://a") as client:
        await app.publish_many([world.Ordered(f"o-{n}") for n in range(20 * PARTITIONS)])
        await eventually(lambda: len(entered) == MOST, what="all of the topic's threads blocked")
        for number in range(3):
            await app.publish(world.Reserved(f"r-{number}"))
        await eventually(lambda: len(seen) == 3, what="another topic's records")
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 20) == "free"
        runner: Any = app._runner
        await eventually(lambda: sum(topic == world.orders for topic, _ in runner.positions()) == PARTITIONS)
        assert len(entered) == MOST
        gate.set()
        await eventually(lambda: len(set(entered)) == 20 * PARTITIONS, what="all of its own records")
    assert not any(loops), "on the event loop's thread"
