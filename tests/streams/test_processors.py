"""The processor API: init, process, close, timers, stores, children by name, headers, metadata; async steps."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from ottla.errors import TopologyError
from ottla.streams import Processor, ProcessorContext, Record, StreamsBuilder
from ottla.streams.records import RawBatch, RecordMetadata
from ottla.testing import TopologyTestDriver

SECOND = timedelta(seconds=1)


class Recorder(Processor[str, str]):
    """Notes everything that happens to it."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def init(self, context: ProcessorContext[str, str]) -> None:
        self.context = context
        self.calls.append("init")

    def process(self, record: Record[str, str]) -> None:
        self.calls.append((record, self.context.metadata, self.context.stream_time_ms, self.context.task_id))

    def close(self) -> None:
        self.calls.append("close")


def test_a_processor_is_opened_fed_and_closed() -> None:
    recorder = Recorder()
    builder = StreamsBuilder()
    builder.stream("in", key=str, value=str).process(lambda: recorder)
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=str).pipe("v", key="k", timestamp_ms=5, headers=[("h", b"1")])
    record = Record("k", "v", 5, [("h", b"1")])
    assert recorder.calls == ["init", (record, RecordMetadata("in", 0, 0), 5, "0_0"), "close"]


class Ticker(Recorder):
    """Forwards the time at every tick."""

    kind: Any = "wall-clock"

    def init(self, context: ProcessorContext[str, str]) -> None:
        super().init(context)
        self.stop = context.schedule(SECOND, self.kind, self.tick)

    def tick(self, time_ms: int) -> None:
        assert self.context.metadata is None
        self.context.forward(Record("tick", str(time_ms), time_ms))


def test_timers_on_the_wall_clock_run_when_it_moves() -> None:
    builder = StreamsBuilder()
    builder.stream("in", key=str, value=str).process(Ticker, key=str, value=str).to("ticks")
    with TopologyTestDriver(builder.build(), now_ms=10_000) as driver:
        ticks = driver.output("ticks", key=str, value=str)
        driver.advance(timedelta(milliseconds=999))
        assert ticks.read_values() == []
        driver.advance(timedelta(milliseconds=1))
        assert ticks.read_values() == [("tick", "11000")]
        driver.advance(timedelta(seconds=5))  # missed ticks are not made up for
        assert ticks.read_values() == [("tick", "16000")]


def test_a_timer_can_be_stopped() -> None:
    made: list[Ticker] = []

    def make() -> Ticker:
        made.append(Ticker())
        return made[-1]

    builder = StreamsBuilder()
    builder.stream("in", key=str, value=str).process(make, key=str, value=str).to("ticks")
    with TopologyTestDriver(builder.build()) as driver:
        driver.advance(SECOND)
        made[0].stop()
        driver.advance(10 * SECOND)
        assert driver.output("ticks", key=str, value=str).read_values() == [("tick", "1000")]


class Sorter(Recorder):
    """Forwards to children by their names."""

    def process(self, record: Record[str, str]) -> None:
        self.context.forward(record, to="even" if len(record.value) % 2 == 0 else "odd")


def test_records_go_to_children_by_name() -> None:
    builder = StreamsBuilder()
    sorted_ = builder.stream("in", key=str, value=str).process(Sorter, key=str, value=str)
    sorted_.child("even").to("even-out")
    sorted_.child("odd").to("odd-out")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=str).pipe_all([("k", "a", 0), ("k", "bb", 0)])
        assert driver.output("even-out", key=str, value=str).read_values() == [("k", "bb")]
        assert driver.output("odd-out", key=str, value=str).read_values() == [("k", "a")]


def test_a_child_that_is_not_there_is_an_error_with_those_that_are() -> None:
    builder = StreamsBuilder()
    builder.stream("in", key=str, value=str).process(Sorter, key=str, value=str).child("odd")
    with (
        TopologyTestDriver(builder.build()) as driver,
        pytest.raises(TopologyError, match="no child 'even'; it has odd"),
    ):
        driver.input("in", key=str, value=str).pipe("bb", key="k")


class Deduplicate(Recorder):
    """Lets each value of a key through once."""

    def init(self, context: ProcessorContext[str, str]) -> None:
        super().init(context)
        self.seen = context.store("seen")

    def process(self, record: Record[str, str]) -> None:
        if self.seen.get(record.key) != record.value:
            self.seen.put(record.key, record.value)
            self.context.forward(record)


def test_a_processor_of_values_keeps_keys_and_uses_a_store() -> None:
    builder = StreamsBuilder()
    builder.add_store("seen", key=str, value=str)
    stream = builder.stream("in", key=str, value=str).process_values(Deduplicate, stores=["seen"], value=str)
    assert not stream.rekeyed
    stream.to("out")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=str).pipe_all([("k", "a", 0), ("k", "a", 0), ("k", "b", 0)])
        assert driver.output("out", key=str, value=str).read_values() == [("k", "a"), ("k", "b")]
        assert driver.store("seen").get("k") == "b"


def test_a_store_must_be_named_and_be_there() -> None:
    builder = StreamsBuilder()
    with pytest.raises(TopologyError, match="there is no store 'seen'"):
        builder.stream("in", key=str, value=str).process(Deduplicate, stores=["seen"])
    builder = StreamsBuilder()
    builder.add_store("seen", key=str, value=str)
    with pytest.raises(TopologyError, match="'seen' is connected to no operator"):
        builder.build()


def test_a_failure_downstream_is_not_blamed_on_the_processor() -> None:
    def fail(value: str) -> str:
        raise ValueError("downstream")

    class Forward(Recorder):
        def process(self, record: Record[str, str]) -> None:
            self.context.forward(record)

    builder = StreamsBuilder()
    builder.stream("in", key=str, value=str).process(Forward, key=str, value=str).map_values(fail).to("out")
    from ottla.streams import ErrorHandlers

    with TopologyTestDriver(builder.build(), handlers=ErrorHandlers(processing="continue")) as driver:
        driver.input("in", key=str, value=str).pipe("a", key="k")
        assert driver.dropped == {("in-map-values", "failed"): 1}


def test_async_steps_run_side_by_side_but_one_at_a_time_for_a_key() -> None:
    open_by_key: dict[str, int] = {}
    most = {"together": 0, "of one key": 0}

    async def slow(key: str, value: int) -> int:
        open_by_key[key] = open_by_key.get(key, 0) + 1
        most["together"] = max(most["together"], sum(open_by_key.values()))
        most["of one key"] = max(most["of one key"], open_by_key[key])
        for _ in range(3 if value % 2 else 1):
            await asyncio.sleep(0)
        open_by_key[key] -= 1
        return value * 10

    builder = StreamsBuilder()
    builder.stream("in", key=str, value=int).process_values(slow, concurrency=4).to("out")
    with TopologyTestDriver(builder.build()) as driver:
        numbers = driver.input("in", key=str, value=int)
        driver.pipe_together(RawBatch.of([numbers.record(n, key=f"k{n % 8}") for n in range(40)]))
        found = driver.output("out", key=str, value=int).read_values()
    assert found == [(f"k{n % 8}", n * 10) for n in range(40)]
    assert most == {"together": 4, "of one key": 1}


async def test_async_steps_run_within_a_running_event_loop_too() -> None:
    async def add(key: str, value: int) -> int:
        return value + 1

    builder = StreamsBuilder()
    builder.stream("in", key=str, value=int).process_values(add).to("out")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=int).pipe(1, key="k")
        assert driver.output("out", key=str, value=int).read().value == 2
