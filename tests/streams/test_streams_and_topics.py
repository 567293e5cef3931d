"""Steps whose effect is outside the stream, and how records reach topics."""

from __future__ import annotations

import pytest

from ottla.errors import TopologyError
from ottla.streams import Materialized, Record, Serde, StreamsBuilder
from ottla.streams.serdes import PlainSerde
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


def backwards(name: str) -> Serde[str]:
    return PlainSerde(name, lambda text: text[::-1].encode(), lambda data: data.decode()[::-1])


def test_keys_and_values_are_written_as_the_sink_says_and_not_as_they_were_read() -> None:
    builder = StreamsBuilder()
    builder.stream("in", key=str, value=str).to("out", key=backwards("key"), value=backwards("value"))
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=str).pipe("value", key="key")
        assert [(record.key, record.value) for record in driver.raw("out")] == [(b"yek", b"eulav")]


def test_streams_that_are_written_differently_meet_under_the_same_key() -> None:
    builder = StreamsBuilder()
    other = builder.stream("other", key=backwards("key"), value=backwards("value"))
    merged = builder.stream("in", key=str, value=str).merge(other)
    merged.group_by_key().count(store="counts")
    merged.to_table(store="rows")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=str).pipe("v1", key="key")
        driver.input("other", key=backwards("key"), value=backwards("value")).pipe("v2", key="key")
        assert [(key, held.value) for key, held in driver.store("counts").all()] == [("key", 2)]
        assert [(key, held.value) for key, held in driver.store("rows").all()] == [("key", "v2")]


def test_a_table_is_kept_as_it_says_and_not_as_its_stream_was_read() -> None:
    builder = StreamsBuilder()
    stream = builder.stream("in", key=str, value=str)
    stream.to_table(store=Materialized("rows", value=backwards("value"))).to_stream().to("out", value=str)
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=str).pipe("value", key="key")
        assert driver.store("rows").get("key").value == "value"
        assert next(driver.store("rows").bytes.range())[1].endswith(b"eulav")


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
