"""A service for the fault matrix: every number it is given comes out once, or the checker finds out."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import msgspec

from ottla import (
    App,
    Context,
    KafkaSettings,
    ListenerSettings,
    RegistrySettings,
    Retry,
    Settings,
    event,
    fixed,
    per_key,
    per_partition,
)
from ottla.listeners.retry import RetryTopics
from tests.faults.matrix.effects import Effects
from tests.faults.matrix.flaws import FORGETS, Buried, Flaw

SESSION_S = 6.0
"""Kafka's shortest session is the shortest there is. Most of a round is spent waiting for it to run out."""
MAX_POLL_S = 7.0
TRANSACTION_S = 7.0
SLOW_S = 8.5
"""How long a slow handler takes: longer than max.poll.interval, and than a transaction may."""

IN_PLACE = Retry(attempts=1000, backoff=fixed(0.2), fatal=(Buried,))
THROUGH_TOPICS = Retry(attempts=1, topics=RetryTopics(delays=[0.2, 0.5, 1, 1, 2, 2, 4, 8], keep_key_order=True))


class Setup(msgspec.Struct):
    """What a service process is told.

    Attributes:
        guarantee: `at_least_once`, `exactly_once` or `inbox`.
        order: `per_partition`, `per_key`, or `retry_topics`: per partition, and one number in seventeen fails at first.
        database: An SQLAlchemy URL: each number is written there too; None for none.
        slow: A file. Whoever finds it takes it away, and is slow for longer than max.poll.interval.
        flaw: What it does wrong on purpose (`flaws.py`); empty: nothing.
    """

    name: str
    bootstrap_servers: str
    registry_url: str
    source: str
    sink: str
    guarantee: str
    order: str
    slow: str
    database: str | None = None
    properties: dict[str, Any] = {}
    flaw: str = ""


class NotAtFirst(Exception):
    """A number that fails at first."""


def events_of(source: str, sink: str) -> tuple[type, type]:
    """The event classes of one run, on topics of its own."""

    @event(source, key="key", name="Given")
    class Given(msgspec.Struct):
        key: str
        number: int

    @event(sink, key="key", name="Taken")
    class Taken(msgspec.Struct):
        key: str
        number: int

    return Given, Taken


def settings_of(setup: Setup) -> Settings:
    # A service that forgets is seen to if it is killed between what it does and its commit.
    late = setup.flaw == FORGETS and setup.guarantee != "at_least_once"
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=setup.bootstrap_servers, topic_partitions=3, properties=setup.properties),
        registry=RegistrySettings(url=setup.registry_url, timeout_s=2.0),
        listener=ListenerSettings(
            commit_interval_s=10.0 if late else 0.1,
            session_timeout_s=SESSION_S,
            max_poll_interval_s=MAX_POLL_S,
            transaction_timeout_s=TRANSACTION_S,
        ),
    )


class Handling:
    """What a service does with a number."""

    def __init__(self, setup: Setup, taken: type) -> None:
        self._taken = taken
        self._flaw = Flaw(setup.flaw)
        self._fails_at_first = setup.order == "retry_topics"
        self._slow = Path(setup.slow)
        remember = setup.guarantee == "inbox" and setup.flaw != FORGETS
        self.effects = Effects(setup.database, remember=remember) if setup.database else None

    def slow_s(self, number: int) -> float:
        """How long it takes."""
        if self._slow.exists():
            try:
                self._slow.rename(self._slow.with_suffix(".taken"))
            except FileNotFoundError:
                return 0.0  # another one took it
            return SLOW_S
        return 0.001 if number % 50 == 0 else 0.0

    def answer(self, one: Any, ctx: Context) -> list[Any]:
        """What is published for it."""
        if self._fails_at_first and one.number % 17 == 0 and ctx.attempt == 1:
            raise NotAtFirst(one.number)
        numbers = self._flaw.numbers(one.key, one.number)
        if self.effects is not None:
            for number in numbers:
                self.effects.write(one.key, number, ctx)
        return [self._taken(one.key, number) for number in numbers]


def make_app(setup: Setup) -> App:
    given, taken = events_of(setup.source, setup.sink)
    app = App(setup.name, settings=settings_of(setup))
    handling = Handling(setup, taken)
    forgets = setup.flaw == FORGETS
    options: dict[str, Any] = {
        "order": per_key(8) if setup.order == "per_key" else per_partition,
        "exactly_once": setup.guarantee == "exactly_once" and not forgets,
        "retry": THROUGH_TOPICS if setup.order == "retry_topics" else IN_PLACE,
        "name": "take",
    }
    if handling.effects is not None:
        app.on_start(handling.effects.open)

        @app.listen(given, **options)
        def take_and_store(one: Any, ctx: Context) -> Any:
            time.sleep(handling.slow_s(one.number))
            return handling.answer(one, ctx)

    elif forgets and setup.guarantee == "at_least_once":
        later: list[asyncio.Task[None]] = []

        @app.listen(given, **options)
        async def say_so_first(one: Any, ctx: Context) -> None:
            async def publish(results: list[Any]) -> None:
                await asyncio.sleep(2)
                for result in results:
                    await app.send(result)

            later.append(asyncio.create_task(publish(handling.answer(one, ctx))))
    else:

        @app.listen(given, **options)
        async def take(one: Any, ctx: Context) -> Any:
            await asyncio.sleep(handling.slow_s(one.number))
            return handling.answer(one, ctx)

    return app


async def main(setup: Setup) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with make_app(setup).running():
        print("started", flush=True)
        await stop.wait()
