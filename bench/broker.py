"""The embedded broker beside Apache Kafka: throughput, latency, transactions, start, memory, restart.

Both are started once, and confluent-kafka talks to them in turn (A B, B A, ...) with the same settings, so that each
ratio compares two measurements made seconds apart; while one is measured the other is held. Kafka runs in its default,
which leaves the disk to the operating system; the embedded broker in its own, which syncs before each acknowledgement.
What each does with the other's guarantee is shown beside it, and which is ahead then.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException

from bench import restart, targets
from bench.commands import note
from bench.report import Bar, Report
from bench.targets import FSYNC, KAFKA, NO_FSYNC, OTTLA
from bench.workloads import SETTINGS, BenchFailed, Load, Setting, consume, copy_in_transactions, latencies, topic
from ottla.errors import ServerFailed
from ottla.testing import Broker

MESSAGES = {100: 500_000, 1000: 200_000}
COPIED = {100: 500_000, 1000: 250_000}
# In slices, in turn: a p99 wants thousands of messages, and a busy spell shall hit both.
LATENCY_SECONDS = 5.0
LATENCY_SLICES = 4
IDLE_SECONDS = 3.0
WARM_UP_ROUNDS = 2
# What is over in half a second differs by a tenth from one time to the next: the median of three counts.
WRITINGS = 3
READINGS = 3

Brokers = Mapping[str, Broker]


@dataclass
class Series:
    """One figure of one broker under one setting: a value for each run, and the broker's CPU time for each message."""

    values: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


@dataclass
class Table:
    """Figures by setting and broker."""

    title: str
    unit: str
    scale: float = 1.0
    rows: dict[str, dict[str, Series]] = field(default_factory=dict)

    def add(self, row: str, target: str, value: float, cpu_us: float = 0.0) -> None:
        series = self.rows.setdefault(row, {}).setdefault(target, Series())
        series.values.append(value)
        series.cpu_us.append(cpu_us)

    def ratios(self, row: str) -> list[float]:
        """The embedded broker's value by Kafka's, run by run."""
        series = self.rows[row]
        return [a / b for a, b in zip(series[OTTLA].values, series[KAFKA].values, strict=True)]

    def equal(self, ours: str, theirs: str) -> tuple[str, float]:
        """The row with the lowest ratio of two that promise the same, in the run that had both, and that ratio."""
        ratios = {row: both[ours].values[0] / both[theirs].values[0] for row, both in self.rows.items()}
        row = min(ratios, key=ratios.__getitem__)
        return row, ratios[row]

    def lowest(self) -> tuple[str, list[float]]:
        """The row with the lowest median ratio, and its ratios."""
        row = min(self.rows, key=lambda row: statistics.median(self.ratios(row)))
        return row, self.ratios(row)

    def details(self) -> list[dict[str, Any]]:
        return [
            {"setting": row.split(), "ratio": round(statistics.median(self.ratios(row)), 3)}
            | {
                target: {
                    self.unit: round(statistics.median(series.values) * self.scale, 3),
                    "min": round(min(series.values) * self.scale, 3),
                    "max": round(max(series.values) * self.scale, 3),
                    "broker_cpu_us_per_message": round(statistics.median(series.cpu_us), 3),
                }
                for target, series in by_target.items()
            }
            for row, by_target in self.rows.items()
        ]

    def text(self) -> str:
        names = list(next(iter(self.rows.values())))
        lines = [f"{self.title}, {self.unit} (in brackets: microseconds of the broker's CPU for each message)"]
        lines.append(f"{'':16}" + "".join(f"{name:>22}" for name in names) + f"{'ottla/kafka':>14}")
        for row, by_target in self.rows.items():
            cells = ""
            for series in by_target.values():
                cpu = f"({statistics.median(series.cpu_us):.2f})" if any(series.cpu_us) else ""
                cells += f"{statistics.median(series.values) * self.scale:>14.4g} {cpu:7}"
            ratios = self.ratios(row)
            lines.append(f"{row:16}{cells}{statistics.median(ratios):>8.2f} ({min(ratios):.2f} .. {max(ratios):.2f})")
        return "\n".join(lines)


def run(options: argparse.Namespace) -> Report:
    parts = set(options.only)
    report = Report("broker", [])
    with _failing_in_words(), _stopping_on_signals(), _compiled_once():
        if "restart" in parts:
            _restart(options, report)
        if parts - {"restart"}:
            with contextlib.ExitStack() as stack:
                brokers = targets.all_targets()
                for broker in brokers.values():
                    stack.enter_context(contextlib.closing(broker))
                _start(brokers, report, options.runs if "start" in parts else 1)
                if parts & {"produce", "consume"}:
                    _throughput(brokers, options.runs, report)
                if "transactions" in parts:
                    _transactions(brokers, options.runs, report)
                if "latency" in parts:
                    _latency(brokers, options.runs, report)
    order = {name: at for at, name in enumerate(BARS)}
    report.bars.sort(key=lambda bar: order[bar.name])
    return report


EQUAL_GUARANTEES = (
    ("produce_vs_kafka_both_sync", OTTLA, FSYNC),
    ("produce_vs_kafka_neither_syncs", NO_FSYNC, KAFKA),
)
BARS = (
    "produce_vs_kafka",
    *(name for name, _, _ in EQUAL_GUARANTEES),
    "consume_vs_kafka",
    "transactions_vs_kafka",
    "latency_p99_vs_kafka",
    "ready_seconds",
    "idle_mb",
    "restart_seconds",
    "restart_mb",
)


@contextlib.contextmanager
def _failing_in_words() -> Iterator[None]:
    try:
        yield
    except (BenchFailed, ServerFailed, KafkaException) as failure:
        raise SystemExit(f"bench broker: {failure}") from failure


@contextlib.contextmanager
def _stopping_on_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM unwind everything, so that brokers are stopped and folders removed, without a traceback."""

    def stop(*_: object) -> None:
        raise SystemExit("stopped")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _compiled_once() -> Iterator[None]:
    """Lets Python keep compiled modules, as it does for users, in a folder of our own."""
    changed = {"PYTHONDONTWRITEBYTECODE": os.environ.pop("PYTHONDONTWRITEBYTECODE", None)}
    changed["PYTHONPYCACHEPREFIX"] = os.environ.get("PYTHONPYCACHEPREFIX")
    with tempfile.TemporaryDirectory(prefix="ottla-bench-", ignore_cleanup_errors=True) as folder:
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        try:
            with targets.embedded():
                pass  # compiles them
            yield
        finally:
            for name, value in changed.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _in_turn(brokers: Brokers, run: int) -> list[str]:
    """A B in one run, B A in the next: whatever drifts hits both. With the other's guarantee each is measured once."""
    turn = [name for name in brokers if name not in (NO_FSYNC, FSYNC) or run <= 0]
    return turn if run % 2 == 0 else turn[::-1]


def _start(brokers: Brokers, report: Report, runs: int) -> None:
    note("start: ready time and idle memory ...")
    ready: dict[str, list[float]] = {name: [] for name in brokers}
    idle: dict[str, list[float]] = {name: [] for name in brokers}
    for _ in range(max(1, runs)):
        for name, broker in brokers.items():
            broker.stop()
            begun = time.perf_counter()
            broker.start()
            ready[name].append(time.perf_counter() - begun)
        time.sleep(IDLE_SECONDS)
        for name, broker in brokers.items():
            idle[name].append(targets.resident_mb(broker.pid))
    report.bars.append(Bar("ready_seconds", ready[OTTLA], "s", at_most=0.3))
    report.bars.append(Bar("idle_mb", idle[OTTLA], "MB", at_most=40))
    report.details["start"] = {
        name: {"ready_seconds": round(min(ready[name]), 3), "idle_mb": round(statistics.median(idle[name]), 1)}
        for name in brokers
    }
    lines = [f"{'start and rest':16}" + "".join(f"{name:>22}" for name in brokers)]
    lines.append(f"{'ready, s':16}" + "".join(f"{statistics.median(ready[name]):>22.3g}" for name in brokers))
    lines.append(f"{'idle, MB':16}" + "".join(f"{statistics.median(idle[name]):>22.4g}" for name in brokers))
    _show(report, "\n".join(lines))


def _throughput(brokers: Brokers, runs: int, report: Report) -> None:
    produced, consumed = Table("produce", "k messages/s", 1e-3), Table("consume", "k messages/s", 1e-3)
    for run in range(-WARM_UP_ROUNDS, runs):
        note(f"produce and consume: {'warming up' if run < 0 else f'run {run + 1} of {runs}'} ...")
        for setting in SETTINGS:
            count = MESSAGES[setting.size]
            for name in _in_turn(brokers, run):
                with targets.alone(brokers, name) as broker:
                    writing, reading = _write_and_read(broker, setting, count)
                if run >= 0:
                    produced.add(str(setting), name, *writing)
                    consumed.add(str(setting), name, *reading)
    for table, name in ((produced, "produce_vs_kafka"), (consumed, "consume_vs_kafka")):
        _add_table(report, table, name, at_least=1.0)
    for name, ours, theirs in EQUAL_GUARANTEES:
        row, ratio = produced.equal(ours, theirs)
        report.bars.append(Bar(name, [ratio], f"lowest: {' '.join(row.split())}"))


def _add_table(report: Report, table: Table, name: str, at_least: float) -> None:
    row, ratios = table.lowest()
    report.bars.append(Bar(name, ratios, f"lowest: {' '.join(row.split())}", at_least=at_least))
    report.details[name] = table.details()
    _show(report, table.text())


def _show(report: Report, table: str) -> None:
    report.text += f"\n\n{table}" if report.text else table


Costed = tuple[float, float]  # messages per second, and the broker's CPU time in microseconds for each message


def _costed(broker: Broker, count: int, work: Callable[[], float]) -> Costed:
    before = targets.cpu_seconds(broker.pid)
    seconds = work()
    return count / seconds, (targets.cpu_seconds(broker.pid) - before) / count * 1e6


def _write_and_read(broker: Broker, setting: Setting, count: int) -> tuple[Costed, Costed]:
    servers = broker.bootstrap_servers
    with topic(servers, setting.partitions, folder=broker.data_dir) as name:
        load = Load(servers, name, setting)
        writings: list[Costed] = []
        for _ in range(WRITINGS):
            os.sync()  # what was left to the operating system before shall not be written at our cost
            writings.append(_costed(broker, count, lambda: load.run(count)))
        os.sync()
        written = WRITINGS * count  # all of it: a quarter of a second of reading says little
        readings = [
            _costed(broker, written, lambda: consume(servers, name, setting.partitions, written))
            for _ in range(READINGS)
        ]
    return sorted(writings)[WRITINGS // 2], sorted(readings)[READINGS // 2]


def _transactions(brokers: Brokers, runs: int, report: Report) -> None:
    compared = {name: broker for name, broker in brokers.items() if name in (KAFKA, OTTLA)}
    table = Table("transactions: consume, produce, commit every 100 ms", "k messages/s", 1e-3)
    commits: dict[str, list[float]] = {name: [] for name in compared}
    for setting in SETTINGS:
        note(f"transactions: {setting} ...")
        count = COPIED[setting.size]
        with contextlib.ExitStack() as stack:
            sources: dict[str, str] = {}
            for name, broker in compared.items():
                kept = topic(broker.bootstrap_servers, setting.partitions, folder=broker.data_dir)
                sources[name] = stack.enter_context(kept)
                Load(broker.bootstrap_servers, sources[name], setting).run(count)
            for run in range(-1, runs):
                for name in _in_turn(compared, run):
                    with targets.alone(brokers, name) as broker:
                        costed, seconds = _copy(broker, sources[name], setting, count)
                    if run >= 0:
                        table.add(str(setting), name, *costed)
                        commits[name].extend(seconds)
    _add_table(report, table, "transactions_vs_kafka", at_least=0.8)
    milliseconds = {name: round(statistics.median(seconds) * 1000, 1) for name, seconds in commits.items()}
    report.details["commit_p50_ms"] = milliseconds
    report.text += "\ncommit, p50: " + ", ".join(f"{name} {ms:g} ms" for name, ms in milliseconds.items())


def _copy(broker: Broker, source: str, setting: Setting, count: int) -> tuple[Costed, Sequence[float]]:
    servers = broker.bootstrap_servers
    with topic(servers, setting.partitions, folder=broker.data_dir) as target:
        os.sync()
        commits: list[float] = []

        def work() -> float:
            copied = copy_in_transactions(servers, source, target, setting, count)
            commits.extend(copied.commits)
            return copied.seconds

        return _costed(broker, count, work), commits


def _latency(brokers: Brokers, runs: int, report: Report) -> None:
    table = Table("end to end at 200 messages/s, 100 B", "ms", 1e3)
    for run in range(-1, runs):
        note(f"latency: {'warming up' if run < 0 else f'run {run + 1} of {runs}'} ...")
        seen: dict[str, list[float]] = {}
        for part in range(LATENCY_SLICES if run >= 0 else 1):
            for name in _in_turn(brokers, run)[:: 1 if part % 2 == 0 else -1]:
                with targets.alone(brokers, name) as broker:
                    seen.setdefault(name, []).extend(_latencies(broker))
        if run >= 0:
            for name, values in seen.items():
                values.sort()
                table.add("p50", name, values[len(values) // 2])
                table.add("p99", name, values[int(len(values) * 0.99)])
    report.bars.append(Bar("latency_p99_vs_kafka", table.ratios("p99"), "times Kafka's", at_most=1.0))
    report.details["latency"] = table.details()
    _show(report, table.text())


def _latencies(broker: Broker) -> list[float]:
    servers = broker.bootstrap_servers
    with topic(servers, 1, folder=broker.data_dir) as name:
        os.sync()
        return latencies(servers, name, LATENCY_SECONDS)


def _restart(options: argparse.Namespace, report: Report) -> None:
    restarts = restart.measure(options.restart_gb, options.restart_partitions, options.runs)
    stopped = [one for one in restarts if one.how == "SIGTERM"]
    killed = [one for one in restarts if one.how != "SIGTERM"]
    slower = max(stopped, killed, key=lambda ones: statistics.median(one.seconds for one in ones))
    what = f"{options.restart_gb:g} GB, {options.restart_partitions} partitions"
    report.bars.append(Bar("restart_seconds", [one.seconds for one in slower], f"s, {what}", at_most=3.0))
    report.bars.append(Bar("restart_mb", [one.megabytes for one in restarts], f"MB, {what}", at_most=200))
    lines = [f"restart with {what}, nothing cached", f"{'after':16}{'ready, s':>22}{'RSS, MB':>22}"]
    for ones in (stopped, killed):
        seconds, megabytes = ([one.seconds for one in ones], [one.megabytes for one in ones])
        lines.append(f"{ones[0].how:16}{statistics.median(seconds):>22.3g}{statistics.median(megabytes):>22.4g}")
        report.details[f"restart after {ones[0].how}"] = {"seconds": seconds, "mb": megabytes}
    report.details["restart_gb"] = options.restart_gb
    _show(report, "\n".join(lines))
