"""Joins on a broker: tasks get the same partitions of both sides; global tables are there before the first record."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

from ottla.kafka.producer import Producer
from ottla.streams import Record, StreamsBuilder
from ottla.streams.app import StreamsApp
from ottla.streams.topology.topology import Topology
from tests.streams.runtime.conftest import Stage, eventually
from tests.streams.runtime.totals import settings_of


def write(stage: Stage, topic: str, *pairs: tuple[str, str]) -> None:
    producer = Producer(stage.kafka)
    for key, value in pairs:
        producer.send(topic, value.encode(), key=key.encode())
    assert producer.close(30) == 0


def results(stage: Stage) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in stage.records(stage.setup.sink):
        found.setdefault(record.key.decode(), []).append(record.value.decode())
    return found


async def test_a_stream_finds_its_table_whichever_instance_has_the_partition(local_stage: Stage) -> None:
    stage, names = local_stage, f"{local_stage.setup.source}-names"
    stage.admin.ensure_topics({names: 3})
    write(stage, names, *((f"c-{number}", f"name {number}") for number in range(12)))

    def topology() -> Topology:
        builder = StreamsBuilder()
        table = builder.table(names, key=str, value=str, store="names")
        orders = builder.stream(stage.setup.source, key=str, value=str)
        orders.join(table, lambda order, name: f"{order} of {name}", value=str).to(stage.setup.sink)
        return builder.build()

    async with AsyncExitStack() as stack:
        apps = [
            await stack.enter_async_context(
                StreamsApp(
                    stage.setup.name, topology(), settings=settings_of(stage.setup_in(stage.folder / f"state-{number}"))
                ).running()
            )
            for number in range(2)
        ]
        await eventually(
            lambda: (
                sorted(len(app.instance.status()) if app.instance else 0 for app in apps) == [1, 2]
                and not any(app.health.wrong() for app in apps)
            )
        )
        write(stage, stage.setup.source, *((f"c-{number}", f"order {number}") for number in range(12)))
        await eventually(lambda: len(results(stage)) == 12)
    assert results(stage) == {f"c-{number}": [f"order {number} of name {number}"] for number in range(12)}


async def test_a_global_table_is_full_before_the_first_record_is_joined(local_stage: Stage) -> None:
    stage, names = local_stage, f"{local_stage.setup.source}-countries"
    stage.admin.ensure_topics({names: 2})
    write(stage, names, *((f"n-{number}", f"country {number}") for number in range(500)))
    write(stage, stage.setup.source, *((f"o-{number}", f"n-{number * 10}") for number in range(50)))
    builder = StreamsBuilder()
    table = builder.global_table(names, key=str, value=str, store="countries")
    orders = builder.stream(stage.setup.source, key=str, value=str)
    orders.join(table, lambda _order, country: country, by=lambda _key, value: value, value=str).to(stage.setup.sink)
    async with StreamsApp(stage.setup.name, builder.build(), settings=settings_of(stage.setup)).running() as app:
        await eventually(lambda: len(results(stage)) == 50)
        assert results(stage) == {f"o-{number}": [f"country {number * 10}"] for number in range(50)}
        # And it follows its topic.
        write(stage, names, ("n-7", "elsewhere"))
        countries = app.queries.store("countries")
        await eventually(lambda: countries.get("n-7").value == "elsewhere")
        write(stage, stage.setup.source, ("o-50", "n-7"))
        await eventually(lambda: results(stage).get("o-50") == ["elsewhere"])


async def test_records_of_several_topics_come_by_the_times_they_bear_themselves(local_stage: Stage) -> None:
    """Kafka's timestamps say the opposite: all of the one topic are written before all of the other."""
    stage, other = local_stage, f"{local_stage.setup.source}-other"
    stage.admin.ensure_topics({other: 3})
    builder = StreamsBuilder()
    begun_ms = int(time.time() * 1000)  # recent: retention of the output would take what is older than a week

    def time_of(record: Record[str, str], _: int) -> int:
        return begun_ms + int(record.value)

    odd, even = (builder.stream(topic, key=str, value=str, timestamp=time_of) for topic in (stage.setup.source, other))
    odd.merge(even).to(stage.setup.sink)
    write(stage, stage.setup.source, *(("k", str(number)) for number in range(1, 20, 2)))
    write(stage, other, *(("k", str(number)) for number in range(2, 21, 2)))
    async with StreamsApp(stage.setup.name, builder.build(), settings=settings_of(stage.setup)).running():
        await eventually(lambda: len(results(stage).get("k", [])) == 20)
    assert results(stage)["k"] == [str(number) for number in range(1, 21)]
