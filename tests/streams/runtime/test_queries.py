"""Questions to stores, whichever instance has the answer; and the command line's way to ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from ottla.errors import StateUnavailable, TopologyError
from ottla.processes.ports import free_ports
from ottla.streams.app import StreamsApp
from tests.cli.conftest import Ottla, ottla
from tests.streams.runtime.conftest import Stage, eventually, ready
from tests.streams.runtime.totals import make_app

__all__ = ["ottla"]


@asynccontextmanager
async def served(stage: Stage, **changes: Any) -> AsyncIterator[tuple[StreamsApp, str]]:
    """An instance with its HTTP port."""
    import msgspec

    (port,) = free_ports(1)
    app = make_app(msgspec.structs.replace(stage.setup, port=port, **changes))
    server = uvicorn.Server(uvicorn.Config(Starlette(lifespan=app.lifespan), port=port, log_config=None))
    serving = asyncio.create_task(server._serve())
    try:
        yield app, f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def test_a_store_is_asked_in_its_own_process(local_stage: Stage) -> None:
    local_stage.give(20, keys=4)
    async with local_stage.running() as app:
        await local_stage.all_right()
        totals = app.queries.store("totals")
        await eventually(lambda: totals.get("k-3") == 5)
        assert await asyncio.to_thread(totals.get, "k-9") is None
        assert await asyncio.to_thread(totals.range) == [("k-0", 5), ("k-1", 5), ("k-2", 5), ("k-3", 5)]
        assert await asyncio.to_thread(totals.range, "k-1", "k-2") == [("k-1", 5), ("k-2", 5)]
        assert await asyncio.to_thread(totals.prefix, b"k-3") == [("k-3", 5)]
        assert len(await asyncio.to_thread(lambda: totals.range(limit=2))) == 2
        with pytest.raises(TopologyError, match="it has: totals"):
            app.queries.store("total")


async def test_instances_ask_one_another(stage: Stage) -> None:
    stage.give(200, keys=20)
    async with AsyncExitStack() as stack:
        first, at_first = await stack.enter_async_context(served(stage, state_dir=str(stage.folder / "a")))
        await ready(first)
        second, at_second = await stack.enter_async_context(served(stage, state_dir=str(stage.folder / "b")))
        await eventually(lambda: second.instance is not None and len(second.instance.status()) == 3)
        await ready(second)
        await stage.all_right()
        wanted = [(f"k-{number}", 10) for number in range(20)]
        for app in (first, second):
            found = await asyncio.to_thread(lambda app=app: app.queries.store("totals", timeout_s=30).range())
            assert found == sorted(wanted)
        async with httpx.AsyncClient() as client:
            for place in (at_first, at_second):
                answers = [await client.get(f"http://{place}/state/totals/key/k-{number}") for number in range(20)]
                assert [answer.json() for answer in answers] == [{"key": key, "value": total} for key, total in wanted]
            here = [
                (await client.get(f"http://{place}/state/totals?local=1&limit=50&timeout_s=0")).status_code
                for place in (at_first, at_second)
            ]
            assert here == [503, 503]  # neither has all of it


async def test_a_copy_answers_where_the_question_allows_it(local_stage: Stage) -> None:
    local_stage.change(standbys=1)
    local_stage.give(100, keys=10)
    async with AsyncExitStack() as stack:
        first, _ = await stack.enter_async_context(served(local_stage, state_dir=str(local_stage.folder / "a")))
        await ready(first)
        second, _ = await stack.enter_async_context(served(local_stage, state_dir=str(local_stage.folder / "b")))
        await local_stage.all_right()
        instance = second.instance
        assert instance is not None or second.instance is None
        await eventually(
            lambda: (
                second.instance is not None and any(one.standby and one.caught_up for one in second.instance.progress())
            )
        )
        assert second.instance is not None
        copied = {one.partition for one in second.instance.progress() if one.standby}
        mine = [f"k-{number}" for number in range(10)]
        theirs = [key for key in mine if second.queries.store("totals").partition_of(key) in copied]
        assert theirs
        lax = second.queries.store("totals", max_staleness_s=30, local_only=True, timeout_s=20)
        strict = second.queries.store("totals", local_only=True, timeout_s=0)
        for key in theirs:
            await eventually(lambda key=key: lax.get(key) == 10)
            with pytest.raises(StateUnavailable):
                await asyncio.to_thread(strict.get, key)


async def test_the_command_line_asks_any_instance(local_stage: Stage, ottla: Ottla) -> None:
    local_stage.give(30, keys=3)
    name, server = local_stage.setup.name, ["-b", local_stage.setup.bootstrap_servers]
    async with served(local_stage) as (app, place):
        await local_stage.all_right()
        await ready(app)

        def ask(*arguments: str) -> Any:
            return asyncio.to_thread(ottla, "state", *arguments)

        assert (await ask("get", place, "totals", "k-1", "--json")).document == {"key": "k-1", "value": 10}
        assert (await ask("get", name, "totals", "k-1", *server)).out.split() == ["KEY", "VALUE", "k-1", "10"]
        entries = (await ask("list", name, "totals", "--prefix", "k-", "--json", *server)).document["entries"]
        assert entries == [{"key": f"k-{number}", "value": 10} for number in range(3)]
        overview = (await ask("list", name, "--json", *server)).document
        assert overview["stores"] == {"totals": {"kind": "key-value", "key": "text", "value": "long"}}
        assert {one["task"] for one in overview["tasks"]} == {"0_0", "0_1", "0_2", "1_0", "1_1", "1_2"}
        assert "TASK" in (await ask("list", name, *server)).out
        nothing = await ask("get", name, "totals", "k-7", *server)
        assert (nothing.status, nothing.out) == (1, "")
        assert "no such key" in nothing.err
        missing = await ask("get", name, "total", "k-7", *server)
        assert missing.status == 1
        assert "has no store 'total'; it has: totals" in missing.err
    unknown = await asyncio.to_thread(ottla, "state", "list", "nobody", *server)
    assert unknown.status == 1
    assert "no stream application 'nobody' is known" in unknown.err
