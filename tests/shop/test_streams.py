"""The shop's streams on real orders, against answers worked out by SQL from the file, to the cent."""

from __future__ import annotations

import asyncio
import lzma
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ottla import (
    KafkaSettings,
    RegistryClient,
    RegistrySettings,
    Settings,
    StreamsApp,
    StreamsSettings,
    event_type,
)
from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.kafka.reader import read_topic
from ottla.serde import Deserializer, Serializer
from ottla.streams import StreamsBuilder
from ottla.testing import EmbeddedBroker, EmbeddedRegistry, TopologyTestDriver
from shop.events import InventoryReserved, OrderCancelled, OrderCreated, PaymentAuthorized, PaymentDeclined, StockLine
from shop.inventory.domain import NOT_STOCKED, SHELF
from shop.invoices import read_invoices
from shop.orders import domain
from shop.orders.bodies import NewInvoice
from shop.payments import domain as payments
from shop.streams import service
from shop.streams.dates import by_invoice_date
from shop.streams.fraud import fraud_hints
from shop.streams.results import CustomerTotal, FraudHint, HourlyRevenue, OrderSettled
from shop.streams.revenue import hourly_revenue
from tests.shop.harness import invoice
from tests.shop.known_answers import KnownAnswers

# Half a million lines are read, and 15,000 orders go through: on a busy machine that takes its time.
pytestmark = pytest.mark.timeout(900)

FILE = Path(__file__).parent / "data" / "orders-2010-12-to-2011-10.csv.xz"
FIRST_MONTH_ENDS = "2011-01-01"
PATIENCE_S = 120.0
RESULTS: tuple[type, ...] = (CustomerTotal, HourlyRevenue, FraudHint, OrderSettled)
T = TypeVar("T")
# Of December 2010.
LATE_ORDER = domain.created(invoice("the-last", customer="nobody"))


class Eleven:
    """The months: their orders as the shop takes them, and the answers."""

    def __init__(self, folder: Path) -> None:
        self.csv = folder / "orders.csv"
        self.csv.write_bytes(lzma.decompress(FILE.read_bytes()))
        self.orders = [order for one in read_invoices(self.csv) if (order := placed(one.body())) is not None]

    def answers(self, until: str = "9999") -> KnownAnswers:
        with self.csv.open(encoding="utf-8", newline="") as lines:
            return KnownAnswers(lines, until)


def placed(body: dict[str, Any]) -> OrderCreated | None:
    """What the orders service makes of an invoice, if it takes it."""
    if body["invoice_no"].startswith("C") or body["customer_id"] is None:
        return None
    try:
        return domain.created(NewInvoice(**body).invoice())
    except ValueError:
        return None


def payment(order: OrderCreated) -> PaymentAuthorized | PaymentDeclined | None:
    """What payments says of an order, if inventory asks for its payment."""
    wanted = domain.pieces(order.lines)
    if any(count > SHELF and code not in NOT_STOCKED for code, count in wanted.items()):
        return None
    lines = [StockLine(code, count) for code, count in wanted.items()]
    reserved = InventoryReserved(order.order_id, order.customer_id, lines, order.total)
    return payments.decision(reserved, payments.reason_to_decline(order.total))


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Eleven:
    return Eleven(tmp_path_factory.mktemp("months"))


@pytest.fixture(scope="module")
def answers(months: Eleven) -> Iterator[KnownAnswers]:
    known = months.answers()
    yield known
    known.close()


@pytest.fixture(scope="module")
def driver(months: Eleven) -> Iterator[TopologyTestDriver]:
    """The service's topology after eleven months, each order a second before its payment."""
    with TopologyTestDriver(service.builder.build()) as driver:
        orders = driver.input(OrderCreated)
        paid = {cls: driver.input(cls) for cls in (PaymentAuthorized, PaymentDeclined)}
        for order in months.orders:
            now_ms = round(order.invoice_date.timestamp() * 1000)
            orders.pipe(order, timestamp_ms=now_ms)
            answer = payment(order)
            if answer is not None:
                paid[type(answer)].pipe(answer, timestamp_ms=now_ms + 1000)
        # Half a day later: time goes on for those whose payment never came.
        orders.pipe(LATE_ORDER, timestamp_ms=now_ms + 43_200_000)
        yield driver


def test_the_answers_are_those_of_eleven_months(answers: KnownAnswers) -> None:
    assert len(answers.orders) == 15_078
    assert len(answers.totals()) == 3_971
    assert sum(total for _, total in answers.totals().values()) == Decimal("7219250.374")
    assert len(answers.fraud()) == 13


def test_the_shop_takes_the_orders_that_the_answers_are_of(months: Eleven, answers: KnownAnswers) -> None:
    assert {order.invoice_no for order in months.orders} == answers.orders


def test_every_customers_total_is_that_of_the_file(driver: TopologyTestDriver, answers: KnownAnswers) -> None:
    expected = answers.totals() | {"nobody": (1, Decimal(1))}
    told = driver.output(CustomerTotal).read_table()
    assert {customer: (one.orders, one.total) for customer, one in told.items()} == expected
    store = driver.store("customer-totals")
    assert {customer: tuple(store.get(customer).value) for customer in expected} == expected


def test_revenue_per_country_and_hour_is_that_of_the_file(driver: TopologyTestDriver, answers: KnownAnswers) -> None:
    records = driver.output(HourlyRevenue).read_all()
    # Told by the clock: a broker would forget at once what bears the date of an old order.
    assert {record.timestamp_ms for record in records} == {driver.now_ms}
    told = {(record.value.country, record.value.hour): record.value for record in records}
    assert {place: (one.orders, one.revenue) for place, one in told.items()} == answers.revenue()


def test_an_order_more_than_a_month_late_is_set_aside(driver: TopologyTestDriver) -> None:
    late = driver.output("late-orders", key=str, value=OrderCreated)
    assert late.read_values() == [("United Kingdom", LATE_ORDER)]


def test_customers_with_more_than_five_orders_in_an_hour_are_hinted_at(
    driver: TopologyTestDriver, answers: KnownAnswers
) -> None:
    told = {(one.customer_id, one.until): one for _, one in driver.output(FraudHint).read_values()}
    assert {place: (one.orders, one.since, one.total) for place, one in told.items()} == answers.fraud()


def test_every_order_is_settled_as_the_file_says(
    driver: TopologyTestDriver, months: Eleven, answers: KnownAnswers
) -> None:
    numbers = {order.order_id: order.invoice_no for order in months.orders}
    told = driver.output(OrderSettled).read_values()
    settled = {numbers[order_id]: one for order_id, one in told}
    assert len(told) == len(settled)
    assert {
        number: (one.customer_id, one.country, one.total, one.outcome) for number, one in settled.items()
    } == answers.settled()
    assert all(one.amount == (one.total if one.outcome == "paid" else 0) for one in settled.values())


def test_a_settled_order_shows_what_its_customer_has_ordered_by_then(months: Eleven) -> None:
    with TopologyTestDriver(service.builder.build()) as driver:
        orders, paid = driver.input(OrderCreated), driver.input(PaymentAuthorized)
        settled = driver.output(OrderSettled)
        so_far: dict[str, list[Decimal]] = {}
        for order in months.orders[:200]:
            so_far.setdefault(order.customer_id, []).append(order.total)
            orders.pipe(order, timestamp_ms=0)
            paid.pipe(PaymentAuthorized(order.order_id, order.customer_id, order.total), timestamp_ms=1)
            one = settled.read().value
            totals = so_far[order.customer_id]
            assert (one.order_id, one.customer_orders, one.customer_total) == (order.order_id, len(totals), sum(totals))


def test_an_order_and_a_payment_that_are_published_twice_count_once() -> None:
    order = domain.created(invoice("1", customer="twice"))
    paid = PaymentAuthorized(order.order_id, "twice", order.total)
    with TopologyTestDriver(service.builder.build()) as driver:
        for _ in range(2):
            driver.input(OrderCreated).pipe(order, timestamp_ms=0)
            driver.input(PaymentAuthorized).pipe(paid, timestamp_ms=1)
        assert driver.output(CustomerTotal).read_values() == [("twice", CustomerTotal("twice", 1, order.total))]
        assert [one.outcome for _, one in driver.output(OrderSettled).read_values()] == ["paid"]


def test_an_order_that_comes_late_corrects_its_hour_and_the_hint() -> None:
    builder = StreamsBuilder()
    dated = by_invoice_date(builder.stream(OrderCreated))
    hourly_revenue(dated)
    fraud_hints(dated)
    placed = [domain.created(invoice(str(minute), at=f"2010-12-01 10:{minute:02}")) for minute in range(10, 17)]
    with TopologyTestDriver(builder.build()) as driver:
        orders, hints, revenue = driver.input(OrderCreated), driver.output(FraudHint), driver.output(HourlyRevenue)
        for order in (*placed[1:], domain.created(invoice("x", customer="other", at="2010-12-31 12:00"))):
            orders.pipe(order)
        assert [one.orders for _, one in hints.read_values()] == [6]
        assert revenue.read_all()[-2].value.orders == 6
        orders.pipe(placed[0])
        first = placed[0].invoice_date
        assert {(one.orders, one.since, one.until) for _, one in hints.read_values()} == {
            (6, first, placed[-2].invoice_date),
            (7, first, placed[-1].invoice_date),
        }
        assert revenue.read().value.orders == 7


# --- as it runs


async def test_a_month_through_a_broker_comes_to_the_same_also_after_a_restart(months: Eleven, tmp_path: Path) -> None:
    known = months.answers(FIRST_MONTH_ENDS)
    orders = [order for order in months.orders if order.invoice_no in known.orders]
    assert len(orders) == 1_397
    half = len(orders) // 2
    with EmbeddedBroker() as broker, EmbeddedRegistry(broker.bootstrap_servers) as registry:
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers, topic_partitions=3),
            registry=RegistrySettings(url=registry.url),
            streams=StreamsSettings(state_dir=str(tmp_path / "state")),
        )
        topics = Topics(settings)
        topics.write(orders[:half])
        async with StreamsApp("streams", service.builder, settings=settings, exactly_once=True).running():
            await topics.until(orders[:half])
        topics.write(orders[half:])
        async with StreamsApp("streams", service.builder, settings=settings, exactly_once=True).running() as app:
            await topics.until(orders)
            store = app.queries.store("customer-totals")
            kept = await asyncio.to_thread(lambda: {customer: one.value for customer, one in store.range(limit=10_000)})
        assert {customer: (orders, total) for customer, (orders, total) in kept.items()} == known.totals()
        expect(topics, known, {order.order_id: order.invoice_no for order in orders})
    known.close()


class Topics:
    """What goes in, and what others see come out: committed records."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        registry = RegistryClient(settings.registry.url)
        self._serializer, self._deserializer = Serializer(registry), Deserializer(registry)
        Admin(settings.kafka).ensure_topics(
            {"order-events": 3, "payment-events": 3, **{event_type(cls).topic: 3 for cls in RESULTS}}
        )

    def write(self, orders: list[OrderCreated]) -> None:
        """Orders and their payments, among other events of the same topics that are not of the streams' concern."""
        producer = Producer(self._settings.kafka)
        for order in orders:
            cancelled = OrderCancelled(order.order_id, None, order.customer_id, [], False)
            for event in (order, cancelled, payment(order)):
                if event is not None:
                    topic = event_type(event).topic
                    producer.send(topic, self._serializer.encode(event, topic), key=order.order_id.encode())
        assert producer.close(PATIENCE_S) == 0

    def read(self, cls: type[T]) -> list[T]:
        """All events of a class."""
        records = read_topic(self._settings.kafka, event_type(cls).topic)
        return [self._deserializer.decode(record.value or b"", cls) for record in records]

    async def until(self, orders: list[OrderCreated]) -> None:
        """Waits until so many orders are in all results."""
        deadline = time.monotonic() + PATIENCE_S
        paid = sum(payment(order) is not None for order in orders)
        while (found := await asyncio.to_thread(self._counts)) != (len(orders), len(orders), paid):
            assert time.monotonic() < deadline, f"of {len(orders)} orders, {paid} paid, only {found} came out"
            await asyncio.sleep(0.1)

    def _counts(self) -> tuple[int, int, int]:
        totals = {one.customer_id: one.orders for one in self.read(CustomerTotal)}
        hours = {(one.country, one.hour): one.orders for one in self.read(HourlyRevenue)}
        return sum(totals.values()), sum(hours.values()), len(self.read(OrderSettled))


def expect(topics: Topics, known: KnownAnswers, numbers: dict[str, str]) -> None:
    """What came out is what the file says."""
    totals: dict[str, list[CustomerTotal]] = {}
    for one in topics.read(CustomerTotal):
        totals.setdefault(one.customer_id, []).append(one)
    # Some totals are not told: a commit tells the last one of each customer. None is told twice, none goes back.
    for told in totals.values():
        counts = [one.orders for one in told]
        assert counts == sorted(set(counts))
    assert {customer: (told[-1].orders, told[-1].total) for customer, told in totals.items()} == known.totals()
    hours = {(one.country, one.hour): (one.orders, one.revenue) for one in topics.read(HourlyRevenue)}
    assert hours == known.revenue()
    hints = {(one.customer_id, one.until): (one.orders, one.since, one.total) for one in topics.read(FraudHint)}
    assert hints == known.fraud()
    told_once = topics.read(OrderSettled)
    settled = {numbers[one.order_id]: (one.customer_id, one.country, one.total, one.outcome) for one in told_once}
    assert len(told_once) == len(settled)
    assert settled == {number: one for number, one in known.settled().items() if one[3] != "unpaid"}
