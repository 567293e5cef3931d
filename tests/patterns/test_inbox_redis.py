"""The inbox in Redis."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_client
import redis.asyncio as redis_asyncio

from ottla import NotNow, RedisInbox
from tests.patterns.contexts import context
from tests.servers.redis import Redis

Client = redis_client.Redis


@pytest.fixture
def client(redis: Redis) -> Iterator[Client]:
    made = redis_client.Redis(port=redis.port)
    yield made
    made.close()


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def handle(inbox: RedisInbox, event_id: str) -> bool:
    with inbox.once(context(event_id)) as first:
        return first


def test_an_event_is_handled_for_the_first_time_once(client: Client) -> None:
    inbox = RedisInbox(client)
    assert [handle(inbox, "e-1") for _ in range(3)] == [True, False, False]
    assert handle(inbox, "e-2")


def test_a_client_that_decodes_is_understood(redis: Redis) -> None:
    inbox = RedisInbox(redis_client.Redis(port=redis.port, decode_responses=True))
    assert [handle(inbox, "e-1") for _ in range(2)] == [True, False]


async def test_the_async_client_works_alike(redis: Redis) -> None:
    client = redis_asyncio.Redis(port=redis.port)
    inbox = RedisInbox(client)
    async with inbox.once(context("e-1")) as first:
        assert first
    async with inbox.once(context("e-1")) as first:
        assert not first
    with pytest.raises(ZeroDivisionError):
        async with inbox.once(context("e-2")):
            raise ZeroDivisionError
    async with inbox.once(context("e-2")) as first:
        assert first
    await client.aclose()


def test_where_the_handler_fails_the_next_attempt_is_the_first_again(client: Client) -> None:
    inbox = RedisInbox(client)
    with pytest.raises(ZeroDivisionError), inbox.once(context("e-1")):
        raise ZeroDivisionError
    assert handle(inbox, "e-1")


def test_while_somebody_is_at_it_the_record_waits(client: Client) -> None:
    inbox = RedisInbox(client)
    with inbox.once(context("e-1")) as first:
        assert first
        with pytest.raises(NotNow, match="somebody else"):
            handle(inbox, "e-1")
    assert not handle(inbox, "e-1")


def test_of_many_at_once_one_is_first(redis: Redis) -> None:
    inbox, answers = RedisInbox(redis_client.Redis(port=redis.port)), list[bool]()

    def come() -> None:
        while True:
            try:
                answers.append(handle(inbox, "e-1"))
                return
            except NotNow:
                time.sleep(0.001)

    threads = [threading.Thread(target=come) for _ in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert sorted(answers) == [False] * 15 + [True]


def test_the_claim_of_one_that_died_runs_out(client: Client) -> None:
    inbox = RedisInbox(client, claim=timedelta(milliseconds=50))
    assert inbox.once(context("e-1")).__enter__()  # and never comes back

    def taken() -> bool:
        try:
            return handle(inbox, "e-1")
        except NotNow:
            return False

    eventually(taken)


def test_one_whose_claim_ran_out_does_not_take_back_or_finish_what_is_anothers(client: Client) -> None:
    slow = RedisInbox(client, claim=timedelta(milliseconds=20)).once(context("e-1"))
    assert slow.__enter__()
    eventually(lambda: client.keys() == [])
    with RedisInbox(client).once(context("e-1")) as first:
        assert first
        slow.__exit__(ZeroDivisionError)
        slow.__exit__(None)
        with pytest.raises(NotNow):
            handle(RedisInbox(client), "e-1")


def test_after_the_window_an_event_is_taken_for_a_new_one(client: Client) -> None:
    inbox = RedisInbox(client, ttl=timedelta(milliseconds=50))
    assert handle(inbox, "e-1")
    eventually(lambda: handle(inbox, "e-1"))


def test_scopes_and_prefixes_keep_memories_apart(client: Client) -> None:
    prefix = uuid.uuid4().hex
    inboxes = [RedisInbox(client), RedisInbox(client, scope="other"), RedisInbox(client, prefix=prefix)]
    assert [handle(inbox, "e-1") for inbox in inboxes] == [True, True, True]
    assert {key.decode() for key in client.scan_iter()} == {
        "ottla:inbox:shop:e-1",
        "ottla:inbox:other:e-1",
        f"{prefix}:shop:e-1",
    }


def test_no_window_is_refused() -> None:
    with pytest.raises(ValueError, match="at least a millisecond"):
        RedisInbox(None, ttl=timedelta(0))
