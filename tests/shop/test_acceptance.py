from __future__ import annotations

from collections.abc import Iterator

import pytest

from shop.events import OrderCancelled, OrderCreated, ShipmentDispatched, ShopEvent, StockLine
from shop.orders import acceptance, tables
from shop.orders.acceptance import Command, Contradiction, NothingToCancel, UnknownOrder
from shop.orders.domain import Invoice
from shop.store import Store
from tests.shop.harness import context, invoice, line, opened, rows


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with opened(tables.metadata, database_url) as store:
        yield store


def accept(store: Store, sent: Invoice) -> Command:
    with store.transaction() as tx:
        return acceptance.accept(tx, sent)


def cancel(store: Store, order_id: str) -> Command:
    with store.transaction() as tx:
        return acceptance.cancel(tx, order_id)


def cancelled(command: Command) -> OrderCancelled:
    assert isinstance(command.event, OrderCancelled)
    return command.event


def test_an_order_is_booked_with_its_event(store: Store) -> None:
    command = accept(store, invoice("1", line("A", 2, "2.50")))
    assert isinstance(command.event, OrderCreated)
    assert command.is_new
    [row] = rows(store, tables.commands)
    assert (row["command_id"], row["event_type"]) == (command.command_id, "OrderCreated")


def test_the_same_invoice_again_is_the_same_command(store: Store) -> None:
    first = accept(store, invoice("1", line("A", 2, "2.50")))
    again = accept(store, invoice("1", line("A", 2, "2.5")))
    assert (again.event, again.event_id, again.is_new) == (first.event, first.event_id, False)
    assert len(rows(store, tables.commands)) == 1


def test_the_same_number_with_other_content_contradicts(store: Store) -> None:
    accept(store, invoice("1", line("A", 2)))
    with pytest.raises(Contradiction, match="Invoice 1 was accepted before with other content"):
        accept(store, invoice("1", line("A", 3)))


def test_a_cancellation_takes_back_from_the_order_that_covers_it(store: Store) -> None:
    ordered = accept(store, invoice("1", line("A", 6), line("B", 2)))
    event = cancelled(accept(store, invoice("C2", line("A", -4))))
    assert event == OrderCancelled(ordered.event.order_id, "C2", "17850", [StockLine("A", 4)], whole=False)


def test_cancellations_that_take_back_all_end_with_the_whole_order(store: Store) -> None:
    accept(store, invoice("1", line("A", 3), line("A", 3), line("B", 2)))
    wholes = [
        cancelled(accept(store, invoice(number, taken))).whole
        for number, taken in (("C1", line("A", -4)), ("C2", line("B", -2)), ("C3", line("A", -2)))
    ]
    assert wholes == [False, False, True]


def test_what_was_taken_back_cannot_be_taken_back_again(store: Store) -> None:
    accept(store, invoice("1", line("A", 6)))
    accept(store, invoice("C1", line("A", -4)))
    with pytest.raises(NothingToCancel):
        accept(store, invoice("C2", line("A", -3)))


def test_a_repeated_cancellation_takes_back_once(store: Store) -> None:
    accept(store, invoice("1", line("A", 6)))
    assert accept(store, invoice("C1", line("A", -4))) == accept(store, invoice("C1", line("A", -4)))
    assert accept(store, invoice("C2", line("A", -2))).event.whole  # type: ignore[union-attr]


def test_the_newest_order_that_covers_it_is_meant(store: Store) -> None:
    accept(store, invoice("1", line("A", 6), at="2010-12-01 08:00"))
    middle = accept(store, invoice("2", line("A", 6), at="2010-12-02 08:00"))
    accept(store, invoice("3", line("A", 1), at="2010-12-03 08:00"))
    assert accept(store, invoice("C4", line("A", -5), at="2010-12-04 08:00")).event.order_id == middle.event.order_id


def test_an_order_of_a_later_date_is_not_meant(store: Store) -> None:
    accept(store, invoice("1", line("A", 6), at="2010-12-02 08:00"))
    with pytest.raises(NothingToCancel, match="has no order up to 2010-12-01 08:00"):
        accept(store, invoice("C2", line("A", -6), at="2010-12-01 08:00"))


def test_another_customers_order_is_not_meant(store: Store) -> None:
    accept(store, invoice("1", line("A", 6), customer="1"))
    with pytest.raises(NothingToCancel):
        accept(store, invoice("C2", line("A", -6), customer="2"))


def test_a_cancellation_of_several_orders_at_once_is_not_split(store: Store) -> None:
    accept(store, invoice("1", line("A", 3)))
    accept(store, invoice("2", line("A", 3)))
    with pytest.raises(NothingToCancel):
        accept(store, invoice("C3", line("A", -6)))


def test_a_refused_cancellation_is_not_booked_and_may_come_again_later(store: Store) -> None:
    with pytest.raises(NothingToCancel):
        accept(store, invoice("C2", line("A", -1)))
    accept(store, invoice("1", line("A", 1)))
    assert cancelled(accept(store, invoice("C2", line("A", -1)))).whole


def test_cancelling_an_order_takes_back_all_that_remains_of_it(store: Store) -> None:
    order_id = accept(store, invoice("1", line("A", 6), line("B", 2))).event.order_id
    accept(store, invoice("C1", line("A", -6)))
    assert cancelled(cancel(store, order_id)) == OrderCancelled(order_id, None, "17850", [StockLine("B", 2)], True)


def test_cancelling_an_order_again_is_the_same_command(store: Store) -> None:
    order_id = accept(store, invoice("1")).event.order_id
    assert cancel(store, order_id) == cancel(store, order_id)


def test_cancelling_an_unknown_order_is_refused(store: Store) -> None:
    accept(store, invoice("1", line("A", 2)))
    cancellation = accept(store, invoice("C1", line("A", -1)))
    for unknown in ("no-such-order", cancellation.command_id):
        with pytest.raises(UnknownOrder):
            cancel(store, unknown)


def test_an_order_that_was_taken_back_by_invoices_cannot_be_cancelled(store: Store) -> None:
    order_id = accept(store, invoice("1", line("A", 6))).event.order_id
    accept(store, invoice("C1", line("A", -6)))
    with pytest.raises(Contradiction, match="it is cancelled"):
        cancel(store, order_id)


def test_an_order_that_was_sent_cannot_be_cancelled(store: Store) -> None:
    order_id = accept(store, invoice("1")).event.order_id
    sent = ShipmentDispatched(order_id, "17850", "P")
    follow(store, sent)
    with pytest.raises(Contradiction, match="it is shipped"):
        cancel(store, order_id)


def follow(store: Store, event: ShopEvent) -> None:
    store.once([event], [context(event)], tables.project)
