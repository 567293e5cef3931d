"""Rows that have not changed for their time go, here and downstream; others stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ottla.errors import TopologyError
from ottla.streams import Materialized, Processor, ProcessorContext, Record, StreamsBuilder, tumbling
from ottla.testing import TopologyTestDriver

MINUTE = 60_000
HOUR = 60 * MINUTE
KEPT = Materialized("rows", ttl=timedelta(hours=1))


def table() -> StreamsBuilder:
    builder = StreamsBuilder()
    builder.table("in", key=str, value=str, store=KEPT).to_stream().to("out")
    return builder


def count(kept: Materialized) -> StreamsBuilder:
    builder = StreamsBuilder()
    builder.stream("in", key=str, value=str).group_by_key().count(store=kept).to_stream().to("out")
    return builder


def pairs(driver: TopologyTestDriver, value: Any) -> list[tuple[Any, Any]]:
    return [(record.key, record.value) for record in driver.output("out", key=str, value=value).read_all()]


def test_a_row_of_a_table_goes_when_it_has_not_changed_for_its_time() -> None:
    with TopologyTestDriver(table().build()) as driver:
        driver.input("in", key=str, value=str).pipe_all([("a", "1", 0), ("b", "2", 30 * MINUTE), ("c", "3", 2 * HOUR)])
        assert [key for key, _ in driver.store("rows").all()] == ["c"]
        assert pairs(driver, str) == [("a", "1"), ("b", "2"), ("c", "3"), ("a", None), ("b", None)]


def test_a_row_stays_for_its_time_after_its_last_change() -> None:
    with TopologyTestDriver(table().build()) as driver:
        driver.input("in", key=str, value=str).pipe_all(
            [("a", "1", 0), ("a", "2", 50 * MINUTE), ("b", "3", 110 * MINUTE - 1)]
        )
        assert driver.store("rows").get("a").value == "2"


@pytest.mark.parametrize("cached", [True, False])
def test_a_count_begins_anew_after_its_row_has_gone(cached: bool) -> None:
    with TopologyTestDriver(count(replace(KEPT, cached=cached)).build()) as driver:
        given = driver.input("in", key=str, value=str)
        given.pipe_all([("a", "x", 0), ("a", "x", 1), ("b", "x", 2 * HOUR)])
        assert ("a", None) in pairs(driver, int)
        given.pipe_all([("a", "x", 2 * HOUR)])
        assert driver.store("rows").get("a").value == 1


def test_what_downstream_made_of_a_row_goes_with_it() -> None:
    builder = StreamsBuilder()
    rows = builder.table("in", key=str, value=int, store=KEPT)
    rows.group_by(lambda key, value: ("all", value), key=str, value=int).reduce(
        lambda total, value: total + value, lambda total, value: total - value, store="totals"
    )
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=int).pipe_all([("a", 5, 0), ("b", 7, 2 * HOUR)])
        assert driver.store("totals").get("all").value == 7


class Keeps(Processor[str, str]):
    def init(self, context: ProcessorContext[Any, Any]) -> None:
        self.store = context.store("kept")

    def process(self, record: Record[str, str]) -> None:
        self.store.put(record.key, record.value, record.timestamp_ms)


def test_rows_of_a_processors_store_go_too() -> None:
    builder = StreamsBuilder()
    builder.add_store("kept", key=str, value=str, kind="timestamped", ttl=timedelta(hours=1))
    builder.stream("in", key=str, value=str).process(Keeps, stores=["kept"])
    with TopologyTestDriver(builder.build()) as driver:
        driver.input("in", key=str, value=str).pipe_all([("a", "1", 0), ("b", "2", 2 * HOUR)])
        assert [key for key, _ in driver.store("kept").all()] == ["b"]


def test_a_large_store_is_gone_through_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ottla.streams.operators.expiry.ROWS_MAX", 2)
    with TopologyTestDriver(table().build()) as driver:
        given = driver.input("in", key=str, value=str)
        given.pipe_all([(f"a{n}", "1", 0) for n in range(7)])
        for _ in range(5):
            given.pipe("2", key="b", timestamp_ms=2 * HOUR)
        assert [key for key, _ in driver.store("rows").all()] == ["b"]


def test_a_ttl_is_refused_where_it_has_no_meaning() -> None:
    builder = StreamsBuilder()
    hourly = builder.stream("in", key=str, value=int).group_by_key().windowed_by(tumbling(timedelta(hours=1)))
    with pytest.raises(TopologyError, match="have a retention"):
        hourly.count(store=KEPT)
    with pytest.raises(TopologyError, match="give the ttl to those"):
        builder.table("t", key=str, value=str).filter(lambda key, value: True, store=KEPT)
    with pytest.raises(TopologyError, match="at least 1 ms"):
        builder.add_store("s", key=str, value=str, kind="timestamped", ttl=timedelta(0))
