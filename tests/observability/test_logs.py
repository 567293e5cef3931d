"""Lines of JSON: what each says of the record in hand, in threads, tasks and batches."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import msgspec
import pytest

from ottla import App, Settings, per_key
from ottla.observability.logs import JsonFormatter, configure_logging
from ottla.settings import LoggingSettings
from ottla.testing import EmbeddedBroker, EmbeddedRegistry
from tests.listeners.harness import World, eventually

own = logging.getLogger("shop.reservations")


@pytest.fixture
def lines() -> Any:
    """The lines that are logged, parsed; the root logger is as before afterwards."""
    root, stream = logging.getLogger(), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("shop"))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def world(kafka: EmbeddedBroker, kafka_registry: EmbeddedRegistry) -> World:
    return World(kafka, kafka_registry)


def json_settings(world: World) -> Settings:
    return msgspec.structs.replace(world.settings, logging=LoggingSettings(format="json"))


def said(lines: Any, message: str) -> list[dict[str, Any]]:
    return [line for line in lines() if line["message"] == message]


@pytest.mark.parametrize("kind", ["plain", "async", "keys", "retried"])
async def test_every_line_of_a_handler_tells_its_record(world: World, lines: Any, kind: str) -> None:
    app = App(world.group, settings=json_settings(world))
    calls = list[int]()

    def reserve(order: Any) -> Any:
        own.info("reserving", extra={"stock": 7})
        calls.append(1)
        if kind == "retried" and len(calls) == 1:
            raise ValueError("try again")
        return world.Reserved(order.order_id)

    async def reserve_later(order: Any) -> Any:
        await asyncio.create_task(asyncio.to_thread(reserve, order))

    order: dict[str, Any] = {"order": per_key(4)} if kind == "keys" else {}
    app.listen(world.Ordered, name="reserve", **order)(reserve_later if kind == "async" else reserve)
    async with app.running():
        where = await app.publish(world.Ordered("o-1"), event_id="e-1", correlation_id="c-1")
        await eventually(lambda: world.committed(world.orders) == 1)
    line = said(lines, "reserving")[-1]
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "shop.reservations",
        "service": "shop",
        "message": "reserving",
        "handler": "reserve",
        "topic": world.orders,
        "partition": where.partition,
        "offset": where.offset,
        "key": "o-1",
        "order_id": "o-1",
        "event_id": "e-1",
        "event_type": line["event_type"],
        "correlation_id": "c-1",
        "attempt": 2 if kind == "retried" else 1,
        "stock": 7,
    }
    assert line["event_type"].endswith("Ordered")
    if kind == "retried":  # Ottla's own line about the record, which no handler logs
        (warning,) = [one for one in lines() if "again in" in one["message"]]
        assert (warning["event_id"], warning["order_id"]) == ("e-1", "o-1")


async def test_records_that_are_handled_at_once_are_not_mixed_up(world: World, lines: Any) -> None:
    app = App(world.group, settings=json_settings(world))

    @app.listen(world.Ordered, order=per_key(50))
    async def reserve(order: Any) -> None:
        await asyncio.sleep(0.001)
        own.info("reserving %s", order.order_id)

    async with app.running():
        await app.publish_many([world.Ordered(f"o-{n}") for n in range(100)])
        await eventually(lambda: world.committed(world.orders) == 100)
    told = [(line["message"], line["order_id"]) for line in lines() if line["message"].startswith("reserving")]
    assert len(told) == 100
    assert all(message == f"reserving {order}" for message, order in told)


async def test_a_line_about_a_batch_tells_its_extent(world: World, lines: Any) -> None:
    publisher = App(f"{world.group}-publisher", settings=world.settings)
    async with publisher.running():
        await publisher.publish_many([world.Ordered(f"o-{n}") for n in range(3)])
    app = App(world.group, settings=json_settings(world))

    @app.listen(world.Ordered, batch=10)
    def reserve(orders: list[Any]) -> None:
        own.info("reserving")

    async with app.running():
        await eventually(lambda: world.committed(world.orders) == 3)
    told = said(lines, "reserving")
    assert sum(line.get("records", 1) for line in told) == 3
    assert told[-1].get("last_offset", told[-1]["offset"]) == 2


async def test_lines_outside_of_handlers_tell_of_no_record(world: World, lines: Any) -> None:
    app = App(world.group, settings=json_settings(world))
    app.listen(world.Ordered)(lambda order: None)
    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 1)
        own.info("outside")
    (line,) = said(lines, "outside")
    assert "event_id" not in line


def test_an_exception_is_in_its_line() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure_logging("shop", LoggingSettings(format="json", level="warning"), stream=stream)
        try:
            raise ValueError("no such order")
        except ValueError:
            own.exception("failed on %s", "o-1")
        own.info("not logged")
    finally:
        root.handlers[:], root.level = before, level
    (line,) = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert (line["message"], line["level"]) == ("failed on o-1", "error")
    assert line["exception"]["type"] == "ValueError"
    assert line["exception"]["message"] == "no such order"
    assert "Traceback" in line["exception"]["stack"]
