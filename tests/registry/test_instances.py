"""How several registries share a log: one decides at a time, and what came too late counts for nothing."""

from __future__ import annotations

import json

import pytest

from ottla.registry.server.leadership import Elsewhere
from ottla.registry.server.records import Entry, Leader, note_entry
from ottla.registry.server.registry import Registry
from ottla.registry.server.requests import SchemaRequest
from tests.registry.memory_log import MemoryLog
from tests.registry.schema_pairs import field, record


def schema(number: int | str) -> str:
    return json.dumps(record(field("a", "int"), name=f"R{number}"))


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
