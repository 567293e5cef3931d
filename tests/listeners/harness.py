"""What tests of running apps share: events of their own topic, and waiting for conditions."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ottla import App, KafkaSettings, ListenerSettings, RegistrySettings, Settings, event
from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.kafka.reader import read_topic
from ottla.kafka.record import Record
from ottla.testing import Broker, EmbeddedRegistry


async def eventually(condition: Callable[[], Any], *, within_s: float = 30.0, what: str = "the condition") -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + within_s
    while not (value := await asyncio.to_thread(condition)):
        assert time.monotonic() < deadline, f"{what} did not come true within {within_s:g} s"
        await asyncio.sleep(0.02)
    return value


@dataclass
class World:
    """A broker, a registry, and event classes whose topics no other test uses."""

    broker: Broker
    registry: EmbeddedRegistry
    partitions: int = 1

    def __post_init__(self) -> None:
        name = uuid.uuid4().hex[:10]
        self.group = f"service-{name}"
        self.orders = f"orders-{name}"
        self.stock = f"stock-{name}"

        @event(self.orders, key="order_id")
        class Ordered(msgspec.Struct):
            order_id: str
            quantity: int = 1

        @event(self.orders, key="order_id")
        class Cancelled(msgspec.Struct):
            order_id: str

        @event(self.stock, key="order_id")
        class Reserved(msgspec.Struct):
            order_id: str
            by: str = ""

        self.Ordered, self.Cancelled, self.Reserved = Ordered, Cancelled, Reserved

    @property
    def settings(self) -> Settings:
        return Settings(
            kafka=KafkaSettings(
                bootstrap_servers=self.broker.bootstrap_servers,
                topic_partitions=self.partitions,
                properties={"topic.metadata.refresh.interval.ms": 500},
            ),
            registry=RegistrySettings(url=self.registry.url, timeout_s=2.0),
            listener=ListenerSettings(commit_interval_s=0.05, session_timeout_s=6.0),
        )

    @property
    def admin(self) -> Admin:
        return Admin(self.settings.kafka)

    def records(self, topic: str) -> list[Record]:
        if topic not in self.admin.topics():
            return []
        return sorted(read_topic(self.settings.kafka, topic), key=lambda record: (record.partition, record.offset))

    def dead_letters(self, topic: str) -> list[Record]:
        return self.records(f"{topic}-dlq")

    def committed(self, topic: str, partition: int = 0) -> int:
        return self.admin.committed(self.group).get((topic, partition), 0)

    def write(self, topic: str, *values: bytes | None, headers: list[tuple[str, bytes | None]] | None = None) -> None:
        """Writes raw records to partition 0."""
        producer = Producer(self.settings.kafka)
        for value in values:
            producer.send(topic, value, key=b"raw", headers=headers, partition=0)
        assert producer.close() == 0


def headers_of(record: Record) -> dict[str, bytes]:
    return {name: value or b"" for name, value in record.headers}


def service(world: World, **more: Any) -> App:
    """An app of the world's group, with its settings."""
    return App(world.group, settings=world.settings, **more)
