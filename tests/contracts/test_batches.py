"""What batch handlers are promised, on both brokers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import pytest

from ottla import App, Context, Retry, fixed
from ottla.events import read_envelope
from tests.listeners.harness import World, eventually, headers_of, service


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_batch_handler_takes_what_has_arrived_and_answers_for_each(world: World, kind: str) -> None:
    app = service(world)
    sizes: list[int] = []

    def answer(orders: list[Any], contexts: list[Context]) -> list[Any]:
        sizes.append(len(orders))
        assert [ctx.offset for ctx in contexts] == list(range(contexts[0].offset, contexts[0].offset + len(orders)))
        return [None if order.quantity == 0 else world.Reserved(order.order_id) for order in orders]

    if kind == "sync":
        app.listen(world.Ordered, batch=50, name="answer")(answer)
    else:

        @app.listen(world.Ordered, batch=50, name="answer")
        async def answer_async(orders: list[Any], contexts: list[Context]) -> list[Any]:
            return answer(orders, contexts)

    publisher = App(f"{world.group}-publisher", settings=world.settings, events=[world.Ordered])
    async with publisher.running():
        await asyncio.gather(*(publisher.publish(world.Ordered(f"o-{n}", n % 2)) for n in range(200)))
    async with app.running():
        await eventually(lambda: world.committed(world.orders) == 200)
        records = world.records(world.stock)
    assert sum(sizes) == 200
    assert max(sizes) == 50
    assert len(records) == 100
    causes = {read_envelope(record.headers).causation_id for record in records}  # type: ignore[union-attr]
    odd = [record for record in world.records(world.orders) if int(record.key[2:]) % 2]  # type: ignore[index]
    assert causes == {headers_of(record)["ce_id"].decode() for record in odd}


async def test_one_bad_record_of_a_batch_is_retried_and_dead_lettered_alone(world: World) -> None:
    app = service(world)
    alone: list[str] = []
    handled: Counter[str] = Counter()

    @app.listen(world.Ordered, batch=20, retry=Retry(attempts=2, backoff=fixed(0.01)))
    def fragile(orders: list[Any]) -> None:
        if len(orders) == 1:
            alone.append(orders[0].order_id)
        if any(order.order_id == "o-7" for order in orders):
            raise ValueError("seven")
        handled.update(order.order_id for order in orders)

    publisher = App(f"{world.group}-publisher", settings=world.settings, events=[world.Ordered])
    async with publisher.running():
        for n in range(20):
            await publisher.publish(world.Ordered(f"o-{n}"))
    async with app.running():
        await eventually(lambda: world.committed(world.orders) == 20)
        (letter,) = world.dead_letters(world.orders)
    assert handled == {f"o-{n}": 1 for n in range(20) if n != 7}
    assert alone.count("o-7") == 2
    assert headers_of(letter)["ottla-attempts"] == b"2"
    assert headers_of(letter)["kafka_dlt-exception-message"] == b"seven"


async def test_a_batch_handler_that_does_not_answer_for_each_event_is_told_so(world: World) -> None:
    app = service(world)

    @app.listen(world.Ordered, batch=10, retry=Retry(attempts=1))
    def wrong(orders: list[Any]) -> list[Any]:
        return []

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 1)
        (letter,) = world.dead_letters(world.orders)
    assert b"must return None, or a list with one entry per event" in headers_of(letter)["kafka_dlt-exception-message"]


async def test_a_batch_that_failed_is_not_gone_through_any_further_once_a_stop_is_asked_for(world: World) -> None:
    app = service(world)
    alone: list[int] = []
    second = threading.Event()

    @app.listen(world.Ordered, batch=50)
    def slow(orders: list[Any], contexts: list[Context]) -> None:
        if len(orders) > 1:
            raise ValueError("one at a time, please")
        alone.append(contexts[0].offset)
        if len(alone) == 2:
            second.set()
        time.sleep(0.3)

    publisher = App(f"{world.group}-publisher", settings=world.settings, events=[world.Ordered])
    async with publisher.running():
        for n in range(50):
            await publisher.publish(world.Ordered(f"o-{n}"))
    async with app.running():
        await eventually(second.is_set)
    assert len(alone) < 10
    assert world.committed(world.orders) == len(alone)
