"""Declared aggregations on columns: a batch comes to what its records come to one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.streams import Avg, Count, ErrorHandlers, Max, Min, StreamsBuilder, Sum, tumbling
from ottla.streams.aggregates import ON_COLUMNS, Aggregate
from ottla.streams.records import RawBatch
from ottla.streams.serdes import PlainSerde
from ottla.testing import TopologyTestDriver


class Reading(msgspec.Struct):
    amount: float | str | None


class Summary(msgspec.Struct):
    count: int
    least: float | None
    mean: float | None


READING: PlainSerde[Reading] = PlainSerde("reading", msgspec.json.encode, msgspec.json.Decoder(Reading).decode)
ANYTHING: PlainSerde[Any] = PlainSerde("json", msgspec.json.encode, msgspec.json.decode)

Grouped = Any
amounts = st.one_of(st.floats(-1e6, 1e6), st.none())
readings = st.lists(st.tuples(st.sampled_from("abc"), amounts, st.integers(0, 5_000)), min_size=1, max_size=40)


def summarised(grouped: Grouped) -> Any:
    parts = {"count": Count(), "least": Min("amount"), "mean": Avg("amount")}
    return grouped.summarise(Summary, **parts, store="held")


def aggregated(aggregate: Aggregate[Any]) -> Callable[[Grouped], Any]:
    return lambda grouped: grouped.aggregate(aggregate, store="held", value=ANYTHING)


def held(build: Callable[[Grouped], Any], given_: list[tuple[str, Any, int]], *, windowed: bool, together: bool) -> Any:
    """What the store holds after all records, and what was dropped."""
    builder = StreamsBuilder()
    grouped: Any = builder.stream("in", key=str, value=READING).group_by_key()
    build(grouped.windowed_by(tumbling(timedelta(seconds=1), grace=timedelta(seconds=2))) if windowed else grouped)
    with TopologyTestDriver(builder.build(), handlers=ErrorHandlers(processing="continue")) as driver:
        for batch in [given_] if together else [[one] for one in given_]:
            keys = [key.encode() for key, _, _ in batch]
            values = [msgspec.json.encode(Reading(amount)) for _, amount, _ in batch]
            driver.pipe_together(RawBatch("in", 0, range(len(batch)), [time for _, _, time in batch], keys, values))
        return list(driver.store("held").all()), dict(driver.dropped)


WAYS = {
    type(one).__name__: aggregated(one) for one in (Sum("amount"), Min("amount"), Max("amount"), Avg("amount"), Count())
}
WAYS["summary"] = summarised


@pytest.mark.parametrize("windowed", [False, True], ids=["by key", "by window"])
@pytest.mark.parametrize("way", WAYS)
@given(records=readings)
@settings(max_examples=30, deadline=None)
def test_a_batch_comes_to_what_its_records_come_to_one_by_one(
    way: str, windowed: bool, records: list[tuple[str, Any, int]]
) -> None:
    build = WAYS[way]
    assert held(build, records, windowed=windowed, together=True) == held(
        build, records, windowed=windowed, together=False
    )


@pytest.mark.parametrize("windowed", [False, True], ids=["by key", "by window"])
def test_a_record_that_cannot_be_added_is_left_out_by_itself(windowed: bool) -> None:
    records = [("a", 1.0, 0), ("a", "x", 1), ("a", 2.0, 2), ("b", 4.0, 3), ("a", 3.0, 4), ("a", 5.0, 5)]
    found, dropped = held(aggregated(Max("amount")), records, windowed=windowed, together=True)
    assert [stamped.value for _, stamped in found] == [5.0, 4.0]
    assert sum(dropped.values()) == 1


@pytest.mark.parametrize("kind", sorted(ON_COLUMNS - {Count}, key=str), ids=lambda kind: kind.__name__)
def test_many_items_come_to_what_they_come_to_one_by_one(kind: Any) -> None:
    aggregate = kind("amount")
    items = [0.1, 0.2, float("nan"), 0.3, 1e16, 1.0, -1e16]

    def steps(state: Any) -> Iterator[Any]:
        for item in items:
            state = aggregate.first(item) if state is None else aggregate.step(state, item)
            yield state

    for state in (None, aggregate.first(0.7)):
        *_, last = steps(state)
        assert repr(aggregate.many(state, items)) == repr(last)
