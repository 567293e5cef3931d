"""Contract: lag in records and in seconds, of a running service and from outside."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec
import pytest

from ottla import App, KafkaSettings
from ottla.cli.lag import age
from ottla.kafka.ages import first_times
from ottla.testing import Broker
from tests.contracts.clients import HOUR_AGO_MS, producer
from tests.listeners.harness import World, eventually, service


def test_the_time_of_the_first_record_from_an_offset_on_is_found(broker: Broker, topic_of_3: str) -> None:
    client = producer(broker)
    for partition in (0, 1):
        for n in range(5):
            client.produce(topic_of_3, b"v" * 2000, partition=partition, timestamp=HOUR_AGO_MS + 1000 * n + partition)
    client.flush(30)
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    wanted = {(topic_of_3, 0): 0, (topic_of_3, 1): 3, (topic_of_3, 2): 0}
    assert first_times(settings, wanted) == {(topic_of_3, 0): HOUR_AGO_MS, (topic_of_3, 1): HOUR_AGO_MS + 3001}
    assert first_times(settings, {}) == {}


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, None), (0.4, "0 s"), (119, "119 s"), (300, "5 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_an_age_is_written_for_people(seconds: float | None, text: str | None) -> None:
    assert age(seconds) == text


def gauge(app: App, name: str, topic: str) -> float | None:
    labels = {"service": app.name, "topic": topic, "partition": "0"}
    return app.metrics.registry.get_sample_value(name, labels)


async def test_a_service_that_stands_reports_records_and_the_age_of_the_first(world: World) -> None:
    go_on, app = threading.Event(), service(world)

    @app.listen(world.Ordered)
    def hang(order: Any) -> None:
        go_on.wait(60)

    async with app.running():
        started = time.time()
        await app.publish_many([world.Ordered(f"o-{n}") for n in range(10)])
        await eventually(lambda: gauge(app, "ottla_consumer_lag", world.orders) == 10)
        await eventually(lambda: (gauge(app, "ottla_consumer_lag_seconds", world.orders) or 0) > 1)
        seconds = gauge(app, "ottla_consumer_lag_seconds", world.orders) or 0
        assert seconds <= time.time() - started + 0.1
        go_on.set()
        await eventually(lambda: gauge(app, "ottla_consumer_lag", world.orders) == 0)
        await eventually(lambda: gauge(app, "ottla_consumer_lag_seconds", world.orders) == 0)


async def test_markers_of_transactions_are_no_lag(world: World) -> None:
    app = service(world)

    @app.listen(world.Ordered)
    def note(order: Any) -> None: ...

    async with app.running():
        async with app.transaction() as transaction:
            await transaction.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 1)
        await eventually(lambda: gauge(app, "ottla_consumer_lag", world.orders) == 0)


async def test_the_lag_of_a_paused_partition_grows(world: World) -> None:
    """What the consumer last saw of the log is old once its buffer is full."""
    go_on, app = threading.Event(), service(world)

    @app.listen(world.Ordered)
    def hang(order: Any) -> None:
        go_on.wait(60)

    app.configure(_small_buffer(world))
    async with app.running():
        await app.publish_many([world.Ordered(f"o-{n}") for n in range(20)])
        await eventually(lambda: gauge(app, "ottla_consumer_lag", world.orders) == 20)
        await app.publish_many([world.Ordered(f"o-{n}") for n in range(20, 500)])
        await eventually(lambda: gauge(app, "ottla_consumer_lag", world.orders) == 500)
        go_on.set()
        await eventually(lambda: gauge(app, "ottla_consumer_lag", world.orders) == 0)


def _small_buffer(world: World) -> Any:
    listener = msgspec.structs.replace(world.settings.listener, buffered_records_max=5, batch_records=5)
    return msgspec.structs.replace(world.settings, listener=listener)
