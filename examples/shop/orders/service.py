"""The orders service: takes orders over HTTP and shows how they stand.

ottla run shop.orders.service:api
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query
from fastapi.exceptions import RequestValidationError

from ottla import App, Context, OttlaError, Retry, exponential
from shop import events
from shop.events import ShopEvent
from shop.orders import acceptance, tables, views
from shop.orders.bodies import Accepted, NewInvoice, OrderDetails, OrderPage, Problem, Status
from shop.orders.desk import Desk
from shop.orders.domain import Progress
from shop.store import Store

app = App("orders", events=events.ALL)
store = Store(app, tables.metadata)
# What is committed is on its way a few milliseconds later; SQLite tells nobody, so the relay looks that often.
outbox = app.outbox(store.beside, metadata=tables.metadata, poll_s=0.05)
desk = Desk(store, outbox)
api = FastAPI(
    lifespan=app.lifespan,
    title="Orders",
    version="1.0",
    description="Place orders, cancel them, and see how they stand. An order is accepted at once and then makes its "
    "way through inventory, payment and shipping; ask for it to see how far it is.",
)

PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such order."},
    409: {"model": Problem, "description": "It contradicts what was accepted before."},
    503: {"model": Problem, "description": "The schema registry does not answer, and needs to. Try again."},
}
BAD_INVOICE = {"description": "The invoice is refused, with every reason.", **views.refusal_example()}


@app.listen(*events.ALL, retry=Retry(attempts=5, backoff=exponential(0.1, 10)), batch=100)
def follow(seen: list[ShopEvent], ctxs: list[Context]) -> None:
    """Keep the read model up with everybody's events."""
    store.once(seen, ctxs, tables.project)


@api.post("/orders", status_code=202, responses={409: PROBLEMS[409], 422: BAD_INVOICE, 503: PROBLEMS[503]})
async def place_order(body: NewInvoice) -> Accepted:
    """Place an order or, with an invoice number C..., cancel (part of) one.

    A cancellation is for the customer's newest order that still holds everything it takes back. Sending the same
    invoice again is safe: it is the same order, and nothing happens twice.
    """
    invoice = body.invoice()
    try:
        command = await desk.carry_out(lambda tx: acceptance.accept(tx, invoice))
    except acceptance.NothingToCancel as refusal:
        fault = {"type": "unknown_cancellation", "loc": ("body", "invoice_no"), "msg": str(refusal)}
        raise RequestValidationError([{**fault, "input": body.invoice_no}]) from refusal
    except acceptance.Contradiction as refusal:
        raise HTTPException(409, str(refusal)) from refusal
    except OttlaError as trouble:
        raise HTTPException(503, str(trouble)) from trouble
    return views.accepted(command)


@api.delete("/orders/{order_id}", status_code=202, responses=PROBLEMS)
async def cancel_order(order_id: str) -> Accepted:
    """Cancel all that remains of an order that is still on its way."""
    try:
        command = await desk.carry_out(lambda tx: acceptance.cancel(tx, order_id))
    except acceptance.UnknownOrder as refusal:
        raise HTTPException(404, str(refusal)) from refusal
    except acceptance.Contradiction as refusal:
        raise HTTPException(409, str(refusal)) from refusal
    except OttlaError as trouble:
        raise HTTPException(503, str(trouble)) from trouble
    return views.accepted(command)


@api.get("/orders/{order_id}", responses={404: PROBLEMS[404]})
def show_order(order_id: str) -> OrderDetails:
    """How an order stands, and all that happened to it. An order just accepted may have no history yet."""
    with store.reading() as connection:
        details = views.details(connection, order_id)
    if details is None:
        raise HTTPException(404, f"There is no order {order_id}.")
    return details


@api.get("/orders")
def list_orders(
    status: Annotated[Status | None, Query(description="Only orders that stand like this.")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="How many to a page.")] = 50,
    after: Annotated[str, Query(description="`next` of the page before.")] = "",
) -> OrderPage:
    """Orders, by id, a page at a time."""
    progress = None if status is None else Progress[status]
    with store.reading() as connection:
        return views.page(connection, progress, limit, after)
