"""`python -m bench streams`: the same topologies over the same real orders in Ottla and in Kafka Streams, and customer
totals in Quix Streams and Faust too, exactly once and at least once.

Each has the whole machine in turn: Kafka Streams a thread per core, the Python programs a process per core. All run
side by side; the rounds of a pair take turns, A B, then B A.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

from confluent_kafka import KafkaException

from bench.commands import note
from bench.peers_env import kafka_streams_command, peers_python
from bench.report import Bar, Report
from bench.retail import OrderCreated
from bench.streamers.job import AT_LEAST_ONCE, CUSTOMER_TOTALS, EXACTLY_ONCE, JOIN, STATELESS, WINDOWED, Job
from bench.streams_orders import Customer, OrderResult, Orders
from bench.streams_race import Racer, Round
from bench.targets import embedded, kafka
from bench.workloads import BenchFailed
from ottla.registry import RegistryClient
from ottla.serde.deserializer import Deserializer
from ottla.serde.serializer import Serializer
from ottla.testing import Broker, EmbeddedRegistry

COMMIT_INTERVAL_S = 0.1
CACHE_BYTES = 32 << 20
JVM_WARM_UPS = 3
CORES = os.cpu_count() or 1
OTTLA, KAFKA_STREAMS, QUIX, FAUST = "Ottla", "Kafka Streams", "Quix Streams", "Faust"
OLD_RECORDS = {"log.roll.ms": str(2**62), "log.retention.ms": "-1"}
"""The orders are years old: their segments neither go at once nor are cut by their months."""

SHARES = {QUIX: 0.1, FAUST: 0.02}
"""Slow programs get so much of the records."""

SETTINGS = [
    (CUSTOMER_TOTALS, EXACTLY_ONCE),
    (CUSTOMER_TOTALS, AT_LEAST_ONCE),
    (STATELESS, EXACTLY_ONCE),
    (STATELESS, AT_LEAST_ONCE),
    (WINDOWED, EXACTLY_ONCE),
    (WINDOWED, AT_LEAST_ONCE),
    (JOIN, EXACTLY_ONCE),
    (JOIN, AT_LEAST_ONCE),
]
Figures = dict[tuple[str, str], dict[str, list[Round]]]


class Course:
    """A broker, a registry, and the records: makes racers."""

    def __init__(self, broker: Broker, registry: str, options: argparse.Namespace, folder: str) -> None:
        self._broker, self._folder, self._registry = broker, Path(folder), registry
        client = RegistryClient(registry)
        serializer = Serializer(client)
        self._deserializer = Deserializer(client)
        note(f"encoding {options.records:,} orders")
        self._orders = Orders(options.records, options.orders, serializer, "bench-orders")
        result = serializer.encode(OrderResult("", "", 0.0), "bench-results")
        self._job = Job(
            bootstrap=broker.bootstrap_servers,
            registry=registry,
            application="",
            workload="",
            guarantee="",
            orders="",
            customers="",
            output="",
            order_schema=serializer.schema_text(OrderCreated),
            customer_schema=serializer.schema_text(Customer),
            result_schema=serializer.schema_text(OrderResult),
            result_id=int.from_bytes(result[1:5], "big"),
            commit_interval_s=COMMIT_INTERVAL_S,
            cache_bytes=CACHE_BYTES,
            threads=CORES,
            state_dir="",
        )
        self._python, self._java = peers_python(), kafka_streams_command()

    def racer(self, name: str, workload: str, guarantee: str) -> Racer:
        """A program for a workload, not started yet."""
        application = f"bench-{uuid.uuid4().hex[:8]}"
        job = replace(
            self._job,
            application=application,
            workload=workload,
            guarantee=guarantee,
            orders=f"{application}-orders",
            customers=f"{application}-customers",
            output=f"{application}-output",
            state_dir=str(self._folder / application),
        )
        count = int(len(self._orders.values) * SHARES.get(name, 1))
        return Racer(
            name, self._commands(name, job), job, self._orders.first(count), self._broker.pid, self._deserializer
        )

    def _commands(self, name: str, job: Job) -> list[list[str]]:
        if name == KAFKA_STREAMS:
            return [[*self._java, *job.strings()]]
        module, python = {
            OTTLA: ("ottla_app", sys.executable), QUIX: ("quix_app", self._python), FAUST: ("faust_app", self._python)
        }[name]  # fmt: skip
        commands = []
        for number in range(CORES):
            # Ottla's processes share a folder, as its manual says; the others' have one each.
            folder = Path(job.state_dir) / ("" if name == OTTLA else str(number))
            folder.mkdir(parents=True, exist_ok=True)
            given = replace(job, state_dir=str(folder)).argument()
            commands.append([python, "-m", f"bench.streamers.{module}", given])
        return commands


def run(options: argparse.Namespace) -> Report:
    chosen = [setting for setting in SETTINGS if not options.workloads or setting[0] in options.workloads]
    figures: Figures = {}
    took: dict[str, float] = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that whoever is stopped stops what it has started
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ottla-streams-state-"))
        broker = stack.enter_context(embedded() if options.broker == "embedded" else kafka(**OLD_RECORDS))
        registry = stack.enter_context(EmbeddedRegistry(broker.bootstrap_servers))
        course = Course(broker, registry.url, options, folder)
        for workload, guarantee in chosen:
            started = time.monotonic()
            found = figures[workload, guarantee] = {}
            _race(course, (OTTLA, KAFKA_STREAMS), workload, guarantee, found, options.runs)
            if workload == CUSTOMER_TOTALS:
                for name in (QUIX, FAUST):
                    _race(course, (name,), workload, guarantee, found, options.runs)
            took[f"{workload} {guarantee}"] = round(time.monotonic() - started, 1)
            note(f"{workload} {guarantee} took {took[f'{workload} {guarantee}']} s")
    details = _details(figures) | {"seconds_taken": took, "broker": options.broker, "records": options.records}
    return Report("streams", _bars(figures), details, _text(figures))


def _race(
    course: Course, names: Sequence[str], workload: str, guarantee: str, found: dict[str, list[Round]], runs: int
) -> None:
    """All of them run at once, and work in turn. Who fails gets no figure, and does not end the bench."""
    try:
        with ExitStack() as stack:
            racers = [stack.enter_context(course.racer(name, workload, guarantee)) for name in names]
            for racer in racers:
                racer.warm_up()
            for number in range(runs):
                for racer in racers if number % 2 == 0 else racers[::-1]:
                    _tell(racer, racer.round())
            for racer in racers:
                racer.check()
            found.update({racer.name: racer.rounds for racer in racers})
    except (BenchFailed, KafkaException) as error:
        note(f"NO FIGURES for {' and '.join(names)}, {workload}, {guarantee}: {error}")


def _tell(racer: Racer, done: Round) -> None:
    note(
        f"{racer.job.workload} {racer.job.guarantee} {racer.name}: {done.per_second:,.0f}/s, "
        f"{done.cpu_us:.2f} us of CPU each, the broker {done.broker_us:.2f}"
    )


def _bars(figures: Figures) -> list[Bar]:
    wanted: list[tuple[str, str, str, str, float | None]] = [
        ("customer_totals_eos_vs_kafka_streams", CUSTOMER_TOTALS, EXACTLY_ONCE, KAFKA_STREAMS, 1.0),
        ("customer_totals_vs_kafka_streams", CUSTOMER_TOTALS, AT_LEAST_ONCE, KAFKA_STREAMS, None),
        ("customer_totals_vs_quix", CUSTOMER_TOTALS, AT_LEAST_ONCE, QUIX, 10),
        ("customer_totals_eos_vs_quix", CUSTOMER_TOTALS, EXACTLY_ONCE, QUIX, None),
        ("customer_totals_vs_faust", CUSTOMER_TOTALS, AT_LEAST_ONCE, FAUST, 20),
        ("customer_totals_eos_vs_faust", CUSTOMER_TOTALS, EXACTLY_ONCE, FAUST, None),
    ]
    for workload in (STATELESS, WINDOWED, JOIN):
        wanted.append((f"{workload}_vs_kafka_streams", workload, AT_LEAST_ONCE, KAFKA_STREAMS, None))
        wanted.append((f"{workload}_eos_vs_kafka_streams", workload, EXACTLY_ONCE, KAFKA_STREAMS, None))
    return [
        Bar(name, _ratios(found[OTTLA], found[peer]), "times", at_least=at_least)
        for name, workload, guarantee, peer, at_least in wanted
        if {OTTLA, peer} <= (found := figures.get((workload, guarantee), {})).keys()
    ]


def _ratios(ours: Sequence[Round], theirs: Sequence[Round]) -> list[float]:
    return [a.per_second / b.per_second for a, b in zip(ours, theirs, strict=True)]


def _details(figures: Figures) -> dict[str, object]:
    return {
        f"{workload} {guarantee}": {
            name: {
                "per_second": round(median(one.per_second for one in rounds)),
                "cpu_us": round(median(one.cpu_us for one in rounds), 2),
                "broker_cpu_us": round(median(one.broker_us for one in rounds), 2),
                "rounds": [round(one.per_second) for one in rounds],
            }
            for name, rounds in found.items()
        }
        for (workload, guarantee), found in figures.items()
    }


def _text(figures: Figures) -> str:
    names = (OTTLA, KAFKA_STREAMS, QUIX, FAUST)
    lines = [f"{'records/s (us of CPU each + the broker)':44}" + "".join(f"{name:>26}" for name in names)]
    for (workload, guarantee), found in figures.items():
        cells = []
        for name in names:
            rounds = found.get(name)
            cells.append(
                f"{median(r.per_second for r in rounds):,.0f} ({median(r.cpu_us for r in rounds):.1f} + "
                f"{median(r.broker_us for r in rounds):.1f})"
                if rounds
                else "-"
            )
        lines.append(f"{workload + ', ' + guarantee.replace('_', ' '):44}" + "".join(f"{cell:>26}" for cell in cells))
    return "\n".join([*lines, f"{CORES} cores; the broker runs on them too."])
