"""The inbox in SQLite and PostgreSQL, with sessions of both kinds."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import Engine, MetaData, create_engine, func, select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from ottla import ConfigurationError, Inbox
from tests.patterns.contexts import context


@pytest.fixture
def inbox(engine: Engine) -> Inbox:
    made = Inbox()
    made.create(engine)
    return made


def is_first(engine: Engine, inbox: Inbox, event_id: str, service: str = "shop") -> bool:
    with Session(engine) as session, session.begin(), inbox.once(context(event_id, service), session) as first:
        return first


def test_an_event_is_handled_for_the_first_time_once(engine: Engine, inbox: Inbox) -> None:
    assert [is_first(engine, inbox, "e-1") for _ in range(3)] == [True, False, False]
    assert is_first(engine, inbox, "e-2")


def test_an_id_is_forgotten_with_the_transaction_it_was_noted_in(engine: Engine, inbox: Inbox) -> None:
    def fail() -> None:
        with Session(engine) as session, session.begin(), inbox.once(context("e-1"), session) as first:
            assert first
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert is_first(engine, inbox, "e-1")


def test_services_that_share_a_database_do_not_share_their_memory(engine: Engine, inbox: Inbox) -> None:
    assert is_first(engine, inbox, "e-1", "shop")
    assert is_first(engine, inbox, "e-1", "mail")
    assert not is_first(engine, inbox, "e-1", "mail")


def test_two_handlers_with_scopes_of_their_own_both_handle_an_event(engine: Engine, inbox: Inbox) -> None:
    metadata = inbox.table.metadata
    one, two = Inbox(metadata, scope="shop/book"), Inbox(metadata, scope="shop/mail")
    assert one.table is two.table is inbox.table
    assert is_first(engine, one, "e-1")
    assert is_first(engine, two, "e-1")
    assert not is_first(engine, one, "e-1")


def test_a_connection_will_do_as_well_as_a_session(engine: Engine, inbox: Inbox) -> None:
    with engine.begin() as connection, inbox.once(context("e-1"), connection) as first:
        assert first
    assert not is_first(engine, inbox, "e-1")


def test_a_batch_is_told_which_of_its_events_are_new_and_repeats_within_it_count(engine: Engine, inbox: Inbox) -> None:
    assert is_first(engine, inbox, "e-2")
    contexts = [context(f"e-{n}") for n in (1, 2, 3, 3)]
    with Session(engine) as session, session.begin(), inbox.once(contexts, session) as first:
        assert first == [True, False, True, False]


def test_a_batch_may_be_larger_than_one_statement(engine: Engine, inbox: Inbox) -> None:
    contexts = [context(f"e-{n}") for n in range(1200)]
    with Session(engine) as session, session.begin(), inbox.once(contexts, session) as first:
        assert first == [True] * 1200
    with Session(engine) as session, session.begin(), inbox.once(contexts[::-1], session) as first:
        assert first == [False] * 1200


def test_an_empty_batch_has_nothing_new(engine: Engine, inbox: Inbox) -> None:
    with Session(engine) as session, session.begin(), inbox.once([], session) as first:
        assert first == []


async def test_async_sessions_and_connections_are_told_the_same(async_engine: AsyncEngine, inbox: Inbox) -> None:
    async with AsyncSession(async_engine) as session, session.begin(), inbox.once(context("e-1"), session) as first:
        assert first
    async with async_engine.begin() as connection, inbox.once(context("e-1"), connection) as first:
        assert not first
    contexts = [context("e-1"), context("e-2")]
    async with AsyncSession(async_engine) as session, session.begin(), inbox.once(contexts, session) as new:
        assert new == [False, True]


async def test_the_wrong_kind_of_with_is_named(async_engine: AsyncEngine, engine: Engine, inbox: Inbox) -> None:
    async with AsyncSession(async_engine) as session:
        with pytest.raises(TypeError, match="needs `async with"), inbox.once(context("e-1"), session):
            pass
    with Session(engine) as plain, pytest.raises(TypeError, match="needs `with"):
        async with inbox.once(context("e-1"), plain):
            pass


@pytest.mark.parametrize("commits", [True, False])
def test_of_two_at_once_the_second_waits_for_what_becomes_of_the_first(
    engine: Engine, inbox: Inbox, commits: bool
) -> None:
    answers: list[bool] = []
    second = threading.Thread(target=lambda: answers.append(is_first(engine, inbox, "e-1")))
    with engine.connect() as connection:
        transaction = connection.begin()
        with inbox.once(context("e-1"), connection) as first:
            assert first
        second.start()
        time.sleep(0.1)  # gives a second that would not wait the time to answer
        assert answers == []
        if commits:
            transaction.commit()
        else:
            transaction.rollback()
    second.join(30)
    assert answers == [not commits]


def test_ids_are_forgotten_when_they_are_old(engine: Engine, inbox: Inbox) -> None:
    assert is_first(engine, inbox, "e-old")
    with engine.begin() as connection:
        connection.execute(inbox.table.update().values(handled_ms=time.time_ns() // 1_000_000 - 3_600_000))
    assert is_first(engine, inbox, "e-new")
    with Session(engine) as session, session.begin():
        assert inbox.forget(session, older_than=timedelta(hours=2)) == 0
        assert inbox.forget(session, older_than=timedelta(minutes=30)) == 1
    assert is_first(engine, inbox, "e-old")
    assert not is_first(engine, inbox, "e-new")


async def test_an_async_session_forgets_as_well(async_engine: AsyncEngine, inbox: Inbox) -> None:
    async with AsyncSession(async_engine) as session, session.begin():
        async with inbox.once(context("e-1"), session):
            pass
        await asyncio.sleep(0.01)
        assert await inbox.forget(session, older_than=timedelta(0)) == 1


def test_the_table_can_be_made_from_its_ddl(engine: Engine) -> None:
    inbox = Inbox(table="my_inbox")
    with engine.begin() as connection:
        for statement in inbox.ddl(engine.dialect.name).split(";\n"):
            if statement:
                connection.execute(text(statement))
    assert is_first(engine, inbox, "e-1")
    assert not is_first(engine, inbox, "e-1")
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(inbox.table)).scalar() == 1


def test_the_table_stands_in_the_metadata_it_is_given() -> None:
    metadata = MetaData()
    Inbox(metadata)
    assert list(metadata.tables) == ["ottla_inbox"]


def test_another_database_is_refused_before_anything_is_written() -> None:
    engine = create_engine("sqlite://")
    engine.dialect.name = "oracle"
    with (
        engine.connect() as connection,
        pytest.raises(ConfigurationError, match="oracle is not supported"),
        Inbox().once(context("1"), connection),
    ):
        pass


def test_without_its_table_the_handler_fails_rather_than_handle_twice(engine: Engine) -> None:
    with pytest.raises(DatabaseError):
        is_first(engine, Inbox(), "e-1")


def test_where_sqlalchemy_is_missing_the_error_says_what_to_install() -> None:
    program = "import sys; sys.modules['sqlalchemy'] = None\nfrom ottla import Inbox"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "ottla.Inbox needs sqlalchemy: pip install 'ottla[sqlalchemy]'" in done.stderr


def test_without_the_package_that_async_sessions_need_plain_ones_work() -> None:
    program = """
import sys
sys.modules["greenlet"] = None
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from ottla import App, Inbox
from tests.patterns.contexts import context
engine, inbox = create_engine("sqlite://"), Inbox()
with Session(engine) as session, session.begin():
    inbox.table.create(session.connection())
    with inbox.once(context("e-1"), session) as first:
        print(first, App("shop").outbox(engine).tables.name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "True ottla_outbox\n", done.stderr
