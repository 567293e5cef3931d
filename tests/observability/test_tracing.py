"""Spans, as an exporter in memory gets them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from ottla import App, Retry, fixed
from ottla.settings import LoggingSettings, TracingSettings
from ottla.testing import EmbeddedBroker, EmbeddedRegistry
from tests.listeners.harness import World, eventually, headers_of

_EXPORTER = InMemorySpanExporter()


@pytest.fixture(scope="module", autouse=True)
def provider() -> Iterator[None]:
    """OpenTelemetry has one provider per process, and lets nobody set another: put in and taken out by its own name."""
    real = trace._TRACER_PROVIDER
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(_EXPORTER))
    trace._TRACER_PROVIDER = made
    yield
    trace._TRACER_PROVIDER = real


@pytest.fixture
def spans() -> Any:
    _EXPORTER.clear()

    def finished(name: str) -> list[ReadableSpan]:
        return [span for span in _EXPORTER.get_finished_spans() if span.name == name]

    return finished


@pytest.fixture
def world(kafka: EmbeddedBroker, kafka_registry: EmbeddedRegistry) -> World:
    return World(kafka, kafka_registry)


async def test_a_flow_is_one_trace_from_the_request_to_the_last_event(world: World, spans: Any) -> None:
    app = App(world.group, settings=world.settings)

    @app.listen(world.Ordered)
    def reserve(order: Any) -> Any:
        with trace.get_tracer("shop").start_as_current_span("look at the stock"):
            return world.Reserved(order.order_id)

    async with app.running():
        with trace.get_tracer("shop").start_as_current_span("POST /orders"):
            where = await app.publish(world.Ordered("o-1"), event_id="e-1")
        await eventually(lambda: spans(f"send {world.stock}"))
        await eventually(lambda: spans(f"commit {world.orders}"))
    (request,), (sent,) = spans("POST /orders"), spans(f"send {world.orders}")
    (handled,), (answered,) = spans(f"process {world.orders}"), spans(f"send {world.stock}")
    (inner,) = spans("look at the stock")
    chain = [request, sent, handled, answered]
    assert len({span.context.trace_id for span in chain}) == 1
    assert [span.parent.span_id for span in chain[1:]] == [span.context.span_id for span in chain[:-1]]
    assert inner.parent.span_id == handled.context.span_id
    assert (sent.kind, handled.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert dict(sent.attributes) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.client.id": world.group,
        "messaging.destination.name": world.orders,
        "messaging.destination.partition.id": str(where.partition),
        "messaging.kafka.message.key": "o-1",
        "messaging.kafka.offset": where.offset,
        "messaging.message.id": "e-1",
    }
    assert dict(handled.attributes) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.client.id": world.group,
        "messaging.consumer.group.name": world.group,
        "messaging.destination.name": world.orders,
        "messaging.destination.partition.id": str(where.partition),
        "messaging.kafka.message.key": "o-1",
        "messaging.kafka.offset": where.offset,
        "messaging.message.id": "e-1",
        "ottla.handler": "reserve",
    }
    (record,) = world.records(world.orders)
    told = headers_of(record)["traceparent"].decode()
    assert told.rpartition("-")[0] == f"00-{sent.context.trace_id:032x}-{sent.context.span_id:016x}"
    (polled,), (committed, *_) = spans(f"poll {world.orders}"), spans(f"commit {world.orders}")
    assert [link.context.span_id for link in polled.links] == [sent.context.span_id]
    assert (polled.attributes["messaging.operation.type"], polled.kind) == ("receive", SpanKind.CLIENT)
    assert (committed.attributes["messaging.operation.type"], committed.kind) == ("settle", SpanKind.CLIENT)


async def test_an_async_handler_and_exactly_once_are_traced_alike(world: World, spans: Any) -> None:
    app = App(world.group, settings=world.settings)

    @app.listen(world.Ordered, exactly_once=True)
    async def reserve(order: Any) -> Any:
        return world.Reserved(order.order_id)

    async with app.running():
        async with app.transaction() as transaction:
            await transaction.publish(world.Ordered("o-1"))
        await eventually(lambda: spans(f"send {world.stock}"))
    chain = [spans(name)[0] for name in (f"send {world.orders}", f"process {world.orders}", f"send {world.stock}")]
    assert [span.parent.span_id for span in chain[1:]] == [span.context.span_id for span in chain[:-1]]


async def test_a_batch_is_linked_to_every_record(world: World, spans: Any) -> None:
    publisher = App(f"{world.group}-publisher", settings=world.settings)
    async with publisher.running():
        await publisher.publish_many([world.Ordered(f"o-{n}") for n in range(3)])
    app = App(world.group, settings=world.settings)

    @app.listen(world.Ordered, batch=10)
    def reserve(orders: list[Any]) -> None: ...

    async with app.running():
        await eventually(lambda: world.committed(world.orders) == 3)
    sent = {span.context.span_id for span in spans(f"send {world.orders}")}
    (handled,) = spans(f"process {world.orders}")
    assert {link.context.span_id for link in handled.links} == sent
    assert len(sent) == handled.attributes["messaging.batch.message_count"] == 3
    assert handled.parent is None


async def test_attempts_and_dead_letters_are_told_by_the_span(world: World, spans: Any) -> None:
    app = App(world.group, settings=world.settings)

    @app.listen(world.Ordered, retry=Retry(attempts=2, backoff=fixed(0.01)))
    def reserve(order: Any) -> None:
        raise ValueError("no such order")

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.dead_letters(world.orders))
        await eventually(lambda: spans(f"send {world.orders}-dlq"))
    (sent,), (handled,) = spans(f"send {world.orders}"), spans(f"process {world.orders}")
    assert [event.attributes["exception.message"] for event in handled.events] == ["no such order"] * 2
    assert (handled.status.status_code, handled.attributes["error.type"]) == (StatusCode.ERROR, "ValueError")
    # The dead letter keeps the headers of its record, and so its place in the trace.
    (letter,) = world.dead_letters(world.orders)
    assert headers_of(letter)["traceparent"] == headers_of(world.records(world.orders)[0])["traceparent"]
    (buried,) = spans(f"send {world.orders}-dlq")
    assert buried.parent.span_id == handled.context.span_id
    assert [link.context.span_id for link in buried.links] == [sent.context.span_id]


async def test_a_refused_record_ends_its_span_with_the_error(world: World, spans: Any) -> None:
    app = App(world.group, settings=world.settings)
    async with app.running():
        await app.send(world.Reserved("o-1", by="x" * 3_000_000))
        await eventually(lambda: spans(f"send {world.stock}"))
    (sent,) = spans(f"send {world.stock}")
    assert (sent.status.status_code, sent.attributes["error.type"]) == (StatusCode.ERROR, "MSG_SIZE_TOO_LARGE")


async def test_log_lines_of_a_handler_tell_its_trace(world: World, spans: Any) -> None:
    import io
    import logging

    from ottla.observability.logs import JsonFormatter

    stream, own = io.StringIO(), logging.getLogger("shop.traced")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("shop"))
    own.addHandler(handler)
    settings = msgspec.structs.replace(world.settings, logging=LoggingSettings(format="json"))
    app = App(world.group, settings=settings)

    @app.listen(world.Ordered)
    def reserve(order: Any) -> None:
        own.warning("reserving")

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: spans(f"process {world.orders}"))
    own.removeHandler(handler)
    line, (handled,) = json.loads(stream.getvalue()), spans(f"process {world.orders}")
    assert line["trace_id"] == f"{handled.context.trace_id:032x}"
    assert line["span_id"] == f"{handled.context.span_id:016x}"
    assert line["order_id"] == "o-1"


async def test_where_spans_are_not_wanted_there_are_none(world: World, spans: Any) -> None:
    app = App(world.group, settings=msgspec.structs.replace(world.settings, tracing=TracingSettings(enabled=False)))
    app.listen(world.Ordered)(lambda order: None)
    async with app.running():
        assert app._producer is not None
        assert app._producer.tracer is None
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 1)
    assert _EXPORTER.get_finished_spans() == ()
    (record,) = world.records(world.orders)
    assert "traceparent" not in headers_of(record)


@pytest.mark.parametrize("hidden", ["", "import sys; sys.modules['opentelemetry'] = None;"])
def test_nothing_is_paid_where_nobody_collects_spans(hidden: str) -> None:
    """Without the package, and with it but without a provider."""
    program = (
        f"{hidden}from ottla import Settings\n"
        "from ottla.observability.companion import companion_for\n"
        "from ottla.observability.tracing import tracing_for\n"
        "tracing = tracing_for('shop', Settings())\n"
        "print(tracing, companion_for(Settings(), tracing))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["None", "None"]
