"""Questions to stores, whichever instance has the answer; and the command line's way to ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request

from ottla.errors import StateUnavailable, TopologyError
from ottla.kafka.stream_producer import ExactlyOnceProducer
from ottla.processes.ports import free_ports
from ottla.settings import StreamsSettings
from ottla.streams import StreamsBuilder, session, tumbling
from ottla.streams.app import StreamsApp
from ottla.streams.runtime.access import refusal
from ottla.streams.task import TaskId
from ottla.streams.topology.topology import Topology
from tests.cli.conftest import Ottla, ottla
from tests.streams.runtime.conftest import Stage, eventually, ready
from tests.streams.runtime.totals import make_app, settings_of

__all__ = ["ottla"]


@asynccontextmanager
async def served(stage: Stage, built: Topology | None = None, **changes: Any) -> AsyncIterator[tuple[StreamsApp, str]]:
    """An instance with its HTTP port."""
    import msgspec

    (port,) = free_ports(1)
    setup = msgspec.structs.replace(stage.setup, port=port, **changes)
    app = make_app(setup) if built is None else StreamsApp(setup.name, built, settings=settings_of(setup))
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


async def test_a_copy_that_is_further_behind_than_allowed_does_not_answer(local_stage: Stage) -> None:
    local_stage.change(standbys=1)
    local_stage.give(60, keys=10)
    async with AsyncExitStack() as stack:
        first, _ = await stack.enter_async_context(served(local_stage, state_dir=str(local_stage.folder / "a")))
        await ready(first)
        second, _ = await stack.enter_async_context(served(local_stage, state_dir=str(local_stage.folder / "b")))
        await local_stage.all_right()
        await eventually(lambda: second.instance is not None and any(one.standby for one in second.instance.progress()))
        instance = second.instance
        assert instance is not None
        await eventually(lambda: all(one.caught_up for one in instance.progress()))
        copied = {one.partition for one in instance.progress() if one.standby}
        key = next(
            key for key in (f"k-{n}" for n in range(10)) if second.queries.store("totals").partition_of(key) in copied
        )

        def ask(max_staleness_s: float) -> Any:
            store = second.queries.store("totals", max_staleness_s=max_staleness_s, local_only=True, timeout_s=0)
            return store.get(key)

        await eventually(
            lambda: instance.behind_s(TaskId(1, second.queries.store("totals").partition_of(key))) is not None
        )
        # From now on the copy hears nothing: it only grows older.
        for step in ("_read", "_look_at_ends"):
            setattr(instance.restorer, step, lambda: time.sleep(0.01))
        task = TaskId(1, second.queries.store("totals").partition_of(key))
        await eventually(lambda: (instance.behind_s(task) or 0) > 1.0)
        with pytest.raises(StateUnavailable):
            await asyncio.to_thread(ask, 1.0)
        assert await asyncio.to_thread(ask, 300.0) == 6


async def test_with_a_token_state_is_for_those_who_send_it(
    local_stage: Stage, ottla: Ottla, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_stage.change(streams={"query_token": "open-sesame"})
    local_stage.give(40, keys=20)
    async with AsyncExitStack() as stack:
        first, at_first = await stack.enter_async_context(served(local_stage, state_dir=str(local_stage.folder / "a")))
        await ready(first)
        second, _ = await stack.enter_async_context(served(local_stage, state_dir=str(local_stage.folder / "b")))
        await eventually(lambda: second.instance is not None and len(second.instance.status()) == 3)
        await ready(second)
        await local_stage.all_right()
        # Instances ask one another: neither has all of it.
        totals = second.queries.store("totals", timeout_s=30)
        assert len(await asyncio.to_thread(totals.range)) == 20
        async with httpx.AsyncClient() as client:
            for path in ("", "/totals", "/totals/key/k-1", "/totals/bytes?partition=0"):
                for headers in ({}, {"Authorization": "Bearer wrong"}):
                    answer = await client.get(f"http://{at_first}/state{path}", headers=headers)
                    assert answer.status_code == 401
                    assert "streams.query_token" in answer.json()["error"]
            right = {"Authorization": "Bearer open-sesame"}
            answer = await client.get(f"http://{at_first}/state/totals/key/k-1", headers=right)
            assert answer.json() == {"key": "k-1", "value": 2}
        refused = await asyncio.to_thread(ottla, "state", "get", at_first, "totals", "k-1")
        assert (refused.status, refused.out) == (1, "")
        assert "streams.query_token" in refused.err
        monkeypatch.setenv("OTTLA_STREAMS__QUERY_TOKEN", "open-sesame")
        found = await asyncio.to_thread(ottla, "state", "get", at_first, "totals", "k-1", "--json")
        assert found.document == {"key": "k-1", "value": 2}


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.7", False),
     ("::ffff:10.0.0.7", False), ("not-an-address", False), (None, True)],
)  # fmt: skip
def test_without_a_token_state_is_for_this_machine(host: str | None, shown: bool) -> None:
    scope: dict[str, Any] = {"type": "http", "headers": [], "client": None if host is None else (host, 5_000)}
    why = refusal(Request(scope), None)
    assert why is None if shown else "this machine only" in (why or "")


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


async def test_windows_and_sessions_are_asked_for_by_key_and_time(local_stage: Stage) -> None:
    """Three records of a key in one minute, one an hour later."""
    stage, hour = local_stage, 3_600_000
    start = int(time.time()) // 60 * 60_000 - 2 * hour  # recent: retention would take what is older than a week
    builder = StreamsBuilder()
    records = builder.stream(stage.setup.source, key=str, value=str).group_by_key()
    records.windowed_by(tumbling(timedelta(minutes=1), grace=timedelta(hours=2))).count(store="by-minute")
    records.windowed_by(session(timedelta(minutes=5), grace=timedelta(hours=2))).count(store="by-session")
    producer = ExactlyOnceProducer(stage.kafka, StreamsSettings(), f"{stage.setup.name}-input", "input")
    producer.begin()
    for time_ms in (start, start + 1_000, start + 2_000, start + hour):
        producer.produce(stage.setup.source, b"a", b"x", timestamp_ms=time_ms)
    producer.commit()
    producer.close()
    async with AsyncExitStack() as stack:
        first, at_first = await stack.enter_async_context(
            served(stage, builder.build(), state_dir=str(stage.folder / "a"))
        )
        await ready(first)
        second, at_second = await stack.enter_async_context(
            served(stage, builder.build(), state_dir=str(stage.folder / "b"))
        )
        await eventually(lambda: second.instance is not None and second.instance.status())
        for app in (first, second):
            minutes = app.queries.store("by-minute", timeout_s=30)
            await eventually(lambda minutes=minutes: len(minutes.fetch_range("a", 0, start + 2 * hour)) == 2)
            found = await asyncio.to_thread(minutes.fetch_range, "a", start, start + 2 * hour)
            assert [(at, one.value) for at, one in found] == [(start, 3), (start + hour, 1)]
            assert (await asyncio.to_thread(minutes.fetch, "a", start)).value == 3
            assert await asyncio.to_thread(minutes.fetch, "a", start + 60_000) is None
            sessions = await asyncio.to_thread(app.queries.store("by-session", timeout_s=30).fetch, "a")
            assert [(one.start_ms, one.end_ms, one.value) for one in sessions] == [
                (start, start + 2_000, 3),
                (start + hour, start + hour, 1),
            ]
        async with httpx.AsyncClient() as client:
            for place in (at_first, at_second):
                minute = (await client.get(f"http://{place}/state/by-minute/key/a?start_ms={start}")).json()
                assert (minute["key"], minute["value"]) == ("a", 3)
                both = (await client.get(f"http://{place}/state/by-minute/key/a?from_ms={start}&to_ms={2**61}")).json()
                assert [one["value"] for one in both["windows"]] == [3, 1]
                all_of_them = (await client.get(f"http://{place}/state/by-session")).json()["entries"]
                assert [(one["key"], one["value"]) for one in all_of_them] == [("a", 3), ("a", 1)]
