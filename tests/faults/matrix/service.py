"""A service for the fault matrix: every number it is given comes out once, or the checker finds out.

python -m tests.faults.matrix.service ONE_JSON_OBJECT
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

import msgspec

from ottla import (
    App,
    KafkaSettings,
    ListenerSettings,
    Order,
    RegistrySettings,
    Settings,
    event,
    per_key,
    per_partition,
)

ORDERS = {"per_partition": per_partition, "per_key": per_key(8)}


class Setup(msgspec.Struct):
    """What a service process is told. `slow_every`: every so many-th number takes `slow_s`."""

    name: str
    bootstrap_servers: str
    registry_url: str
    source: str
    sink: str
    exactly_once: bool
    order: str
    properties: dict[str, Any] = {}
    slow_every: int = 0
    slow_s: float = 0.0
    max_poll_interval_s: float = 300.0


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
            commit_interval_s=0.1,
            session_timeout_s=6.0,
            max_poll_interval_s=setup.max_poll_interval_s,
            transaction_timeout_s=6.0,
        ),
    )
    app = App(setup.name, settings=settings)
    order: Order = ORDERS[setup.order]

    @app.listen(given, order=order, exactly_once=setup.exactly_once, name="take")
    async def take(one: Any) -> Any:
        if setup.slow_every and one.number % setup.slow_every == 0:
            await asyncio.sleep(setup.slow_s)
        elif one.number % 50 == 0:
            await asyncio.sleep(0.001)
        return taken(one.key, one.number)

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
