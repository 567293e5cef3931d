"""Several registries on one topic of each broker: one decides at a time, all agree, no id is lost or given out twice,
whichever of them are killed and whatever compaction takes away."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from ottla.errors import RegistryRejected, RegistryUnavailable
from ottla.registry import RegistryClient
from ottla.testing import Broker, EmbeddedRegistry
from tests.contracts.clients import PATIENCE_S, admin, consumer, wait_until
from tests.registry.schema_pairs import field, record

CLIENTS = 16
KILLS = int(os.environ.get("OTTLA_KILLS", "1"))


def schema(number: int | str) -> str:
    return json.dumps(record(field("a", "int"), name=f"R{number}"))


def stored(broker: Broker, topic: str) -> list[tuple[str, str]]:
    """The keys and values of all records that a topic has now: others may go on writing."""
    with consumer(broker) as client:
        _low, end = client.get_watermark_offsets(TopicPartition(topic, 0), timeout=PATIENCE_S)
        client.assign([TopicPartition(topic, 0, 0)])
        found: list[tuple[str, str]] = []
        offset = -1
        while offset < end - 1:
            message = client.poll(PATIENCE_S)
            assert message is not None
            assert message.error() is None
            offset = message.offset() or 0
            found.append(((message.key() or b"").decode(), (message.value() or b"null").decode()))
        return found


def leading(broker: Broker, topic: str) -> str:
    """Which instance decides: the one whose announcement stands last in the log."""
    notes = [json.loads(value) for key, value in stored(broker, topic) if json.loads(key)["keytype"] == "NOOP"]
    found: str = [note["leader"]["url"] for note in notes if note and "leader" in note][-1]
    return found


@pytest.fixture(scope="module")
def shared_topic(broker_kind: str) -> str:
    return f"_schemas-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def three(request: pytest.FixtureRequest, broker_kind: str, shared_topic: str) -> Iterator[list[EmbeddedRegistry]]:
    """Three registries on a topic of their own on the broker of this round."""
    kept_by: Broker = request.getfixturevalue("embedded_broker" if broker_kind == "embedded" else "apache_kafka")
    registries = [EmbeddedRegistry(kept_by.bootstrap_servers, topic=shared_topic) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(EmbeddedRegistry.start, registries))
    yield registries
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(EmbeddedRegistry.close, registries))


def test_what_one_instance_registered_is_found_on_every_other_at_once(
    broker: Broker, three: list[EmbeddedRegistry]
) -> None:
    for number in range(30):
        writer, reader = random.sample(three, 2)
        subject, text = f"found-{number}", schema(f"found{number}")
        found = RegistryClient(writer.url).register(subject, text)
        assert json.loads(RegistryClient(reader.url).schema(found)) == json.loads(text)
        assert RegistryClient(reader.url).lookup(subject, text) == found
        assert RegistryClient(writer.url).versions(subject) == [1]


def test_sixteen_clients_on_three_instances_agree_on_ids(broker: Broker, three: list[EmbeddedRegistry]) -> None:
    def work(worker: int) -> dict[str, int]:
        client = RegistryClient(three[worker % 3].url, timeout=20)
        # Every schema is registered by several clients at the same time, under subjects of their own and shared ones.
        return {
            text: client.register(f"shared-{number}" if number % 2 else f"s-{worker}-{number}", text)
            for number in range(12)
            for text in [schema(f"many{number}")]
        }

    with ThreadPoolExecutor(CLIENTS) as pool:
        results = list(pool.map(work, range(CLIENTS)))
    assert all(result == results[0] for result in results)
    assert len(set(results[0].values())) == 12

    def agreed() -> bool:
        states = [sorted(map(json.dumps, httpx.get(f"{one.url}/schemas").json())) for one in three]
        return states[0] == states[1] == states[2]

    wait_until(agreed, what="the same list of schemas on all three")  # lists do not ask for the log's end


def test_kill_9_of_instances_during_registrations_loses_no_id_and_reuses_none(
    broker: Broker, three: list[EmbeddedRegistry], shared_topic: str
) -> None:
    acknowledged: dict[int, str] = {}
    lock = threading.Lock()
    stopping = threading.Event()

    def register(worker: int) -> None:
        clients = [RegistryClient(one.url, timeout=10) for one in three]
        number = worker
        while not stopping.is_set():
            try:
                found = random.choice(clients).register(f"s{number}", schema(number))
            except (RegistryUnavailable, RegistryRejected):
                stopping.wait(0.01)
                continue
            with lock:
                assert acknowledged.setdefault(found, schema(number)) == schema(number), (
                    f"id {found} was given out twice"
                )
            number += CLIENTS

    def go_on(count: int) -> None:
        wanted = len(acknowledged) + count
        while len(acknowledged) < wanted:
            assert not any(worker.done() for worker in workers), [w.exception() for w in workers if w.done()]
            stopping.wait(0.02)

    with ThreadPoolExecutor(CLIENTS) as pool:
        workers = [pool.submit(register, worker) for worker in range(CLIENTS)]
        try:
            for _kill in range(KILLS):
                go_on(40)
                leader = next(one for one in three if one.url == leading(broker, shared_topic))
                leader.kill()
                go_on(30)
                leader.start()
        finally:
            stopping.set()
    for worker in workers:
        worker.result()
    client = RegistryClient(three[0].url)
    for found, text in acknowledged.items():
        assert json.loads(client.schema(found)) == json.loads(text)
    kept = httpx.get(f"{three[1].url}/schemas").json()
    by_id = {one["id"]: one["schema"] for one in kept}
    assert len(set(by_id.values())) == len(by_id)  # no schema has two ids
    assert all(by_id[one["id"]] == one["schema"] for one in kept)  # no id has two schemas
    assert set(acknowledged) <= set(by_id)
    assert "stands for two different schemas" not in three[2].log_tail(1000)


# Compaction


@pytest.fixture
def busy_cleaner(broker: Broker) -> Iterator[Broker]:
    """The broker, with a cleaner that looks for work every 50 ms instead of every 15 s."""
    configure(broker, ResourceType.BROKER, "1", {"log.cleaner.backoff.ms": "50"})
    yield broker
    configure(broker, ResourceType.BROKER, "1", {"log.cleaner.backoff.ms": None})


def configure(broker: Broker, kind: ResourceType, name: str, values: dict[str, str | None]) -> None:
    entries = [
        ConfigEntry(
            key,
            value,
            incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET,
        )
        for key, value in values.items()
    ]
    resource = ConfigResource(kind, name, incremental_configs=entries)
    client = admin(broker)
    client.incremental_alter_configs([resource])[resource].result(PATIENCE_S)


def stored_keys(broker: Broker, topic: str) -> list[str]:
    """The keys of the records that compaction has left."""
    return [key for key, _value in stored(broker, topic)]


def state(registry: EmbeddedRegistry) -> dict[str, object]:
    """All that clients can see, deleted versions included."""
    paths = ("/schemas?deleted=true", "/subjects?deleted=true", "/config", "/mode", "/config/kept", "/contexts")
    return {path: httpx.get(f"{registry.url}{path}").json() for path in paths}


def test_compaction_takes_no_schema_no_setting_and_lets_no_id_be_given_out_again(busy_cleaner: Broker) -> None:
    broker, topic = busy_cleaner, f"_schemas-{uuid.uuid4().hex[:12]}"
    with EmbeddedRegistry(broker.bootstrap_servers, topic=topic) as first:
        configure(
            broker,
            ResourceType.TOPIC,
            topic,
            {"segment.ms": "200", "min.cleanable.dirty.ratio": "0.001", "delete.retention.ms": "0"},
        )
        client = RegistryClient(first.url)
        kept = [client.register("kept", schema("kept"))]
        for level in ("NONE", "FULL", "BACKWARD", "NONE"):
            httpx.put(f"{first.url}/config/kept", json={"compatibility": level}).raise_for_status()
        kept += [client.register("kept", schema(f"kept{number}")) for number in range(3)]
        gone = [client.register(f"gone-{number}", schema(f"gone{number}")) for number in range(4)]
        httpx.delete(f"{first.url}/subjects/kept/versions/2").raise_for_status()
        for number in range(4):
            httpx.delete(f"{first.url}/subjects/gone-{number}").raise_for_status()
            httpx.delete(f"{first.url}/subjects/gone-{number}?permanent=true").raise_for_status()
        before = state(first)

        # Each write may end a segment; all but the last one are compacted, until every trace of a schema is gone.
        deadline = time.monotonic() + PATIENCE_S
        while any("SCHEMA" in key and "gone-" in key for key in stored_keys(broker, topic)):
            assert time.monotonic() < deadline, f"not compacted: {stored_keys(broker, topic)}"
            for level in ("FULL", "BACKWARD"):
                httpx.put(f"{first.url}/config", json={"compatibility": level}).raise_for_status()
            time.sleep(0.25)  # the next write shall be this much younger
        httpx.put(f"{first.url}/config", json={"compatibility": "BACKWARD"}).raise_for_status()
        before["/config"] = {"compatibilityLevel": "BACKWARD"}

        assert state(first) == before
        with EmbeddedRegistry(broker.bootstrap_servers, topic=topic) as second:
            assert state(second) == before
            after = RegistryClient(second.url)
            assert [after.lookup("kept", schema(f"kept{number}")) for number in (1, 2)] == kept[2:]
            # By whichever of the two: what was given out and deleted for good is not given out again.
            fresh = after.register("fresh", schema("fresh"))
            assert fresh > max(kept + gone)
            first.kill()
            wait_until(lambda: RegistryClient(second.url).register("last", schema("last")) > fresh, what="a leader")
