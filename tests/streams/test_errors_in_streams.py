"""A failure concerns one record: it is left out, stops the application, or becomes a dead letter."""

from __future__ import annotations

import struct

import pytest

from ottla.errors import StreamsFailed
from ottla.listeners import deadletter
from ottla.streams import ErrorHandlers, Failure, StreamsBuilder
from ottla.streams.dead_letter import dead_letter_headers
from ottla.streams.records import RawRecord
from ottla.testing import TopologyTestDriver


def half(value: int) -> int:
    if value % 2:
        raise ValueError(f"{value} is odd")
    return value // 2


def halves() -> StreamsBuilder:
    builder = StreamsBuilder()
    builder.stream("numbers", key=str, value=int).map_values(half).to("halves")
    return builder


def test_a_failed_record_is_left_out_and_counted() -> None:
    with TopologyTestDriver(halves().build(), handlers=ErrorHandlers(processing="continue")) as driver:
        driver.input("numbers", key=str, value=int).pipe_all([("a", 2, 0), ("a", 3, 0), ("a", 4, 0)])
        assert [value for _, value in driver.output("halves", key=str, value=int).read_values()] == [1, 2]
        assert driver.dropped == {("numbers-map-values", "failed"): 1}


def test_nothing_is_called_twice_for_a_record_when_another_fails() -> None:
    from ottla.streams.records import RawBatch

    seen: list[int] = []

    def watched(value: int) -> int:
        seen.append(value)
        return half(value)

    builder = StreamsBuilder()
    builder.stream("numbers", key=str, value=int).map_values(watched).to("halves")
    with TopologyTestDriver(builder.build(), handlers=ErrorHandlers(processing="continue")) as driver:
        numbers = driver.input("numbers", key=str, value=int)
        driver.pipe_together(RawBatch.of([numbers.record(n, key="a") for n in (2, 3, 5, 4, 7)]))
        assert [value for _, value in driver.output("halves", key=str, value=int).read_values()] == [1, 2]
    assert seen == [2, 3, 5, 4, 7]


def test_a_failed_record_stops_the_application_and_says_where() -> None:
    with TopologyTestDriver(halves().build(), handlers=ErrorHandlers(processing="fail")) as driver:
        numbers = driver.input("numbers", key=str, value=int)
        numbers.pipe(2, key="a")
        with pytest.raises(StreamsFailed, match=r"numbers-map-values.*3 is odd.*topic numbers, partition 0, offset 1"):
            numbers.pipe(3, key="a")


def test_a_failed_record_becomes_a_dead_letter() -> None:
    with TopologyTestDriver(halves().build(), handlers=ErrorHandlers()) as driver:
        driver.input("numbers", key=str, value=int).pipe(3, key="a")
        (letter,) = driver.raw("numbers-dlq")
    assert (letter.key, letter.value) == (b"a", struct.pack(">q", 3))
    headers = dict(letter.headers)
    assert headers["kafka_dlt-exception-message"] == b"3 is odd"
    assert headers["kafka_dlt-original-topic"] == b"numbers"
    assert headers["ottla-handler"] == b"numbers-map-values"


def test_a_handler_may_decide_for_each_failure() -> None:
    failures: list[Failure] = []

    def decide(failure: Failure) -> str:
        failures.append(failure)
        return "continue"

    with TopologyTestDriver(halves().build(), handlers=ErrorHandlers(processing=decide)) as driver:  # type: ignore[arg-type]
        driver.input("numbers", key=str, value=int).pipe(3, key="a")
    (failure,) = failures
    assert (failure.stage, failure.operator, type(failure.error)) == ("processing", "numbers-map-values", ValueError)
    assert failure.record is not None
    assert failure.record.key == b"a"


def test_what_cannot_be_written_is_a_production_failure() -> None:
    builder = StreamsBuilder()
    builder.stream("numbers", key=str, value=int).map_values(lambda n: "text" if n == 3 else n, value=int).to("out")
    with TopologyTestDriver(builder.build(), handlers=ErrorHandlers(production="continue")) as driver:
        driver.input("numbers", key=str, value=int).pipe_all([("a", 2, 0), ("b", 3, 0), ("c", 4, 0)])
        assert driver.output("out", key=str, value=int).read_values() == [("a", 2), ("c", 4)]


class _Message:
    """The record as the listeners see it."""

    def __init__(self, record: RawRecord) -> None:
        self.record = record

    def topic(self) -> str:
        return self.record.topic

    def partition(self) -> int:
        return self.record.partition

    def offset(self) -> int:
        return self.record.offset

    def key(self) -> bytes | None:
        return self.record.key

    def value(self) -> bytes | None:
        return self.record.value

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self.record.headers

    def timestamp(self) -> tuple[int, int]:
        return 1, self.record.timestamp_ms


def test_dead_letters_carry_the_headers_that_those_of_listeners_carry() -> None:
    record = RawRecord("orders", 2, 17, 1234, b"k", b"v", [("own", b"1")])
    try:
        raise ValueError("no") from KeyError("why")
    except ValueError as caught:
        error = caught
    ours = dead_letter_headers(record, Failure("processing", "count", error, record), application_id="totals")
    theirs = deadletter.dead_letter_headers(
        _Message(record),
        error,
        group="totals",
        service="totals",
        handler="count",
        attempts=1,
        event_id="orders-2-17",
    )
    assert ours == theirs


def test_a_record_that_cannot_be_read_is_left_out_and_counted_where_that_is_wanted() -> None:
    with TopologyTestDriver(halves().build(), handlers=ErrorHandlers(decode="continue")) as driver:
        numbers = driver.input("numbers", key=str, value=int)
        driver.pipe([numbers.record(2, key="a"), RawRecord("numbers", 0, 1, 0, b"a", b"no number")])
        numbers.pipe(4, key="a")
        assert [value for _, value in driver.output("halves", key=str, value=int).read_values()] == [1, 2]
        assert driver.dropped == {("numbers-source", "undecodable"): 1}
        assert driver.raw("numbers-dlq") == []


def test_of_what_cannot_be_written_the_input_becomes_a_dead_letter() -> None:
    builder = StreamsBuilder()
    builder.stream("numbers", key=str, value=int).map_values(lambda n: "text" if n == 3 else n, value=int).to("out")
    with TopologyTestDriver(builder.build(), handlers=ErrorHandlers(production="dead-letter")) as driver:
        driver.input("numbers", key=str, value=int).pipe_all([("a", 2, 0), ("b", 3, 0), ("c", 4, 0)])
        assert driver.output("out", key=str, value=int).read_values() == [("a", 2), ("c", 4)]
        (letter,) = driver.raw("numbers-dlq")
    assert (letter.key, letter.value) == (b"b", struct.pack(">q", 3))
    assert dict(letter.headers)["ottla-handler"] == b"numbers-to"
