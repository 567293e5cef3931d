"""Steps whose effect is outside the stream, and how records reach topics."""

from __future__ import annotations

import pytest

from ottla.errors import TopologyError
from ottla.streams import Record, StreamsBuilder
from ottla.testing import TopologyTestDriver
from tests.streams.events import OrderCreated, order


def test_peek_sees_every_record_and_lets_it_pass() -> None:
    seen: list[tuple[str, int]] = []
    builder = StreamsBuilder()
    builder.stream("in", key=str, value=int).peek(lambda k, v: seen.append((k, v))).to("out")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=int).pipe(1, key="k")
        assert seen == driver.output("out", key=str, value=int).read_values() == [("k", 1)]


def test_print_shows_every_record(capsys: pytest.CaptureFixture[str]) -> None:
    builder = StreamsBuilder()
    builder.stream("in", key=str, value=int).print("numbers")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=int).pipe(1, key="k")
    assert capsys.readouterr().out == "[numbers]: 'k', 1\n"


def test_a_stream_goes_on_through_a_topic_of_the_users() -> None:
    builder = StreamsBuilder()
    builder.stream("in", key=str, value=int).through("middle").map_values(lambda v: v + 1, value=int).to("out")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=int).pipe(1, key="k")
        assert driver.output("middle", key=str, value=int).read().value == 1
        assert driver.output("out", key=str, value=int).read().value == 2


def test_an_event_class_is_a_topic_to_write_to() -> None:
    builder = StreamsBuilder()
    numbers = builder.stream("in", key=str, value=int)
    numbers.map_values(lambda v: order(v), value=OrderCreated).to(OrderCreated)
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=int).pipe(1, key="k")
        assert driver.output(OrderCreated).read_values() == [("k", order(1))]


def test_the_user_chooses_partitions() -> None:
    builder = StreamsBuilder()
    builder.stream("in", key=str, value=int).to("out", partitioner=lambda key, value, count: value % 7)
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=int).pipe(9, key="k")
        assert [record.partition for record in driver.raw("out")] == [2]


def test_headers_and_timestamps_go_along() -> None:
    builder = StreamsBuilder()
    stream = builder.stream("in", key=str, value=int)
    stream.filter(lambda k, v: True).map(lambda k, v: (k, v)).map_values(lambda v: v, value=int).select_key(
        lambda k, v: "key", key=str
    ).to("out")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=int).pipe(1, key="k", timestamp_ms=7, headers=[("h", b"1")])
        assert driver.output("out", key=str, value=int).read() == Record("key", 1, 7, [("h", b"1")])


def test_time_may_come_from_the_record() -> None:
    builder = StreamsBuilder()
    builder.stream("in", key=str, value=int, timestamp=lambda record, time_ms: record.value).to("out")
    with TopologyTestDriver(builder.build()) as driver:
        numbers = driver.input("in", key=str, value=int)
        numbers.pipe(1234, key="k", timestamp_ms=7)
        numbers.pipe(-1, key="k", timestamp_ms=8)  # no time at all: left out
        assert [record.timestamp_ms for record in driver.output("out", key=str, value=int).read_all()] == [1234]
        assert driver.dropped == {("in-source", "no-timestamp"): 1}


def test_topics_without_events_must_say_how_they_are_written() -> None:
    with pytest.raises(TopologyError, match="how are its keys and values written"):
        StreamsBuilder().stream("in")  # type: ignore[call-overload]
    with pytest.raises(TopologyError, match="is no event"):
        StreamsBuilder().stream(int)
