"""Several registries on one topic: one decides at a time, all agree, and no id is lost or given out twice."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from ottla.errors import RegistryRejected, RegistryUnavailable
from ottla.registry import RegistryClient
from ottla.registry.server.leadership import Elsewhere
from ottla.registry.server.records import Entry, Leader, note_entry
from ottla.registry.server.registry import Registry
from ottla.registry.server.requests import SchemaRequest
from ottla.testing import EmbeddedBroker, EmbeddedRegistry
from tests.registry.memory_log import MemoryLog
from tests.registry.schema_pairs import field, record

CLIENTS = 16
KILLS = int(os.environ.get("OTTLA_KILLS", "2"))


def schema(number: int | str) -> str:
    return json.dumps(record(field("a", "int"), name=f"R{number}"))


# Rules, on a log in memory


class SharedLog(MemoryLog):
    """One log that several registries read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[MemoryLog] = []

    def view(self) -> MemoryLog:
        shared = self

        class View(MemoryLog):
            def append(self, entries: list[Entry]) -> None:  # type: ignore[override]  # a list will do
                for entry in [*self.meanwhile, *entries]:
                    for reader in shared.readers:
                        reader.entries.append(entry)
                        assert reader._reader is not None
                        reader._reader.apply(entry, len(reader.entries) - 1)
                self.meanwhile = []

        view = View()
        self.readers.append(view)
        return view


def two() -> tuple[Registry, MemoryLog, Registry, MemoryLog]:
    log = SharedLog()
    one, other = log.view(), log.view()
    registries = Registry(one, "http://one"), Registry(other, "http://other")
    for registry in registries:
        registry.state.start()
    return registries[0], one, registries[1], other


def compact(entries: list[Entry]) -> list[Entry]:
    """Each key's last record, where it stood."""
    last = {entry.key: at for at, entry in enumerate(entries)}
    return [entry for at, entry in enumerate(entries) if last[entry.key] == at]


def register(registry: Registry, subject: str, text: str) -> int:
    return registry.register(subject, SchemaRequest(schema=text)).id


def test_the_first_to_write_decides_and_the_others_are_told_whom_to_ask() -> None:
    one, _log, other, _other_log = two()
    assert register(one, "s", '"string"') == 1
    with pytest.raises(Elsewhere) as told:
        register(other, "t", '"long"')
    assert told.value.leader.url == "http://one"
    assert register(other, "s", '"string"') == 1  # known: no write


def test_who_takes_over_goes_on_with_all_ids_and_the_former_leader_notices() -> None:
    one, _log, other, _other_log = two()
    register(one, "s", '"string"')
    with pytest.raises(Elsewhere) as told:
        register(other, "t", '"long"')
    other.state.leadership.take_over(told.value.leader)
    assert register(other, "t", '"long"') == 2
    with pytest.raises(Elsewhere) as told:
        register(one, "u", '"int"')
    assert told.value.leader.url == "http://other"


def test_what_a_former_leader_wrote_too_late_counts_for_nothing_and_is_put_right() -> None:
    one, log, other, _other_log = two()
    register(one, "s", '"string"')
    token = other.state.leadership.token = "other-1"
    # The other one takes over between the decision of the first and its record.
    log.meanwhile = [note_entry({".": 1}, Leader(token, "http://other"))]
    with pytest.raises(Elsewhere):
        register(one, "s2", '"long"')
    for registry in (one, other):
        assert registry.subjects() == ["s"]
        assert registry.highest_id() == 1
    late = next(entry for entry in log.entries if b'"s2"' in entry.key)
    assert register(other, "t", '"int"') == 2
    # Compaction keeps the last record of each key: the late one must not be it.
    kept = compact(log.entries)
    assert next(entry for entry in kept if entry.key == late.key).value is None
    compacted = Registry(MemoryLog(kept))
    compacted.state.start()
    assert compacted.subjects() == ["s", "t"]
    assert compacted.highest_id() == 2


def test_a_late_record_over_another_is_put_right_with_what_was_in_force() -> None:
    one, log, other, _other_log = two()
    register(one, "s", '"string"')
    token = other.state.leadership.token = "other-1"
    log.meanwhile = [note_entry({".": 1}, Leader(token, "http://other"))]
    with pytest.raises(Elsewhere):
        one.delete_version("s", "1")
    assert other.versions("s")[0].deleted is False
    register(other, "t", '"int"')
    compacted = Registry(MemoryLog(compact(log.entries)))
    compacted.state.start()
    assert [stored.deleted for stored in compacted.versions("s")] == [False]


def test_a_late_announcement_of_a_former_leader_is_none() -> None:
    one, log, other, _other_log = two()
    register(one, "s", '"string"')
    one.delete_subject("s")
    token = other.state.leadership.token = "other-1"
    log.meanwhile = [note_entry({".": 1}, Leader(token, "http://other"))]
    with pytest.raises(Elsewhere):
        one.delete_subject("s", permanent=True)  # writes a note that names its own token
    with other.state.reading() as store:
        assert store.leader == Leader(token, "http://other")
    assert register(other, "t", '"int"') == 2


# Processes


@pytest.fixture(scope="module")
def three() -> Iterator[list[EmbeddedRegistry]]:
    with EmbeddedBroker() as broker:
        registries = [EmbeddedRegistry(broker.bootstrap_servers) for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(EmbeddedRegistry.start, registries))
        yield registries
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(EmbeddedRegistry.close, registries))


def test_what_one_instance_registered_is_found_on_every_other_at_once(three: list[EmbeddedRegistry]) -> None:
    for number in range(30):
        writer, reader = random.sample(three, 2)
        subject, text = f"found-{number}", schema(f"found{number}")
        found = RegistryClient(writer.url).register(subject, text)
        assert json.loads(RegistryClient(reader.url).schema(found)) == json.loads(text)
        assert RegistryClient(reader.url).lookup(subject, text) == found
        assert RegistryClient(writer.url).versions(subject) == [1]


def test_sixteen_clients_on_three_instances_agree_on_ids(three: list[EmbeddedRegistry]) -> None:
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
    states = [sorted(map(json.dumps, httpx.get(f"{one.url}/schemas").json())) for one in three]
    assert states[0] == states[1] == states[2]


def test_kill_9_of_instances_during_registrations_loses_no_id_and_reuses_none(three: list[EmbeddedRegistry]) -> None:
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

    with ThreadPoolExecutor(CLIENTS) as pool:
        workers = [pool.submit(register, worker) for worker in range(CLIENTS)]
        try:
            for kill in range(KILLS):
                wanted = len(acknowledged) + 40
                while len(acknowledged) < wanted:
                    assert not any(worker.done() for worker in workers), [w.exception() for w in workers if w.done()]
                    stopping.wait(0.02)
                three[kill % 3].kill()  # whoever decides is among them
                wanted = len(acknowledged) + 30
                while len(acknowledged) < wanted:
                    assert not any(worker.done() for worker in workers), [w.exception() for w in workers if w.done()]
                    stopping.wait(0.02)
                three[kill % 3].start()
        finally:
            stopping.set()
    for worker in workers:
        worker.result()
    client = RegistryClient(three[0].url)
    for found, text in acknowledged.items():
        assert json.loads(client.schema(found)) == json.loads(text)
    stored = httpx.get(f"{three[1].url}/schemas").json()
    by_id = {one["id"]: one["schema"] for one in stored}
    assert len(set(by_id.values())) == len(by_id)  # no schema has two ids
    assert all(by_id[one["id"]] == one["schema"] for one in stored)  # no id has two schemas
    assert set(acknowledged) <= set(by_id)
    assert "stands for two different schemas" not in three[2].log_tail(1000)
