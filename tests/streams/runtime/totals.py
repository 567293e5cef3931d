"""The application of these tests: a running total per key, by way of a repartition topic. A process by itself:

python -m tests.streams.runtime.totals ONE_JSON_OBJECT
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

import msgspec

from ottla.settings import KafkaSettings, Settings, StreamsSettings
from ottla.streams.app import StreamsApp
from ottla.streams.builder import StreamsBuilder
from ottla.streams.errors_policy import ErrorHandlers
from ottla.streams.operators.base import Operator
from ottla.streams.operators.batch import Batch
from ottla.streams.serdes import LONG, TEXT
from ottla.streams.topology.nodes import OperatorNode, SinkNode, SourceNode
from ottla.streams.topology.stores import StoreSpec
from ottla.streams.topology.topics import REPARTITION_CONFIG, InternalTopic
from ottla.streams.topology.topology import Topology, make_topology

STORE = "totals"


class Setup(msgspec.Struct, kw_only=True):
    """What an instance is told. Records go in as (any key, "KEY NUMBER") and come out as (KEY, total).

    With `dsl` the totals are those of the DSL, whose caches tell the last one of each commit only.
    """

    name: str
    bootstrap_servers: str
    state_dir: str
    source: str
    sink: str
    guarantee: str = "exactly_once"
    persistent: bool = True
    dsl: bool = False
    standbys: int = 0
    port: int | None = None
    properties: dict[str, Any] = {}
    streams: dict[str, Any] = {}

    @property
    def internal_topics(self) -> list[str]:
        """What the application keeps for itself."""
        return [f"{self.name}-words-repartition", f"{self.name}-{STORE}-changelog"]


class ByWord(Operator):
    """From "KEY NUMBER" to (KEY, NUMBER). A bad record is the processing handler's."""

    def process(self, batch: Batch) -> None:
        keys: list[str] = []
        numbers: list[int] = []
        chosen: list[int] = []
        for at, value in enumerate(batch.whole):
            try:
                key, number = value.split()
                numbers.append(int(number))
                keys.append(key)
                chosen.append(at)
            except ValueError as error:
                self.context.failed(self, batch, at, error)
        self.forward(batch.at(chosen).with_keys(keys).with_values(numbers))


class RunningTotal(Operator):
    """Adds up, and tells each new total."""

    def process(self, batch: Batch) -> None:
        totals = self.context.store(STORE)
        found = []
        for key, number in zip(batch.keys, batch.whole, strict=True):
            total = (totals.get(key) or 0) + number
            totals.put(key, total)
            found.append(total)
        self.forward(batch.with_values(found))


def topology(source: str, sink: str, *, persistent: bool = True) -> Topology:
    return make_topology(
        [
            SourceNode("numbers", (source,), TEXT, TEXT),
            OperatorNode("by-word", "map", ("numbers",), ByWord),
            SinkNode("to-words", "words-repartition", TEXT, LONG, ("by-word",)),
            SourceNode("words", ("words-repartition",), TEXT, LONG),
            OperatorNode("total", "aggregate", ("words",), RunningTotal, stores=(STORE,)),
            SinkNode("totals-out", sink, TEXT, LONG, ("total",)),
        ],
        [StoreSpec(STORE, "key-value", TEXT, LONG, persistent=persistent)],
        [InternalTopic("words-repartition", "repartition", config=REPARTITION_CONFIG)],
    )


def dsl_topology(source: str, sink: str) -> Topology:
    builder = StreamsBuilder()
    words = builder.stream(source, key=str, value=str).map(_by_word, key=str, value=int, name="by-word")
    totals = words.group_by_key(name="words").reduce(lambda total, number: total + number, store=STORE)
    totals.to_stream().to(sink)
    return builder.build()


def _by_word(_key: str, value: str) -> tuple[str, int]:
    word, number = value.split()
    return word, int(number)


def settings_of(setup: Setup) -> Settings:
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=setup.bootstrap_servers, topic_partitions=3, properties=setup.properties),
        streams=msgspec.convert(
            {
                "state_dir": setup.state_dir,
                "guarantee": setup.guarantee,
                "num_standby_replicas": setup.standbys,
                "session_timeout_s": 6.0,
                "transaction_timeout_s": 6.0,
                "advertised": f"127.0.0.1:{setup.port}" if setup.port else None,
                **setup.streams,
            },
            StreamsSettings,
        ),
    )


def make_app(setup: Setup, errors: ErrorHandlers | None = None) -> StreamsApp:
    return StreamsApp(
        setup.name,
        dsl_topology(setup.source, setup.sink)
        if setup.dsl
        else topology(setup.source, setup.sink, persistent=setup.persistent),
        settings=settings_of(setup),
        errors=errors,
    )


async def main(setup: Setup) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = make_app(setup)
    if setup.port is None:
        async with app.running():
            print("started", flush=True)
            await stop.wait()
        return
    import uvicorn
    from starlette.applications import Starlette

    server = uvicorn.Server(uvicorn.Config(Starlette(lifespan=app.lifespan), port=setup.port, log_level="warning"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve())
    print("started", flush=True)
    await stop.wait()
    server.should_exit = True
    await serving


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(main(msgspec.convert(json.loads(sys.argv[1]), Setup)))
