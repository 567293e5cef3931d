"""What stores answer, and the layouts that Kafka Streams' users know."""

from __future__ import annotations

import struct
from datetime import timedelta

from ottla.streams import StreamsBuilder, session, tumbling
from ottla.streams.serdes import LONG, TEXT
from ottla.streams.stores.key_value import KeyValueStore
from ottla.streams.stores.memory import MemoryStore
from ottla.streams.stores.session import Session, SessionStore
from ottla.streams.stores.window import WindowStore
from ottla.testing import TopologyTestDriver


def filled() -> KeyValueStore[str, int]:
    store = KeyValueStore(MemoryStore(), TEXT, LONG, "counts")
    for number, key in enumerate(("a", "ab", "b", "c")):
        store.put(key, number)
    return store


def test_a_range_includes_both_ends() -> None:
    store = filled()
    assert [key for key, _ in store.range("a", "b")] == ["a", "ab", "b"]
    assert [key for key, _ in store.range("ab", None, reverse=True)] == ["c", "b", "ab"]
    assert [key for key, _ in store.prefix(b"a")] == ["a", "ab"]
    assert dict(store.all()) == {"a": 0, "ab": 1, "b": 2, "c": 3}


def test_a_value_is_put_where_there_is_none_and_deleted_where_there_is_one() -> None:
    store = filled()
    assert store.put_if_absent("a", 9) == 0
    assert store.put_if_absent("z", 9) is None
    assert (store.get("a"), store.get("z")) == (0, 9)
    assert store.delete("a") == 0
    assert (store.get("a"), store.approximate_count()) == (None, 4)


def test_tables_lie_in_the_store_as_in_kafka_streams() -> None:
    builder = StreamsBuilder()
    builder.stream("words", key=str, value=str).group_by_key().count(store="counts")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("words", key=str, value=str).pipe("v", key="k", timestamp_ms=77)
        assert list(driver.store("counts").bytes.range()) == [(b"k", struct.pack(">qq", 77, 1))]


def test_windows_and_sessions_lie_there_behind_their_segment_of_time() -> None:
    builder = StreamsBuilder()
    words = builder.stream("words", key=str, value=str).group_by_key()
    words.windowed_by(tumbling(timedelta(minutes=2))).count(store="windows")
    words.windowed_by(session(timedelta(minutes=2))).count(store="sessions")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("words", key=str, value=str).pipe("v", key="k", timestamp_ms=130_000)
        ((window, _),) = driver.store("windows").bytes.range()
        ((one_session, _),) = driver.store("sessions").bytes.range()
    assert window == struct.pack(">q", 2) + b"k" + struct.pack(">qi", 120_000, 0)
    assert one_session == struct.pack(">q", 2) + b"k" + struct.pack(">qq", 130_000, 130_000)


def test_keys_that_begin_alike_do_not_mix_in_a_window_store() -> None:
    store = WindowStore(MemoryStore(), TEXT, LONG, "windows", 10**9)
    for key in ("a", "a\0", "aa", "b"):
        for start in (0, 50, 100):
            store.put(key, start, start)
    assert [start for start, _ in store.fetch_range("a", 0, 60)] == [0, 50]
    assert [start for start, _ in store.fetch_range("a", 0, 100, reverse=True)] == [100, 50, 0]
    assert len(list(store.all(50, 50))) == 4


def test_a_session_is_found_by_what_it_overlaps() -> None:
    store = SessionStore(MemoryStore(), TEXT, LONG, "sessions", 10**9)
    store.put("k", 0, 10, 1)
    store.put("k", 20, 30, 2)
    store.put("kk", 20, 30, 3)
    assert list(store.find("k", 10, 19)) == [Session(0, 10, 1)]
    assert [found.value for found in store.fetch("k")] == [1, 2]
    assert store.get("k", 20, 30) == 2
    store.put("k", 20, 30, None)
    assert store.get("k", 20, 30) is None
