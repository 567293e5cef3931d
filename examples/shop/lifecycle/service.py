"""The lives of orders: `ottla run shop.lifecycle.service:api`.

`GET /orders/{id}` is answered from the aggregate's state, whichever instance has it, `GET /orders/{id}/history` by
replaying its events. (The orders service, which takes the orders, answers from a read model in SQL: the same, seen
from the other side.)
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from ottla import AggregateApp, StateUnavailable
from ottla.streams import StreamsBuilder
from shop.lifecycle.feed import commands_from_events
from shop.lifecycle.order import Order, orders
from shop.money import amount

builder = StreamsBuilder()
commands_from_events(builder)
app = AggregateApp("lifecycle", orders, builder=builder)
api = FastAPI(
    lifespan=app.lifespan,
    title="Lives of orders",
    version="1.0",
    description="How an order stands, from the events that made it so, and those events themselves.",
)


class OrderNow(BaseModel):
    """How an order stands, after so many events."""

    order_id: str
    version: int = Field(description="The number of the last event.")
    status: str
    invoice_no: str | None = Field(description="None in the moment before the order's own event was seen.")
    customer_id: str | None
    country: str | None
    total: str | None = Field(examples=["139.12"])
    pieces: int = Field(description="What of it was not taken back.")
    detail: str


class Change(BaseModel):
    """Something that happened to an order, and how it stood afterwards."""

    version: int
    time: datetime | None
    event: str = Field(examples=["OrderAdvanced"])
    content: dict[str, Any]
    status: str
    pieces: int


@api.get("/orders/{order_id}", responses={404: {"description": "There is no such order."}})
async def show_order(order_id: str, at_least: int = 0) -> OrderNow:
    """How an order stands; `at_least` waits until it has that version."""
    try:
        order = await app.get(orders, order_id, at_least=at_least)
    except StateUnavailable as error:
        raise HTTPException(503, str(error)) from error
    if order is None or order.state is None:
        raise HTTPException(404, f"There is no order {order_id}.")
    return shown(order_id, order.version, order.state)


@api.get("/orders/{order_id}/history", responses={404: {"description": "There is no such order."}})
async def show_history(order_id: str) -> list[Change]:
    """All that happened to an order, oldest first, and what it was after each step: replayed from its events."""
    try:
        happened = await app.history(orders, order_id)
    except StateUnavailable as error:
        raise HTTPException(503, str(error)) from error
    if not happened:
        raise HTTPException(404, f"There is no order {order_id}.")
    changes, order = [], None
    for one in happened:
        order = orders.apply(order, one.event)
        assert order is not None, "no event of an order ends it"
        kind, content = type(one.event).__name__, plain(one.event)
        changes.append(
            Change(
                version=one.version,
                time=one.time,
                event=kind,
                content=content,
                status=order.status,
                pieces=order.pieces,
            )
        )
    return changes


def shown(order_id: str, version: int, order: Order) -> OrderNow:
    return OrderNow(
        order_id=order_id,
        version=version,
        status=order.status,
        invoice_no=order.invoice_no,
        customer_id=order.customer_id,
        country=order.country,
        total=None if order.total is None else amount(order.total),
        pieces=order.pieces,
        detail=order.detail,
    )


def plain(event: Any) -> dict[str, Any]:
    """The fields of an event, without the order they are all about."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__ if name != "order_id"}
    return {name: amount(value) if isinstance(value, Decimal) else value for name, value in fields.items()}
