"""Events declared by @event give topic, key and serde by themselves."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ottla.errors import StreamsFailed, TopologyError
from ottla.streams import Avg, Count, ErrorHandlers, Max, Min, StreamsBuilder, Sum
from ottla.streams.records import RawBatch, RawRecord
from ottla.testing import TopologyTestDriver
from tests.streams.events import OrderCancelled, OrderCreated, Totals, order


def totals() -> StreamsBuilder:
    builder = StreamsBuilder()
    table = (
        builder.stream(OrderCreated).group_by("customer_id", key=str).aggregate(Sum[Decimal]("total"), store="totals")
    )
    table.to_stream().to("totals")
    return builder


def test_an_event_class_names_its_topic_key_and_form() -> None:
    builder = StreamsBuilder()
    builder.stream(OrderCreated).filter(lambda key, value: value.total > 1).to("big")
    with TopologyTestDriver(builder.build()) as driver:
        orders = driver.input(OrderCreated)
        orders.pipe(order(1, total="2.00"))
        orders.pipe(order(2, total="0.50"))
        assert driver.output("big", key=str, value=OrderCreated).read_values() == [("o1", order(1, total="2.00"))]


def test_events_of_other_types_on_the_topic_are_none_of_the_stream() -> None:
    builder = StreamsBuilder()
    builder.stream(OrderCreated).to("created")
    builder.stream(OrderCancelled).to("cancelled")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input(OrderCreated).pipe(order(1))
        driver.input(OrderCancelled).pipe(OrderCancelled("o1", "late"))
        assert driver.output("created", key=str, value=OrderCreated).read_values() == [("o1", order(1))]
        cancelled = driver.output("cancelled", key=str, value=OrderCancelled).read_values()
        assert cancelled == [("o1", OrderCancelled("o1", "late"))]


def test_several_event_types_make_one_stream() -> None:
    builder = StreamsBuilder()
    builder.stream(OrderCreated, OrderCancelled).map_values(lambda event: type(event).__name__, value=str).to("names")
    with TopologyTestDriver(builder.build()) as driver:
        driver.input(OrderCreated).pipe(order(1))
        driver.input(OrderCancelled).pipe(OrderCancelled("o1", "late"))
        names = [value for _, value in driver.output("names", key=str, value=str).read_values()]
        assert names == ["OrderCreated", "OrderCancelled"]


def test_a_declared_sum_is_what_a_function_gives() -> None:
    with TopologyTestDriver(totals().build()) as driver:
        orders = driver.input(OrderCreated)
        for number in range(30):
            orders.pipe(order(number, f"c{number % 3}", f"{number}.10"))
        found = driver.output("totals", key=str, value=Decimal).read_table()
    expected = {f"c{c}": sum((Decimal(f"{n}.10") for n in range(30) if n % 3 == c), Decimal(0)) for c in range(3)}
    assert found == expected


def test_several_declared_aggregations_come_out_as_one_object() -> None:
    builder = StreamsBuilder()
    grouped = builder.stream(OrderCreated).group_by("customer_id", key=str)
    grouped.summarise(
        Totals,
        orders=Count(),
        total=Sum("total"),
        least=Min("total"),
        most=Max("total"),
        mean=Avg("total"),
        store="summaries",
    ).to_stream().to("summaries")
    grouped.aggregate(Avg[float]("quantity")).to_stream().to("mean", value=float)
    with TopologyTestDriver(builder.build()) as driver:
        orders = driver.input(OrderCreated)
        for total, quantity in (("1.00", 1), ("2.00", 2), ("6.00", 6)):
            orders.pipe(order(1, total=total, quantity=quantity))
        last = driver.output("summaries", key=str, value=Totals).read_all()[-1].value
        assert last == Totals(3, Decimal("9.00"), Decimal("1.00"), Decimal("6.00"), Decimal("3.00"))
        assert driver.output("mean", key=str, value=float).read_values()[-1] == ("c1", 3.0)


def test_a_field_that_is_none_does_not_count() -> None:
    builder = StreamsBuilder()
    builder.stream(OrderCreated).group_by("customer_id", key=str).aggregate(Max("note"), value=str).to_stream().to(
        "notes"
    )
    with TopologyTestDriver(builder.build()) as driver:
        orders = driver.input(OrderCreated)
        for note in (None, "a", None, "b"):
            orders.pipe(order(1, note=note))
        assert driver.output("notes", key=str, value=str).read_table() == {"c1": "b"}


def test_no_whole_event_is_built_where_fields_are_enough() -> None:
    """The source reads the two fields and passes the bytes on as they came."""
    with TopologyTestDriver(totals().build()) as driver:
        record = driver.input(OrderCreated).record(order(1))
        driver.pipe([record])
        (forwarded,) = driver.raw("test-orders-aggregate-by-key-repartition")
        assert (forwarded.key, forwarded.value) == (b"c1", record.value)
        source = driver._tasks[0]._operators[0]
        assert source._fields == ("customer_id",)  # type: ignore[attr-defined]


def test_a_batch_gives_what_one_record_after_another_gives() -> None:
    found = []
    for together in (False, True):
        with TopologyTestDriver(totals().build()) as driver:
            orders = driver.input(OrderCreated)
            records = [orders.record(order(n, f"c{n % 7}", f"{n}.00"), timestamp_ms=n) for n in range(100)]
            if together:
                driver.pipe_together(RawBatch.of(records))
            else:
                driver.pipe(records)
            out = driver.output("totals", key=str, value=Decimal)
            found.append((out.read_table(), sorted(driver.store("totals").all())))
    assert found[0] == found[1]


def test_one_key_changes_once_per_commit() -> None:
    with TopologyTestDriver(totals().build()) as driver:
        orders = driver.input(OrderCreated)
        driver.pipe_together(RawBatch.of([orders.record(order(n)) for n in range(100)]))
        assert len(driver.raw("totals")) == 1


@pytest.mark.parametrize("together", [False, True])
def test_one_poison_record_never_stops_a_partition(together: bool) -> None:
    with TopologyTestDriver(totals().build(), handlers=ErrorHandlers()) as driver:
        orders = driver.input(OrderCreated)
        good = [orders.record(order(n)) for n in range(3)]
        poison = RawRecord("orders", 0, 7, 5, b"k", b"\0\0\0\0\1rubbish", [("h", b"1")])
        unframed = RawRecord("orders", 0, 8, 5, b"k", b"?", [])
        records = [good[0], poison, good[1], unframed, good[2]]
        if together:
            driver.pipe_together(RawBatch.of(records))
        else:
            driver.pipe(records)
        assert driver.store("totals").get("c1").value == Decimal("3.00")
        letters = driver.raw("orders-dlq")
    assert [(letter.key, letter.value) for letter in letters] == [(b"k", poison.value), (b"k", b"?")]
    headers = dict(letters[0].headers)
    assert headers["h"] == b"1"
    assert headers["kafka_dlt-original-offset"] == (7).to_bytes(8, "big")
    assert headers["kafka_dlt-exception-fqcn"] == b"ottla.errors.DecodeError"


def test_a_record_that_cannot_be_read_fails_where_that_is_wanted() -> None:
    with (
        TopologyTestDriver(totals().build()) as driver,
        pytest.raises(StreamsFailed, match="topic orders, partition 0, offset 3") as failed,
    ):
        driver.pipe([RawRecord("orders", 0, 3, 5, b"k", b"?", [])])
    assert failed.value.offset == 3


def test_a_field_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(TopologyError, match=r"no field 'customer'; it has order_id, customer_id"):
        StreamsBuilder().stream(OrderCreated).group_by("customer").count()
