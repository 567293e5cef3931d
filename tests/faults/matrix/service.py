"""A service for the fault matrix: every number it is given comes out once, or the checker finds out.

python -m tests.faults.matrix.service ONE_JSON_OBJECT
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
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

MAX_POLL_S = 6.0
"""Kafka's shortest session is the shortest there is."""

IN_PLACE = Retry(attempts=1000, backoff=fixed(0.2))
THROUGH_TOPICS = Retry(attempts=1, topics=RetryTopics(delays=[0.2, 0.5, 1, 1, 2, 2, 4, 8], keep_key_order=True))


class Setup(msgspec.Struct):
    """What a service process is told.

    Attributes:
        guarantee: `at_least_once`, `exactly_once` or `inbox`.
        order: `per_partition`, `per_key`, or `retry_topics`: per partition, and one number in seventeen fails at first.
        database: An SQLAlchemy URL: each number is written there too; None for none.
        slow: A file. Whoever finds it takes it away, and is slow for longer than max.poll.interval.
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


def make_app(setup: Setup) -> App:
    given, taken = events_of(setup.source, setup.sink)
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=setup.bootstrap_servers, topic_partitions=3, properties=setup.properties),
        registry=RegistrySettings(url=setup.registry_url, timeout_s=2.0),
        listener=ListenerSettings(
            commit_interval_s=0.1, session_timeout_s=6.0, max_poll_interval_s=MAX_POLL_S, transaction_timeout_s=6.0
        ),
    )
    app = App(setup.name, settings=settings)
    effects = Effects(setup.database, remember=setup.guarantee == "inbox") if setup.database else None
    failing = setup.order == "retry_topics"
    slow = Path(setup.slow)

    def slow_s(number: int) -> float:
        if slow.exists():
            try:
                slow.rename(slow.with_suffix(".taken"))
            except FileNotFoundError:
                return 0.0  # another one took it
            return MAX_POLL_S + 1.5
        return 0.001 if number % 50 == 0 else 0.0

    def answer(one: Any, ctx: Context) -> Any:
        if failing and one.number % 17 == 0 and ctx.attempt == 1:
            raise NotAtFirst(one.number)
        if effects is not None:
            effects.write(one.key, one.number, ctx)
        return taken(one.key, one.number)

    options: dict[str, Any] = {
        "order": per_key(8) if setup.order == "per_key" else per_partition,
        "exactly_once": setup.guarantee == "exactly_once",
        "retry": THROUGH_TOPICS if failing else IN_PLACE,
        "name": "take",
    }
    if effects is None:

        @app.listen(given, **options)
        async def take(one: Any, ctx: Context) -> Any:
            await asyncio.sleep(slow_s(one.number))
            return answer(one, ctx)
    else:
        app.on_start(effects.open)

        @app.listen(given, **options)
        def take_and_store(one: Any, ctx: Context) -> Any:
            time.sleep(slow_s(one.number))
            return answer(one, ctx)

    return app


async def main(setup: Setup) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with make_app(setup).running():
        print("started", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(msgspec.convert(json.loads(sys.argv[1]), Setup)))
