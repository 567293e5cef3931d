"""Middleware around the handlers of a running app, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest

from ottla import CircuitBreaker, Context, HandlerCall, Retry, RunTwice, Throttle, Timeout
from tests.listeners.harness import World, eventually, headers_of, service


@pytest.mark.parametrize("is_async", [False, True])
async def test_while_a_circuit_is_open_records_wait_and_none_is_dead_lettered(world: World, is_async: bool) -> None:
    app, away, handled = service(world), threading.Event(), list[int]()
    breaker = CircuitBreaker(ConnectionError, failures=2, reset_s=0.2)
    away.set()
    tried: list[int] = []

    def handle(order: Any, ctx: Context) -> None:
        tried.append(ctx.attempt)
        if away.is_set():
            raise ConnectionError("the bank is away")
        handled.append(order.quantity)

    async def handle_async(order: Any, ctx: Context) -> None:
        handle(order, ctx)

    app.listen(world.Ordered, retry=Retry(attempts=2), middleware=[breaker], name="pay")(
        handle_async if is_async else handle
    )
    async with app.running():
        await app.publish_many([world.Ordered("o-1", n) for n in range(5)])
        await eventually(lambda: len(tried) >= 6, what="more tries than attempts")
        away.clear()
        await eventually(lambda: len(handled) == 5, what="all records")
    assert handled == list(range(5))
    assert breaker.state == "closed"
    assert max(tried) == 2  # waiting is no attempt
    assert world.dead_letters(world.orders) == []


@pytest.mark.parametrize("batch", [1, 3])
async def test_a_throttled_handler_takes_its_records_in_order_at_the_rate(world: World, batch: int) -> None:
    app, handled = service(world), list[int]()
    throttle = Throttle(50)
    if batch == 1:

        @app.listen(world.Ordered, middleware=[throttle])
        async def handle(order: Any) -> None:
            handled.append(order.quantity)
    else:

        @app.listen(world.Ordered, middleware=[throttle], batch=batch)
        def handle_batch(orders: list[Any]) -> None:
            handled.extend(order.quantity for order in orders)

    started = time.monotonic()
    async with app.running():
        await app.publish_many([world.Ordered("o-1", n) for n in range(30)])
        await eventually(lambda: len(handled) == 30, what="all records")
    assert handled == list(range(30))
    # The last of them may come with a batch that owes its tokens.
    assert time.monotonic() - started >= (30 - batch) / 50


async def test_a_handler_that_is_cut_off_is_tried_again_and_then_dead_lettered(world: World) -> None:
    app, calls = service(world), list[int]()

    @app.listen(world.Ordered, retry=Retry(attempts=2), middleware=[Timeout(0.05)])
    async def handle(order: Any, ctx: Context) -> None:
        calls.append(ctx.attempt)
        await asyncio.sleep(3600)

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: len(world.dead_letters(world.orders)) == 1, what="the dead letter")
    assert calls == [1, 2]
    assert headers_of(world.dead_letters(world.orders)[0])["kafka_dlt-exception-fqcn"].endswith(b"TimeoutError")


async def test_middleware_of_the_app_lies_around_that_of_the_handler_and_events_still_go_out(world: World) -> None:
    notes: list[str] = []

    def note(name: str) -> Any:
        def layer(call: HandlerCall) -> Generator[HandlerCall, Any, Any]:
            notes.append(f"{name} {call.handler}")
            return (yield call)

        return layer

    app = service(world, middleware=[note("app")])

    @app.listen(world.Ordered, middleware=[note("own"), RunTwice()])
    def reserve(order: Any) -> Any:
        notes.append("handler")
        yield world.Reserved(order.order_id, by="one")
        yield world.Reserved(order.order_id, by="two")

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: len(world.records(world.stock)) == 2, what="the events")
    assert notes == ["app reserve", "own reserve", "handler", "handler"]
