"""State that was written with an older version of an event's class is read by the new one, by the events' own rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from ottla import event
from ottla.events import upcast
from ottla.kafka.producer import Producer
from ottla.registry.client import client_for
from ottla.serde.serializer import Serializer
from ottla.settings import RegistrySettings
from ottla.streams import StreamsBuilder
from ottla.streams.app import StreamsApp
from ottla.streams.topology.topology import Topology
from ottla.testing import Broker, EmbeddedRegistry
from tests.streams.runtime.conftest import Stage, eventually
from tests.streams.runtime.totals import settings_of


class First(msgspec.Struct):
    """As it was: one name, no country."""

    customer_id: str
    name: str
    visits: int


class Second(msgspec.Struct):
    """As it is: the name in two parts, for which there is an upcaster, and a field more, which has a default."""

    customer_id: str
    first: str
    last: str
    visits: int
    country: str = "unknown"

    @staticmethod
    @upcast(from_version=1)
    def split(old: dict[str, Any]) -> dict[str, Any]:
        first, _, last = old.pop("name").partition(" ")
        return {**old, "first": first, "last": last}


def visits(topic: str, cls: Any) -> Topology:
    """The last visit of each customer, with the number of all."""
    builder = StreamsBuilder()

    def add(before: Any, now: Any) -> Any:
        return msgspec.structs.replace(now, visits=before.visits + now.visits)

    by_customer = builder.stream(topic, key=str, value=cls).group_by_key()
    by_customer.reduce(add, store="visits")
    return builder.build()


def send(stage: Stage, registry: EmbeddedRegistry, visit: Any) -> None:
    client = client_for(RegistrySettings(url=registry.url))
    producer = Producer(stage.kafka)
    value = Serializer(client, auto_register=True).encode(visit, stage.setup.source)
    producer.send(stage.setup.source, value, key=visit.customer_id.encode())
    assert producer.close(30) == 0
    client.close()


def allow_anything(registry: EmbeddedRegistry, subject: str) -> None:
    """A class with upcasters is read, and not resolved: the registry could not tell."""
    level = httpx.put(f"{registry.url}/config/{subject}", json={"compatibility": "NONE"})
    assert level.status_code == 200


@pytest.mark.parametrize("kept", ["on disk", "in the changelog only"])
async def test_state_of_an_older_version_is_read_by_the_new_one(
    embedded_broker: Broker, topic_name: str, tmp_path: Path, kept: str
) -> None:
    stage = Stage(embedded_broker, topic_name, tmp_path)
    named = event(stage.setup.source, key="customer_id", name="Visited")
    old = named(First)
    new = event(stage.setup.source, key="customer_id", name="Visited", version=2)(Second)

    def app(cls: Any, state: str) -> StreamsApp:
        found = settings_of(stage.setup_in(tmp_path / state))
        settings = msgspec.structs.replace(found, registry=RegistrySettings(url=registry.url))
        return StreamsApp(stage.setup.name, visits(stage.setup.source, cls), settings=settings)

    with EmbeddedRegistry(embedded_broker.bootstrap_servers) as registry:
        for topic in (stage.setup.source, f"{stage.setup.name}-visits-changelog"):
            allow_anything(registry, f"{topic}-Visited")
        for customer, name in (("c-1", "Ada Lovelace"), ("c-2", "Alan Turing"), ("c-1", "Ada King")):
            send(stage, registry, old(customer, name, 1))
        async with app(old, "first").running() as running:
            store = running.queries.store("visits", timeout_s=30)
            await eventually(lambda: dict(store.range()).get("c-1") is not None and len(store.range()) == 2)
            await eventually(lambda: store.get("c-1").value == old("c-1", "Ada King", 2))
        async with app(new, "first" if kept == "on disk" else "second").running() as running:
            store = running.queries.store("visits", timeout_s=30)
            await eventually(lambda: len(store.range()) == 2)
            found = {key: one.value for key, one in store.range()}
            assert found == {
                "c-1": new("c-1", "Ada", "King", 2, "unknown"),
                "c-2": new("c-2", "Alan", "Turing", 1, "unknown"),
            }
            send(stage, registry, new("c-1", "Ada", "Byron", 1, "GB"))
            await eventually(lambda: store.get("c-1").value == new("c-1", "Ada", "Byron", 3, "GB"))
