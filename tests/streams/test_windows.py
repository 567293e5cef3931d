"""Windows: late records, suppress with bounds, time that goes on after a restart, what leaves the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ottla.errors import StreamsFailed, TopologyError
from ottla.streams import (
    BufferBound,
    Count,
    Materialized,
    StreamsBuilder,
    Sum,
    Window,
    Windowed,
    hopping,
    session,
    sliding,
    tumbling,
    within,
)
from ottla.streams.dsl.grouped import GroupedStream
from ottla.streams.records import RawBatch
from ottla.testing import TopologyTestDriver
from tests.streams.events import OrderCreated, order


def ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)


def numbers(builder: StreamsBuilder) -> GroupedStream[str, int]:
    return builder.stream("in", key=str, value=int).group_by_key()


def pipe(driver: TopologyTestDriver, *times: int, key: str = "k") -> None:
    driver.input("in", key=str, value=int).pipe_all([(key, 1, time) for time in times])


@pytest.mark.parametrize(
    "windows", [tumbling(ms(10)), sliding(ms(10)), session(ms(10))], ids=lambda w: type(w).__name__
)
def test_late_records_are_counted_and_a_stream_of_their_own(windows: Any) -> None:
    builder = StreamsBuilder()
    windowed: Any = numbers(builder).windowed_by(windows)
    windowed.count(name="counts")
    windowed.late_records().to("late")
    with TopologyTestDriver(builder.build()) as driver:
        pipe(driver, 5, 100, 7, 101)
        late = driver.output("late", key=str, value=int).read_all()
        assert [record.timestamp_ms for record in late] == [7]
        assert driver.dropped[("counts", "late")] == 1


def test_late_records_of_nothing_are_refused() -> None:
    with pytest.raises(TopologyError, match="call count"):
        numbers(StreamsBuilder()).windowed_by(tumbling(ms(10))).late_records()


def test_a_window_says_when_it_is() -> None:
    builder = StreamsBuilder()
    table = numbers(builder).windowed_by(tumbling(ms(10))).count(store="counts")
    found: list[Any] = []
    table.to_stream().foreach(lambda key, value: found.append((key, value)))
    with TopologyTestDriver(builder.build()) as driver:
        pipe(driver, 12)
        assert driver.store("counts").fetch("k", 10).value == 1
        assert list(driver.store("counts").fetch_range("k", 0, 20)) == [(10, (1, 12))]
    assert found == [(Windowed("k", Window(10, 20)), 1)]
    assert found[0][0].window.start == datetime(1970, 1, 1, 0, 0, 0, 10_000, tzinfo=UTC)


def test_windows_leave_the_store_when_their_retention_has_passed() -> None:
    builder = StreamsBuilder()
    numbers(builder).windowed_by(tumbling(timedelta(minutes=1))).count(
        store=Materialized("counts", retention_ms=120_000)
    )
    with TopologyTestDriver(builder.build()) as driver:
        pipe(driver, *range(0, 3_600_000, 60_000))
        assert driver.store("counts").approximate_count() <= 4
        assert driver.store("counts").fetch("k", 0) is None
        assert driver.store("counts").fetch("k", 3_540_000).value == 1


def test_a_retention_shorter_than_the_windows_is_refused() -> None:
    with pytest.raises(TopologyError, match="a retention of 5 ms is shorter"):
        numbers(StreamsBuilder()).windowed_by(tumbling(ms(10))).count(store=Materialized("counts", retention_ms=5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tumbling(ms(0)), "at least 1 ms"),
        (lambda: hopping(ms(5), ms(6)), "would have no window"),
        (lambda: session(ms(0)), "at least 1 ms"),
        (lambda: within(ms(5), before=ms(-6)), "ends before it begins"),
        (lambda: tumbling(ms(5), grace=ms(-1)), "grace must be at least 0"),
    ],
)
def test_windows_that_make_no_sense_are_refused(make: Any, message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        make()


def test_a_full_buffer_stops_the_application_rather_than_break_its_promise() -> None:
    builder = StreamsBuilder()
    counts = numbers(builder).windowed_by(tumbling(ms(10))).count()
    counts.suppress_until_close(BufferBound(records=2, when_full="fail")).to_stream().to("out")
    with TopologyTestDriver(builder.build()) as driver:
        pipe(driver, 1, key="a")
        pipe(driver, 1, key="b")
        with pytest.raises(StreamsFailed, match=r"it holds 3 records.*its bound is 2 records"):
            pipe(driver, 1, key="c")


def test_a_full_buffer_lets_the_oldest_go_early_where_that_is_allowed() -> None:
    builder = StreamsBuilder()
    numbers(builder).count().suppress_for(timedelta(hours=1), BufferBound(bytes=100)).to_stream().to("out")
    with TopologyTestDriver(builder.build()) as driver:
        for key in ("a", "b", "c", "d"):
            pipe(driver, 1, key=key)
        assert [key for key, _ in driver.output("out", key=str, value=int).read_values()] == ["a", "b"]


def test_windows_until_close_may_not_go_early() -> None:
    counts = numbers(StreamsBuilder()).windowed_by(tumbling(ms(10))).count()
    with pytest.raises(TopologyError, match="would come twice"):
        counts.suppress_until_close(BufferBound(records=2))


def test_only_windowed_tables_wait_for_a_close() -> None:
    with pytest.raises(TopologyError, match="needs a windowed table"):
        numbers(StreamsBuilder()).count().suppress_until_close()


@pytest.mark.parametrize("windows", [tumbling(ms(10)), hopping(ms(10), ms(5)), sliding(ms(10)), session(ms(10))],
                         ids=["tumbling", "hopping", "sliding", "session"])  # fmt: skip
def test_declared_aggregations_run_in_every_kind_of_window(windows: Any) -> None:
    builder = StreamsBuilder()
    grouped: Any = builder.stream(OrderCreated).group_by_key().windowed_by(windows)
    declared = grouped.aggregate(Sum("quantity"), name="declared")
    written = (
        grouped.aggregate(lambda: 0, lambda k, v, n: n + v.quantity, lambda k, a, b: a + b, name="written")
        if windows == session(ms(10))
        else grouped.aggregate(lambda: 0, lambda k, v, n: n + v.quantity, name="written")
    )
    found: dict[str, dict[Any, Any]] = {"declared": {}, "written": {}}
    for name, table in (("declared", declared), ("written", written)):
        table.to_stream().foreach(lambda key, value, name=name: found[name].__setitem__(key, value))
    with TopologyTestDriver(builder.build()) as driver:
        orders = driver.input(OrderCreated)
        for number, time in enumerate((100, 103, 98, 109, 112, 125, 118)):
            orders.pipe(order(1, quantity=number + 1), timestamp_ms=time)
    assert found["declared"] == found["written"]
    assert len(found["declared"]) > 2


def test_a_batch_gives_the_windows_that_one_record_after_another_gives() -> None:
    found = []
    for together in (False, True):
        builder = StreamsBuilder()
        grouped = numbers(builder)
        grouped.windowed_by(hopping(ms(10), ms(5), grace=ms(20))).count(store="hops")
        grouped.windowed_by(session(ms(3), grace=ms(20))).count(store="sessions")
        grouped.windowed_by(sliding(ms(6), grace=ms(20))).count(store="slides")
        with TopologyTestDriver(builder.build()) as driver:
            topic = driver.input("in", key=str, value=int)
            records = [topic.record(1, key=f"k{n % 3}", timestamp_ms=n * 7 % 50 + n) for n in range(60)]
            if together:
                driver.pipe_together(RawBatch.of(records))
            else:
                driver.pipe(records)
            found.append([sorted(driver.store(name).all()) for name in ("hops", "sessions", "slides")])
    assert found[0] == found[1]


def test_on_close_gives_each_window_once() -> None:
    builder = StreamsBuilder()
    counts = numbers(builder).windowed_by(tumbling(ms(10), grace=ms(5))).on_close().count()
    found: list[Any] = []
    counts.to_stream().foreach(lambda key, value: found.append((key.window.start_ms, value)))
    with TopologyTestDriver(builder.build()) as driver:
        pipe(driver, 1, 2, 11, 9, 14, 15, 40)
    # Time jumps from 15 to 40: the second window comes out all the same (Kafka Streams would have forgotten it).
    assert found == [(0, 3), (10, 3)]


def test_declared_counts_need_no_field() -> None:
    builder = StreamsBuilder()
    builder.stream(OrderCreated).group_by_key().windowed_by(tumbling(ms(10))).aggregate(Count(), store="counts")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input(OrderCreated).pipe(order(1), timestamp_ms=3)
        assert driver.store("counts").fetch("o1", 0).value == 1


def test_declared_sums_in_a_batch_are_those_of_functions() -> None:
    """The quick way through a batch, with late records and windows that overlap, beside the long one."""
    found = []
    for declared in (True, False):
        builder = StreamsBuilder()
        grouped = builder.stream(OrderCreated).group_by_key().windowed_by(hopping(ms(20), ms(5), grace=ms(10)))
        if declared:
            grouped.aggregate(Sum("quantity"), store="sums", name="sums")
        else:
            grouped.aggregate(lambda: 0, lambda k, v, n: n + v.quantity, store="sums", name="sums")
        grouped.late_records().to("late")
        with TopologyTestDriver(builder.build()) as driver:
            topic = driver.input(OrderCreated)
            for start in (0, 100):
                records = [topic.record(order(n % 3, quantity=n), timestamp_ms=start + n * 13 % 60) for n in range(40)]
                driver.pipe_together(RawBatch.of(records))
            late = [record.offset for record in driver.raw("late")]
            found.append((list(driver.store("sums").all()), late, driver.dropped))
    assert found[0] == found[1]
    assert found[0][1]
