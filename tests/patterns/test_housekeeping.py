"""Tables that are made at the start, and cleaned up now and then."""

from __future__ import annotations

import asyncio
import logging
import threading
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import Engine, create_engine

from ottla.observability.health import Health
from ottla.patterns.database import Worker
from ottla.patterns.housekeeping import Housekeeping
from ottla.patterns.part import Surroundings
from tests.listeners.harness import eventually


def surroundings() -> tuple[Surroundings, Health]:
    health = Health("shop")
    made: Any = SimpleNamespace(conditions=health, log=logging.getLogger("ottla.shop"))
    return cast(Surroundings, made), health


async def test_a_start_waits_for_a_table_that_cannot_be_made_yet_and_says_so() -> None:
    app, health = surroundings()
    away, made = threading.Event(), list[Engine]()

    def create(engine: Engine) -> None:
        if not away.is_set():
            raise ConnectionError("the database is away")
        made.append(engine)

    house = Housekeeping("inbox", "sqlite:///any.db", create=create)
    starting = asyncio.create_task(house.start(app))
    await eventually(health.wrong, what="the complaint")
    assert "the inbox's table cannot be made: the database is away" in health.wrong()[0]
    away.set()
    await starting
    assert (len(made), health.wrong()) == (1, [])
    await house.stop()


async def test_a_chore_is_done_again_and_again_whatever_becomes_of_it() -> None:
    app, _ = surroundings()
    done, enough = list[int](), threading.Event()

    def chore(engine: Engine) -> None:
        done.append(1)
        if len(done) == 3:
            enough.set()
        raise ConnectionError("the database is away")

    house = Housekeeping("inbox", "sqlite:///any.db", chore=chore, every_s=0.01)
    await house.start(app)
    assert await asyncio.to_thread(enough.wait, 30)
    await house.stop()


async def test_a_stop_without_a_start_does_nothing() -> None:
    await Housekeeping("inbox", "sqlite:///any.db").stop()


def test_a_worker_disposes_only_of_what_it_made() -> None:
    given = create_engine("sqlite://")
    worker = Worker(lambda: given)
    assert worker.engine is given
    worker.close()
    with given.connect():
        pass


def test_a_worker_opens_the_url_of_an_async_engine_with_a_plain_driver() -> None:
    worker = Worker("sqlite+aiosqlite:///any.db")
    assert worker.engine.dialect.driver == "pysqlite"
    worker = Worker("postgresql+asyncpg://user:secret@host/name")
    assert worker.engine.dialect.driver == "psycopg"
