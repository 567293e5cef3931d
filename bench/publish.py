"""`python -m bench publish`: typed events published by Ottla beside a bare producer that is handed finished records.

Both write the same bytes (value, key, headers) under the same settings (idempotent, acks=all, linger 2 ms), and each
record's acknowledgement calls back. What a typed publish adds is Avro, the key, the envelope's headers with an id of
its own, and a metric.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from confluent_kafka import Producer

from bench.commands import note
from bench.reading import TOPIC
from bench.report import Bar, Report
from bench.retail import OrderCreated, orders
from bench.targets import embedded
from bench.workloads import CLIENT, BenchFailed, topic
from ottla import App
from ottla import Producer as ScriptProducer
from ottla.events import Envelope, envelope_headers, event_type, new_event_id
from ottla.settings import KafkaSettings, RegistrySettings, Settings
from ottla.testing import EmbeddedRegistry

RECORDS = 200_000
AT_ONCE = 10_000
FLUSH_SECONDS = 60.0

Record = tuple[bytes, bytes, list[tuple[str, Any]]]


def run(options: argparse.Namespace) -> Report:
    rates: dict[str, list[float]] = {}

    def keep(name: str, per_second: float) -> None:
        rates.setdefault(name, []).append(per_second)
        note(f"{name}: {per_second:,.0f}/s")

    with embedded() as broker, EmbeddedRegistry(broker.bootstrap_servers) as registry:
        bootstrap = broker.bootstrap_servers
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=bootstrap), registry=RegistrySettings(url=registry.url)
        )
        events = list(orders(RECORDS, options.orders))
        for _ in range(options.runs):
            with topic(bootstrap, 6, TOPIC):
                records = asyncio.run(_records(settings, events))
                keep("bare", _bare(bootstrap, records))
                keep("bare, no headers", _bare(bootstrap, [(value, key, []) for value, key, _ in records]))
                keep("publish_many", asyncio.run(_publish_many(settings, events)))
                keep("send", asyncio.run(_send(settings, events)))
                keep("script send", _script_send(settings, events))

    def ratios(ours: str, theirs: str) -> list[float]:
        return [a / b for a, b in zip(rates[ours], rates[theirs], strict=True)]

    bars = [
        Bar("publish_vs_bare", ratios("publish_many", "bare"), "times", at_least=0.60),
        Bar("send_vs_bare", ratios("send", "bare"), "times"),
        Bar("script_send_vs_bare", ratios("script send", "bare"), "times"),
        Bar("publish_vs_bare_no_headers", ratios("publish_many", "bare, no headers"), "times"),
        *(Bar(f"{name} per second", values, "records/s") for name, values in rates.items()),
    ]
    return Report("publish", bars)


async def _records(settings: Settings, events: list[OrderCreated]) -> list[Record]:
    """The events as finished records."""
    from ottla.registry import RegistryClient
    from ottla.serde.serializer import Serializer

    serializer, kind = Serializer(RegistryClient(settings.registry.url)), event_type(OrderCreated)
    records: list[Record] = []
    for event in events:
        identity = new_event_id()
        envelope = Envelope(identity, kind.name, "/bench", event.created_at, identity)
        records.append((serializer.encode(event, TOPIC), event.order_id.encode(), [*envelope_headers(envelope)]))
    return records


def _bare(bootstrap: str, records: list[Record]) -> float:
    producer = Producer(
        {
            **CLIENT,
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 2,
            "partitioner": "murmur2_random",
        }
    )
    producer.list_topics(TOPIC, timeout=30)
    answered = 0

    def delivered(error: Any, _message: Any) -> None:
        nonlocal answered
        if error is not None:
            raise BenchFailed(f"a record was refused: {error}")
        answered += 1

    started = time.perf_counter()
    for value, key, headers in records:
        while True:
            try:
                producer.produce(TOPIC, value, key, headers=headers, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.005)
        producer.poll(0)
    producer.flush(FLUSH_SECONDS)
    if answered != len(records):
        raise BenchFailed(f"{answered} of {len(records)} records were acknowledged")
    return len(records) / (time.perf_counter() - started)


async def _publish_many(settings: Settings, events: list[OrderCreated]) -> float:
    app = App("bench-publisher", settings=settings, events=[OrderCreated])
    async with app.running():
        await app.publish(events[0])
        started = time.perf_counter()
        for first in range(0, len(events), AT_ONCE):
            await app.publish_many(events[first : first + AT_ONCE])
        return len(events) / (time.perf_counter() - started)


async def _send(settings: Settings, events: list[OrderCreated]) -> float:
    """Until the last is acknowledged: leaving `running` flushes."""
    app = App("bench-publisher", settings=settings, events=[OrderCreated])
    async with app.running():
        await app.publish(events[0])
        started = time.perf_counter()
        for event in events:
            await app.send(event)
    return len(events) / (time.perf_counter() - started)


def _script_send(settings: Settings, events: list[OrderCreated]) -> float:
    """Until the last is acknowledged: leaving the block flushes."""
    with ScriptProducer(settings, name="bench-script") as producer:
        producer.publish(events[0])
        started = time.perf_counter()
        for event in events:
            producer.send(event)
    return len(events) / (time.perf_counter() - started)
