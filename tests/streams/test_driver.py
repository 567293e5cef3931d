"""The test driver: no broker, virtual time, deterministic, quick."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from ottla.errors import TopologyError
from ottla.streams import Materialized, StreamsBuilder, within
from ottla.streams.records import RawBatch
from ottla.testing import TopologyTestDriver


def counts() -> StreamsBuilder:
    builder = StreamsBuilder()
    builder.stream("words", key=str, value=str).group_by(lambda k, v: v, key=str).count(store="counts").to_stream().to(
        "out"
    )
    return builder


def test_a_thousand_records_take_milliseconds() -> None:
    with TopologyTestDriver(counts().build()) as driver:
        words = driver.input("words", key=str, value=str)
        started = time.process_time()
        for number in range(1000):
            words.pipe(f"w{number % 7}", key="k")
        assert time.process_time() - started < 5  # about 0.1 here; a machine may be fifty times slower
        assert driver.store("counts").get("w0").value == 143


def test_two_runs_give_the_same() -> None:
    runs = []
    for _ in range(2):
        with TopologyTestDriver(counts().build()) as driver:
            driver.input("words", key=str, value=str).pipe_all([("k", f"w{n % 5}", n) for n in range(50)])
            runs.append(driver.raw("out"))
    assert runs[0] == runs[1]


def test_time_stands_still_until_it_is_moved() -> None:
    with TopologyTestDriver(counts().build(), now_ms=1234) as driver:
        driver.input("words", key=str, value=str).pipe("w", key="k")
        assert driver.output("out", key=str, value=int).read().timestamp_ms == 1234
        driver.advance(timedelta(seconds=1))
        assert driver.now_ms == 2234


def test_each_result_is_read_once() -> None:
    with TopologyTestDriver(counts().build()) as driver:
        out = driver.output("out", key=str, value=int)
        driver.input("words", key=str, value=str).pipe("w", key="k")
        assert out.read().value == 1
        with pytest.raises(AssertionError, match="topic out has no further record"):
            out.read()


def test_topics_and_stores_that_are_not_there_are_named_with_those_that_are() -> None:
    with TopologyTestDriver(counts().build()) as driver:
        with pytest.raises(TopologyError, match=r"does not read topic 'word'; it reads .*words"):
            driver.input("word", key=str, value=str).pipe("w")
        with pytest.raises(TopologyError, match="there is no store 'count'; there are counts"):
            driver.store("count")


def test_without_a_cache_every_change_comes_out() -> None:
    builder = StreamsBuilder()
    words = builder.stream("words", key=str, value=str).group_by_key()
    words.count(store=Materialized("counts", cached=False)).to_stream().to("out")
    with TopologyTestDriver(builder.build()) as driver:
        words_in = driver.input("words", key=str, value=str)
        driver.pipe_together(RawBatch.of([words_in.record("w", key="k") for _ in range(5)]))
        assert [value for _, value in driver.output("out", key=str, value=int).read_values()] == [1, 2, 3, 4, 5]


def test_a_cache_that_is_full_is_handed_on_early() -> None:
    with TopologyTestDriver(counts().build(), cache_entries_max=10) as driver:
        words = driver.input("words", key=str, value=str)
        for start in range(0, 500, 50):
            driver.pipe_together(RawBatch.of([words.record(f"w{n}", key="k") for n in range(start, start + 50)]))
        found = driver.output("out", key=str, value=int).read_table()
        assert found == {f"w{n}": 1 for n in range(500)}
        assert driver.store("counts").approximate_count() == 500


def test_stream_time_survives_in_a_snapshot() -> None:
    def joined() -> StreamsBuilder:
        builder = StreamsBuilder()
        left, right = (builder.stream(topic, key=str, value=str) for topic in ("left", "right"))
        left.join(right, lambda a, b: a, within(timedelta(seconds=1)), name="joined", value=str).to("out")
        return builder

    with TopologyTestDriver(joined().build()) as driver:
        driver.input("left", key=str, value=str).pipe("v", key="k", timestamp_ms=5000)
        snapshot = driver._tasks[0].snapshot()
    with TopologyTestDriver(joined().build()) as driver:
        task = driver._tasks[0]
        task.restore(snapshot)
        assert task.stream_time_ms == 5000
        assert task.snapshot() == snapshot


def test_a_stream_that_meets_itself_is_processed_record_by_record() -> None:
    """In a batch too: a record sees what was before it, and nothing of what comes after it."""
    found = []
    for together in (False, True):
        builder = StreamsBuilder()
        stream = builder.stream("in", key=str, value=int)
        table = builder.table("in", key=str, value=int)
        stream.join(table, lambda a, b: f"{a} after {b}", value=str).to("before")
        totals = stream.group_by_key().count(store=Materialized(cached=False))
        stream.left_join(totals, lambda a, b: f"{a} is number {b}", value=str).to("numbered")
        stream.join(stream, lambda a, b: f"{a} with {b}", within(timedelta(seconds=1)), value=str).to("pairs")
        with TopologyTestDriver(builder.build()) as driver:
            topic = driver.input("in", key=str, value=int)
            records = [topic.record(n, key=f"k{n % 2}", timestamp_ms=n) for n in range(6)]
            if together:
                driver.pipe_together(RawBatch.of(records))
            else:
                driver.pipe(records)
            found.append(
                [driver.output(name, key=str, value=str).read_values() for name in ("before", "numbered", "pairs")]
            )
    assert found[0] == found[1]
    assert found[0][0][:3] == [("k0", "2 after 0"), ("k1", "3 after 1"), ("k0", "4 after 2")]
    assert [value for _, value in found[0][1]][:3] == ["0 is number 1", "1 is number 1", "2 is number 2"]
