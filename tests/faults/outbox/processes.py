"""The two kinds of process that an outbox has, for tests that kill them.

python -m tests.faults.outbox.processes writer|relay ONE_JSON_OBJECT

The writer books numbers per key, and an event for each in the same transaction. Every tenth transaction is rolled back:
its events must never be seen.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import threading
from typing import Any

import msgspec
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, func, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from ottla import App, KafkaSettings, OttlaError, Outbox, RegistrySettings, Settings, event

KEYS = [f"k-{n}" for n in range(30)]
LEASE_S = 2.0

metadata = MetaData()
ledger = Table(
    "ledger", metadata, Column("key", String(20), primary_key=True), Column("number", Integer, primary_key=True)
)


class Setup(msgspec.Struct):
    """What a process is told."""

    database_url: str
    bootstrap_servers: str
    registry_url: str
    topic: str
    name: str

    @property
    def settings(self) -> Settings:
        return Settings(
            kafka=KafkaSettings(
                bootstrap_servers=self.bootstrap_servers,
                topic_partitions=3,
                properties={"topic.metadata.refresh.interval.ms": 500},
            ),
            registry=RegistrySettings(url=self.registry_url, timeout_s=2.0),
        )


def booked_event(topic: str) -> Any:
    """The event class of one run, on a topic of its own."""

    @event(topic, key="key", name="Booked")
    class Booked(msgspec.Struct):
        key: str
        number: int

    return Booked


def open_engine(url: str) -> Engine:
    """An engine that a database's restart does not hold up."""
    return create_engine(url, pool_pre_ping=True, connect_args={"timeout": 30} if url.startswith("sqlite") else {})


class Writer:
    """Books until it is told to stop, or killed."""

    def __init__(self, setup: Setup) -> None:
        self._event = booked_event(setup.topic)
        self._outbox: Outbox = App(setup.name, settings=setup.settings).outbox(setup.database_url, relay=False)
        self._engine = open_engine(setup.database_url)
        self._chance = random.Random()
        self.stop = threading.Event()

    def run(self) -> None:
        round_ = 0
        while not self.stop.wait(0.002):
            round_ += 1
            try:
                with self._engine.begin() as transaction:
                    self._book(transaction)
                    if round_ % 10 == 0:
                        transaction.rollback()
            except (DBAPIError, OttlaError) as error:
                print(f"again: {error}", file=sys.stderr, flush=True)
                self.stop.wait(0.2)

    def _book(self, transaction: Connection) -> None:
        for key in sorted(self._chance.sample(KEYS, 5)):
            last = transaction.execute(select(func.max(ledger.c.number)).where(ledger.c.key == key)).scalar() or 0
            number = last + 1
            transaction.execute(ledger.insert().values(key=key, number=number))
            self._outbox.add(transaction, self._event(key, number))


async def relay(setup: Setup) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app = App(setup.name, settings=setup.settings)
    app.outbox(setup.database_url, lease_s=LEASE_S, poll_s=0.05)
    async with app.running():
        print("started", flush=True)
        await stop.wait()


def write(setup: Setup) -> None:
    writer = Writer(setup)
    signal.signal(signal.SIGTERM, lambda *_: writer.stop.set())
    print("started", flush=True)
    writer.run()


if __name__ == "__main__":
    told = msgspec.convert(json.loads(sys.argv[2]), Setup)
    if sys.argv[1] == "writer":
        write(told)
    else:
        asyncio.run(relay(told))
