"""The order as an event-sourced aggregate: its rules, what is made of the services' events, and how it runs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from ottla import Envelope, KafkaSettings, RegistryClient, event_type
from ottla.events import envelope_headers
from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.processes import Command, HttpReady, Supervisor, python
from ottla.serde import Serializer
from ottla.streams import StreamsBuilder
from ottla.testing import EmbeddedBroker, EmbeddedRegistry, TopologyTestDriver, given
from ottla.testing.server import free_port
from shop.events import (
    ALL,
    InventoryReserved,
    OrderCancelled,
    PaymentAuthorized,
    ShipmentDispatched,
    ShopEvent,
    StockLine,
)
from shop.lifecycle.events import AdvanceOrder, OrderAdvanced, OrderPlaced, PiecesTakenBack, PlaceOrder, TakeBack
from shop.lifecycle.feed import commands_from_events
from shop.lifecycle.order import Order, orders
from tests.shop.harness import line, order
from tests.shop.running import EXAMPLES, eventually

SERVICE = "shop.lifecycle.service:api"
PLACE = PlaceOrder("o", "1", "17850", "France", Decimal("9.50"), 3)
PLACED = OrderPlaced("o", "1", "17850", "France", Decimal("9.50"), 3)
PAID = OrderAdvanced("o", "paid", "9.50")
BASE = Order("accepted", "1", "17850", "France", Decimal("9.50"), 3)


def test_an_order_is_placed_once() -> None:
    given(orders).when(PLACE).then(PLACED).then_state(BASE)
    given(orders, PLACED).when(PLACE).then()


def test_an_order_only_goes_forward() -> None:
    given(orders, PLACED).when(AdvanceOrder("o", "paid", "9.50")).then(PAID)
    given(orders, PLACED, PAID).when(AdvanceOrder("o", "reserved", "3 pieces set aside")).then()
    given(orders, PLACED, PAID).when(AdvanceOrder("o", "shipped", "parcel 1")).then(
        OrderAdvanced("o", "shipped", "parcel 1")
    )


def test_pieces_come_back_and_with_the_last_the_order_is_cancelled() -> None:
    given(orders, PLACED).when(TakeBack("o", 1, False)).then(PiecesTakenBack("o", 1))
    whole = given(orders, PLACED, PiecesTakenBack("o", 1)).when(TakeBack("o", 2, True))
    whole.then(PiecesTakenBack("o", 2), OrderAdvanced("o", "cancelled", "the whole order"))


def test_whoever_is_heard_first_the_order_comes_to_the_same() -> None:
    commands = [PLACE, AdvanceOrder("o", "reserved", "a"), AdvanceOrder("o", "paid", "b"), TakeBack("o", 3, True)]
    ends = []
    for sequence in itertools.permutations(commands):
        state: Order | None = None
        for command in sequence:
            state = orders.replay(orders.decide(state, command), state)
        ends.append(state)
    assert all(end == ends[0] for end in ends)
    assert (ends[0].status, ends[0].pieces, ends[0].total) == ("cancelled", 0, Decimal("9.50"))  # type: ignore[union-attr]


def test_each_event_of_the_services_is_a_command_that_keeps_its_id() -> None:
    builder = StreamsBuilder()
    commands_from_events(builder)
    with TopologyTestDriver(builder.build()) as driver:
        header: list[tuple[str, bytes | None]] = [("ce_id", b"event-1")]
        driver.input(OrderCancelled).pipe(OrderCancelled("o", None, "1", [StockLine("A", 2)], True), headers=header)
        [command] = driver.output(TakeBack).read_all()
        assert (command.key, command.value, command.headers) == ("o", TakeBack("o", 2, True), header)
        driver.input(PaymentAuthorized).pipe(PaymentAuthorized("o", "1", Decimal("9.5")))
        assert driver.output(AdvanceOrder).read().value == AdvanceOrder("o", "paid", "9.50")


# --- as it runs


class Life:
    """A broker, a registry and the service as a process of its own."""

    def __init__(self, folder: Path, broker: EmbeddedBroker, registry: EmbeddedRegistry) -> None:
        self.port = free_port()
        self.kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
        self.client = RegistryClient(registry.url)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self.supervisor = Supervisor(folder / "logs")
        self.command = Command(
            "lifecycle",
            python("-m", "ottla.cli", "run", SERVICE, "--app-dir", str(EXAMPLES), "--port", str(self.port)),
            env={
                "OTTLA_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
                "OTTLA_REGISTRY__URL": registry.url,
                "OTTLA_STREAMS__STATE_DIR": str(folder / "state"),
            },
            ready=HttpReady(f"http://127.0.0.1:{self.port}/health/ready"),
        )
        Admin(self.kafka).ensure_topics({event_type(cls).topic: 3 for cls in (*orders.events, *orders.commands, *ALL)})

    def publish(self, events: list[ShopEvent]) -> None:
        """Events as the services publish them, with ids; the same events have the same."""
        producer, serializer = Producer(self.kafka), Serializer(self.client)
        for event in events:
            kind = event_type(event)
            event_id = f"{kind.name} {event.order_id}"
            moment = datetime(2010, 12, 1, tzinfo=UTC)
            envelope = Envelope(event_id, kind.name, "/test", moment, event.order_id, None)
            value = serializer.encode(event, kind.topic)
            producer.send(kind.topic, value, key=kind.key_of(event), headers=[*envelope_headers(envelope)])
        assert producer.close(60) == 0

    def get(self, path: str) -> Any:
        answer = self.http.get(path)
        return answer.json() if answer.status_code == 200 else None

    def stop(self) -> None:
        self.http.close()
        self.supervisor.stop_all()
        self.client.close()


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    with EmbeddedBroker() as broker, EmbeddedRegistry(broker.bootstrap_servers) as registry:
        life = Life(tmp_path, broker, registry)
        try:
            yield life
        finally:
            life.stop()


def test_orders_stand_as_their_history_says_also_after_a_kill_and_when_all_is_said_twice(life: Life) -> None:
    taken = [order(str(number), line(quantity=number + 1), customer=f"c-{number}") for number in range(30)]
    said: list[ShopEvent] = [*taken]
    said += [InventoryReserved(one.order_id, one.customer_id, [], one.total) for one in taken]
    said += [PaymentAuthorized(one.order_id, one.customer_id, one.total) for one in taken]
    said += [ShipmentDispatched(one.order_id, one.customer_id, "P-1") for one in taken[:20]]
    said += [OrderCancelled(one.order_id, None, one.customer_id, [StockLine("A", 1)], False) for one in taken[:10]]
    life.publish(said[:70])
    life.supervisor.start(life.command)
    life.supervisor.wait_ready(timeout_s=60)
    eventually(lambda: life.get(f"/orders/{taken[9].order_id}"), what="an order", within_s=60)
    life.supervisor.kill("lifecycle")
    life.publish(said)
    life.supervisor.start(life.command)
    life.supervisor.wait_ready(timeout_s=60)
    for number, one in enumerate(taken):
        status, pieces = ("shipped" if number < 20 else "paid"), number + 1 - (number < 10)
        stands = eventually(lambda: as_wanted(life, one.order_id, status, pieces), what="the end", within_s=60)  # noqa: B023
        assert (stands["invoice_no"], stands["customer_id"], stands["total"]) == (
            one.invoice_no,
            one.customer_id,
            f"{one.total:.2f}",
        )
        history = life.get(f"/orders/{one.order_id}/history")
        assert [change["version"] for change in history] == list(range(1, stands["version"] + 1))
        assert (history[-1]["status"], history[-1]["pieces"]) == (status, pieces)
        kinds = Counter((change["event"], change["content"].get("status")) for change in history)
        assert max(kinds.values()) == 1, history
        assert ("OrderPlaced", None) in kinds
    assert life.http.get("/orders/nonsense").status_code == 404
    assert life.http.get("/orders/nonsense/history").status_code == 404


def as_wanted(life: Life, order_id: str, status: str, pieces: int) -> Any:
    stands = life.get(f"/orders/{order_id}")
    return stands if stands and (stands["status"], stands["pieces"]) == (status, pieces) else None
