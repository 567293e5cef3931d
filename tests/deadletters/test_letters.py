from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ottla.deadletters.audit import Decisions, decide, encode
from ottla.deadletters.letter import DeadLetter, LetterId
from ottla.deadletters.selection import Selection
from ottla.errors import ConfigurationError
from ottla.kafka.record import Record

NOW = 1_760_000_000_000


def record(offset: int = 0, timestamp_ms: int = NOW, **headers: bytes) -> Record:
    named: list[tuple[str, bytes | None]] = [(name.replace("__", "-"), value) for name, value in headers.items()]
    return Record("orders-dlq", 0, offset, timestamp_ms, b"k-1", b"value", named)


def letter(offset: int = 0, **headers: bytes) -> DeadLetter:
    return DeadLetter.of(record(offset, **headers), "open")


FULL = {
    "ce_id": b"e-1",
    "kafka_dlt__original__topic": b"orders",
    "kafka_dlt__original__partition": struct.pack(">i", 2),
    "kafka_dlt__original__offset": struct.pack(">q", 77),
    "kafka_dlt__original__timestamp": struct.pack(">q", NOW),
    "kafka_dlt__exception__fqcn": b"shop.errors.NoSuchItem",
    "kafka_dlt__exception__message": b"item 4711",
    "ottla__handler": b"reserve",
    "ottla__service": b"inventory",
    "ottla__attempts": b"3",
    "ottla__event__id": b"e-1",
}


def test_a_letter_tells_where_it_came_from_and_why() -> None:
    one = letter(5, **FULL)
    assert (one.topic, one.partition, one.offset) == ("orders", 2, 77)
    assert (one.exception, one.message) == ("shop.errors.NoSuchItem", "item 4711")
    assert (one.handler, one.service, one.attempts, one.event_id) == ("reserve", "inventory", 3, "e-1")
    assert one.original_time == datetime.fromtimestamp(NOW / 1000, UTC)
    assert str(one.id) == "0:5"


def test_a_replay_carries_the_original_headers_and_counts() -> None:
    once = letter(**FULL)
    assert once.headers_to_replay() == [("ce_id", b"e-1"), ("ottla-replays", b"1")]
    twice = DeadLetter.of(Record("orders-dlq", 0, 9, NOW, None, None, once.headers_to_replay()), "open")
    assert twice.replays == 1
    assert twice.headers_to_replay() == [("ce_id", b"e-1"), ("ottla-replays", b"2")]


def test_a_record_without_any_of_the_headers_is_a_letter_too() -> None:
    bare = letter(kafka_dlt__original__partition=b"x", ottla__attempts=b"many")
    assert (bare.topic, bare.partition, bare.offset, bare.attempts, bare.original_time) == ("", -1, -1, 0, None)


@pytest.mark.parametrize(
    "condition",
    [
        {"exception": "NoSuchItem"},
        {"exception": "shop.errors.*"},
        {"message": "4711"},
        {"handler": "res*", "service": "inventory"},
        {"key": "k-?"},
        {"event_id": "e-1"},
        {"ids": frozenset({LetterId(0, 0)})},
        {"since": datetime.fromtimestamp(NOW / 1000, UTC), "until": datetime.fromtimestamp(NOW / 1000 + 1, UTC)},
    ],
)
def test_a_selection_finds_what_it_describes(condition: dict[str, Any]) -> None:
    assert Selection(**condition).matches(letter(**FULL))


@pytest.mark.parametrize(
    "condition",
    [
        {"exception": "NoSuch"},
        {"message": "4712"},
        {"handler": "reserve", "service": "payments"},
        {"key": "k"},
        {"event_id": "e-2"},
        {"ids": frozenset({LetterId(0, 1)})},
        {"states": frozenset({"replayed"})},
        {"until": datetime.fromtimestamp(NOW / 1000, UTC)},
        {"since": datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(milliseconds=1)},
    ],
)
def test_a_selection_leaves_out_everything_else(condition: dict[str, Any]) -> None:
    assert not Selection(**condition).matches(letter(**FULL))


@pytest.mark.parametrize("text", ["", "1", "1:", ":1", "a:1", "1:-1", "1:2:3"])
def test_an_id_is_partition_and_offset(text: str) -> None:
    with pytest.raises(ConfigurationError, match="PARTITION:OFFSET"):
        LetterId.parse(text)


def test_the_newest_decision_counts_and_none_of_another_topic_of_that_name() -> None:
    first, second = decide(letter(3), "parked"), decide(letter(3), "replayed", to="orders")
    audit = [Record("a", 0, n, NOW, None, encode(decision), []) for n, decision in enumerate((first, second))]
    damaged = Record("a", 0, 2, NOW, None, b"{", [])
    decisions = Decisions([*audit, damaged])
    found = decisions.on(record(3))
    assert found is not None
    assert (found.action, found.to) == ("replayed", "orders")
    assert decisions.on(record(4)) is None
    assert decisions.on(record(3, NOW + 1)) is None, "the topic was deleted and made anew: offsets begin again"
    assert decisions.unreadable == 1
