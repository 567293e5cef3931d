"""Rows and commands as the API shows them."""

from __future__ import annotations

from datetime import UTC
from typing import Any, cast

from sqlalchemy.engine import Connection, Row

from shop.events import OrderCreated
from shop.money import amount
from shop.orders import acceptance, tables
from shop.orders.bodies import Accepted, HistoryEntry, OrderDetails, OrderPage, OrderSummary, Status
from shop.orders.domain import Progress


def accepted(command: acceptance.Command) -> Accepted:
    """The answer to a command that was carried out."""
    return Accepted(
        order_id=command.event.order_id,
        invoice_no=command.invoice_no,
        kind="order" if isinstance(command.event, OrderCreated) else "cancellation",
    )


def page(connection: Connection, progress: Progress | None, limit: int, after: str) -> OrderPage:
    """One page of the read model; one row more is asked for, to see whether there is a next."""
    rows = tables.page_of_orders(connection, progress, limit + 1, after)
    orders = [OrderSummary(**_summary(row)) for row in rows[:limit]]
    return OrderPage(orders=orders, next=orders[-1].order_id if len(rows) > limit else None)


def details(connection: Connection, order_id: str) -> OrderDetails | None:
    """An order of the read model or, before its first event came back, as it was accepted; None if there is none."""
    row = tables.order(connection, order_id)
    if row is None:
        booked = tables.command(connection, order_id)
        if booked is None:
            return None
        command = acceptance.restored(booked)
        if not isinstance(command.event, OrderCreated):
            return None
        return OrderDetails(
            order_id=order_id,
            invoice_no=command.event.invoice_no,
            customer_id=command.event.customer_id,
            country=command.event.country,
            total=amount(command.event.total),
            status="accepted",
            history=[],
        )
    history = [
        HistoryEntry(
            event=entry.event_type,
            event_id=entry.event_id,
            time=entry.time if entry.time.tzinfo else entry.time.replace(tzinfo=UTC),
            detail=entry.detail,
        )
        for entry in tables.history_of(connection, order_id)
    ]
    return OrderDetails(**_summary(row), history=history)


def _summary(row: Row[Any]) -> dict[str, Any]:
    return {
        "order_id": row.order_id,
        "invoice_no": row.invoice_no,
        "customer_id": row.customer_id,
        "country": row.country,
        "total": None if row.total is None else amount(row.total),
        "status": cast(Status, Progress(row.progress).name),
    }


def refusal_example() -> dict[str, Any]:
    """An OpenAPI example of a refused invoice."""
    faults = [
        ("missing_customer", ["body", "customer_id"], "An order needs a customer: customer_id is empty.", None),
        (
            "negative_quantity",
            ["body", "lines", 0, "quantity"],
            "The quantity of an order must be above zero (only an invoice C... takes back); for 21777 it is -10.",
            -10,
        ),
    ]
    detail = [{"type": kind, "loc": loc, "msg": message, "input": given} for kind, loc, message, given in faults]
    schema = {"$ref": "#/components/schemas/HTTPValidationError"}
    return {"content": {"application/json": {"schema": schema, "example": {"detail": detail}}}}
