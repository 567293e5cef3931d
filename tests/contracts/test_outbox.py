"""The outbox and its relays, on the embedded broker and on Apache Kafka, in SQLite and in PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from ottla import App, Context, EncodeError, Outbox
from ottla.events import read_envelope
from ottla.kafka.record import Record
from ottla.patterns import relay
from tests.listeners.harness import World, eventually, headers_of, service

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""

LONG = int(os.environ.get("OTTLA_ROUNDS", "2")) > 2


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, broker_kind: str) -> str:
    if request.param == "postgresql" and broker_kind == "kafka" and not LONG:
        pytest.skip("the long run (OTTLA_ROUNDS=20) has PostgreSQL with Apache Kafka too")
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/service.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = create_engine(database_url, connect_args={"timeout": 30} if "sqlite" in database_url else {})
    yield made
    made.dispose()


def ids(records: list[Record]) -> list[str]:
    return [envelope.id for one in records if (envelope := read_envelope(one.headers)) is not None]


def left(engine: Engine, outbox: Outbox) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(outbox.tables.rows)).scalar_one()


async def ready(app: App) -> None:
    await eventually(lambda: app.health.wrong() == [], what="readiness")


async def test_what_a_transaction_leaves_is_published_if_it_commits(world: World, engine: Engine) -> None:
    app = service(world)
    outbox = app.outbox(engine)
    async with app.running():
        await ready(app)
        with Session(engine) as session, session.begin():
            first = outbox.add(session, world.Ordered("o-1", 7), headers=[("tenant", b"t-1")])

        def fail() -> None:
            with Session(engine) as session, session.begin():
                outbox.add(session, world.Ordered("o-1", 8))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        with Session(engine) as session, session.begin():
            second = outbox.add(session, world.Ordered("o-1", 9), correlation_id="c-9")
        await eventually(lambda: len(world.records(world.orders)) == 2, what="publication")
        await eventually(lambda: left(engine, outbox) == 0, what="the clean-up")
    records = world.records(world.orders)
    assert ids(records) == [first, second]
    assert records[0].key == b"o-1"
    assert headers_of(records[0])["tenant"] == b"t-1"
    assert headers_of(records[1])["ce_correlationid"] == b"c-9"
    assert headers_of(records[0])["ce_source"] == f"/{world.group}".encode()


@ON_SQLITE
async def test_an_event_that_does_not_fit_its_schema_fails_the_transaction(world: World, engine: Engine) -> None:
    app = service(world)
    outbox = app.outbox(engine)
    async with app.running():
        await ready(app)

        def write() -> None:
            with Session(engine) as session, session.begin():
                outbox.add(session, world.Ordered("o-1"))
                outbox.add(session, world.Ordered("o-2", quantity="many"))

        with pytest.raises(EncodeError):
            write()
        assert left(engine, outbox) == 0
    assert world.records(world.orders) == []


async def test_async_sessions_write_to_it_as_well(world: World, database_url: str) -> None:
    async_engine = create_async_engine(database_url.replace("sqlite:", "sqlite+aiosqlite:"), poolclass=NullPool)
    app = service(world)
    outbox = app.outbox(async_engine)
    async with app.running():
        await ready(app)
        async with AsyncSession(async_engine) as session, session.begin():
            first = await outbox.add(session, world.Ordered("o-1"))
        async with async_engine.begin() as connection:
            second = await outbox.add(connection, world.Ordered("o-1"))
            third = await outbox.add(connection, world.Ordered("o-1"), delay=timedelta(hours=1))
            assert await outbox.cancel(connection, third)
            assert not await outbox.cancel(connection, third)
        await eventually(lambda: len(world.records(world.orders)) == 2, what="publication")
    assert ids(world.records(world.orders)) == [first, second]


@ON_SQLITE
async def test_an_event_of_a_handler_continues_its_flow_and_is_left_once(world: World, engine: Engine) -> None:
    app = service(world)
    inbox, outbox = app.inbox(engine), app.outbox(engine)
    calls: list[bool] = []

    @app.listen(world.Ordered)
    def reserve(order: Any, ctx: Context) -> None:
        with Session(engine) as session, session.begin(), inbox.once(ctx, session) as first:
            calls.append(first)
            if first:
                outbox.add(session, world.Reserved(order.order_id), cause=ctx)

    async with app.running():
        for _ in range(3):
            await app.publish(world.Ordered("o-1"), event_id="e-1", correlation_id="c-1")
        await eventually(lambda: len(calls) == 3, what="three deliveries")
        await eventually(lambda: len(world.records(world.stock)) == 1, what="publication")
        await eventually(lambda: left(engine, outbox) == 0, what="the clean-up")
    assert calls == [True, False, False]
    (record,) = world.records(world.stock)
    envelope = read_envelope(record.headers)
    assert envelope is not None
    assert (envelope.correlation_id, envelope.causation_id) == ("c-1", "e-1")


@ON_SQLITE
async def test_an_event_for_later_is_not_published_before_its_time_and_may_be_taken_back(
    world: World, engine: Engine
) -> None:
    app = service(world)
    outbox = app.outbox(engine)
    async with app.running():
        await ready(app)
        due = datetime.now(UTC) + timedelta(seconds=1)
        with engine.begin() as connection:
            outbox.add(connection, world.Ordered("o-1", 1), event_id="later", at=due)
            outbox.add(connection, world.Ordered("o-1", 2), event_id="never", delay=timedelta(seconds=0.5))
            outbox.add(connection, world.Ordered("o-1", 3), event_id="now")
        with engine.begin() as connection:
            assert outbox.cancel(connection, "never")
        await eventually(lambda: len(world.records(world.orders)) == 2, what="publication")
    records = world.records(world.orders)
    assert ids(records) == ["now", "later"]
    assert records[1].timestamp_ms >= due.timestamp() * 1000


async def test_relays_side_by_side_publish_everything_once_and_keep_the_order_of_each_key(
    world: World, engine: Engine
) -> None:
    apps = [service(world) for _ in range(3)]
    outboxes = [app.outbox(engine, poll_s=0.01) for app in apps]
    total, keys = 750, 20
    async with apps[0].running(), apps[1].running(), apps[2].running():
        for app in apps:
            await ready(app)

        def write() -> None:
            for start in range(0, total, 25):
                with engine.begin() as connection:
                    for n in range(start, start + 25):
                        outboxes[0].add(connection, world.Ordered(f"o-{n % keys}", n), event_id=f"e-{n}")

        await asyncio.to_thread(write)
        await eventually(lambda: left(engine, outboxes[0]) == 0, what="an empty outbox")
        told = [app.metrics.page().decode() for app in apps]
    seen = defaultdict(list)
    for record in world.records(world.orders):
        (identity,) = ids([record])
        seen[record.key].append(int(identity.removeprefix("e-")))
    assert {key: numbers for key, numbers in seen.items() if numbers != sorted(set(numbers))} == {}
    assert sum(map(len, seen.values())) == total
    name = f'ottla_outbox_relayed_total{{outbox="ottla_outbox",service="{world.group}"}}'
    relayed = [float(line.split()[-1]) for page in told for line in page.splitlines() if line.startswith(name)]
    assert sum(relayed) == total


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_postgresql_wakes_the_relays_when_a_transaction_commits(world: World, engine: Engine) -> None:
    apps = [service(world) for _ in range(2)]
    outboxes = [app.outbox(engine, poll_s=3600) for app in apps]
    async with apps[0].running(), apps[1].running():
        for app in apps:
            await ready(app)
        for n in range(1, 11):  # one after the other: each has to wake whoever relays it
            with engine.begin() as connection:
                outboxes[0].add(connection, world.Ordered(f"o-{n}"), event_id=f"e-{n}")
            await eventually(lambda: len(world.records(world.orders)) == n, what="publication")  # noqa: B023


async def test_what_a_relay_held_that_died_is_published_when_its_lease_ends(world: World, engine: Engine) -> None:
    app = service(world)
    outbox = app.outbox(engine)
    outbox.create(engine)
    now = time.time_ns() // 1_000_000
    with engine.begin() as connection:
        connection.execute(update(outbox.tables.lanes).values(owner="dead", until_ms=now + 1500))
        outbox.add(connection, world.Ordered("o-1"), event_id="e-1")
    async with app.running():
        await ready(app)
        await eventually(lambda: len(world.records(world.orders)) == 1, what="publication")
    assert world.records(world.orders)[0].timestamp_ms >= now + 1500


@ON_SQLITE
async def test_what_waits_for_long_is_measured_and_makes_the_service_unready(world: World, engine: Engine) -> None:
    app = service(world)
    outbox = app.outbox(engine, late_s=5)
    outbox.create(engine)
    now = time.time_ns() // 1_000_000
    with engine.begin() as connection:
        connection.execute(update(outbox.tables.lanes).values(owner="somebody", until_ms=now + 3_600_000))
        outbox.add(connection, world.Ordered("o-1"))
        connection.execute(outbox.tables.rows.update().values(created_ms=now - 60_000))
    labels = f'{{outbox="ottla_outbox",service="{world.group}"}}'
    async with app.running():
        await eventually(lambda: "the outbox ottla_outbox is behind: 1 events" in str(app.health.wrong()))
        page = app.metrics.page().decode()
        assert f"ottla_outbox_events{labels} 1.0" in page
        age = next(line for line in page.splitlines() if line.startswith(f"ottla_outbox_age_seconds{labels}"))
        assert float(age.split()[-1]) >= 60
        with engine.begin() as connection:
            connection.execute(update(outbox.tables.lanes).values(owner=None, until_ms=0))
        await eventually(lambda: app.health.wrong() == [], what="readiness")
        assert f"ottla_outbox_events{labels} 0.0" in app.metrics.page().decode()


@ON_SQLITE
async def test_an_event_that_the_broker_refuses_stays_and_is_told_and_the_others_go(
    world: World, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "UNFIT_AGAIN_S", 0.5)
    app = service(world)
    outbox = app.outbox(engine)
    async with app.running():
        await ready(app)
        with engine.begin() as connection:
            outbox.add(connection, world.Reserved("o-1", by="x" * 3_000_000), event_id="huge")
            outbox.add(connection, world.Ordered("o-2"), event_id="small")
        await eventually(lambda: len(world.records(world.orders)) == 1, what="publication")
        await eventually(lambda: "event huge was refused" in str(app.health.wrong()), what="the complaint")
        await eventually(lambda: left(engine, outbox) == 1, what="the clean-up of the other")
        with engine.begin() as connection:
            assert outbox.cancel(connection, "huge")
        await ready(app)


@ON_SQLITE
async def test_a_service_may_leave_the_relaying_to_another_process(world: World, engine: Engine) -> None:
    writer, publisher = service(world), App(f"{world.group}-relay", settings=world.settings)
    outbox = writer.outbox(engine, relay=False)
    publisher.outbox(engine)
    async with writer.running():
        await ready(writer)
        with engine.begin() as connection:
            outbox.add(connection, world.Ordered("o-1"), event_id="e-1")
        assert left(engine, outbox) == 1
    async with publisher.running():
        await eventually(lambda: len(world.records(world.orders)) == 1, what="publication")
    assert headers_of(world.records(world.orders)[0])["ce_source"] == f"/{world.group}".encode()
