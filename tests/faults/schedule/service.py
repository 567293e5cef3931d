"""A service that schedules numbers and is killed while they are published.

python -m tests.faults.schedule.service ONE_JSON_OBJECT
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta
from typing import Any

import msgspec

from ottla import App, KafkaSettings, ListenerSettings, RegistrySettings, Settings, event


class Setup(msgspec.Struct):
    """What a process is told: it schedules the numbers from `start` on, `count` of them, due within `within_s`."""

    bootstrap_servers: str
    registry_url: str
    topic: str
    name: str
    start: int = 0
    count: int = 0
    within_s: float = 2.0

    @property
    def settings(self) -> Settings:
        return Settings(
            kafka=KafkaSettings(
                bootstrap_servers=self.bootstrap_servers,
                topic_partitions=3,
                properties={"topic.metadata.refresh.interval.ms": 500},
            ),
            registry=RegistrySettings(url=self.registry_url, timeout_s=2.0),
            listener=ListenerSettings(session_timeout_s=6.0),
        )


def due_event(topic: str) -> Any:
    """The event class of one run, on a topic of its own."""

    @event(topic, key="key", name="Due")
    class Due(msgspec.Struct):
        key: str
        number: int

    return Due


async def main(setup: Setup) -> None:
    kind = due_event(setup.topic)
    async with App(setup.name, settings=setup.settings).running() as app:

        async def schedule(number: int) -> None:
            delay = timedelta(seconds=setup.within_s * number / setup.count)
            await app.schedule(kind(f"k-{number % 10}", number), delay=delay, id=f"n-{number}")

        await asyncio.gather(*(schedule(number) for number in range(setup.start, setup.start + setup.count)))
        print("scheduled", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(msgspec.convert(json.loads(sys.argv[1]), Setup)))
