"""`python -m bench listener`: Ottla's listeners beside a bare client loop over the same topic of real orders.

A bare loop polls, reads `value()` and commits; a listener decodes Avro into a typed event, calls a handler, tracks
offsets, measures, and commits behind what is finished. Each program is a process of its own, timed from its first
record to its last.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence

from bench.commands import note
from bench.consumers.job import Job
from bench.reading import Outcome, Program, full_topic, run_program
from bench.report import Bar, Report
from bench.targets import embedded
from ottla.testing import EmbeddedRegistry

PARTITIONS = (1, 6)
AWAITED_RECORDS = 100_000
AWAITED_PARALLEL = 256
AWAITED_MS = (1.0, 10.0)
AWAITED_MOST = 20_000
"""What is asked of handlers that wait: 90 % of the bound, up to so many records per second."""

POLL = Program("bare confluent-kafka, poll()", "bare_confluent")
BATCHES = Program("bare confluent-kafka, consume(1000)", "bare_confluent_batches")
AIOKAFKA = Program("bare aiokafka, getmany()", "bare_aiokafka")
SYNC = Program("ottla, sync handler", "ottla_app", "sync")
ASYNC = Program("ottla, async handler", "ottla_app", "async")
BATCH = Program("ottla, batch handler (500)", "ottla_app", "batch")
ANSWER = Program("ottla, sync, returns an event", "ottla_app", "sync-out", share=0.2)
EXACTLY_ONCE = Program("ottla, sync, returns an event, exactly once", "ottla_app", "sync-eos", share=0.2)
PROGRAMS = (POLL, BATCHES, AIOKAFKA, SYNC, ASYNC, BATCH, ANSWER, EXACTLY_ONCE)
AWAITED = Program("ottla, per_key(256), awaiting", "ottla_app", "async")

Figures = dict[Program, list[Outcome]]


def run(options: argparse.Namespace) -> Report:
    tables: dict[str, Figures] = {}
    awaited: dict[float, list[float]] = {ms: [] for ms in AWAITED_MS}
    with embedded() as broker, EmbeddedRegistry(broker.bootstrap_servers) as registry:
        for partitions in PARTITIONS:
            with full_topic(broker.bootstrap_servers, registry.url, partitions, options.records, options.orders) as job:
                tables[f"{partitions}p"] = _measure(job, options.runs)
        with full_topic(broker.bootstrap_servers, registry.url, 1, AWAITED_RECORDS, options.orders) as job:
            for _ in range(options.runs):
                for ms in AWAITED_MS:
                    found = run_program(AWAITED, job, await_ms=ms, parallel=AWAITED_PARALLEL)
                    awaited[ms].append(found.per_second)
                    note(f"{AWAITED.name} {ms:g} ms: {found.per_second:,.0f}/s")
    return Report("listener", _bars(tables, awaited), details(tables), text(tables))


def _measure(job: Job, runs: int) -> Figures:
    """All programs in turn, so that what disturbs the machine disturbs all of them."""
    figures: Figures = {program: [] for program in PROGRAMS}
    for _ in range(runs):
        for program in PROGRAMS:
            figures[program].append(run_program(program, job))
            note(f"{job.partitions}p {program.name}: {figures[program][-1].per_second:,.0f}/s")
    return figures


def _bars(tables: dict[str, Figures], awaited: dict[float, list[float]]) -> list[Bar]:
    return [
        lowest_ratio("listener_sync_vs_bare", SYNC, POLL, tables, at_least=0.70),
        lowest_ratio("listener_async_vs_bare", ASYNC, POLL, tables, at_least=0.60),
        lowest_ratio("listener_sync_vs_bare_batches", SYNC, BATCHES, tables),
        lowest_ratio("listener_sync_vs_aiokafka", SYNC, AIOKAFKA, tables),
        lowest_ratio("exactly_once_vs_at_least_once", EXACTLY_ONCE, ANSWER, tables, at_least=0.75),
        *(
            Bar(f"per_key_{ms:g}ms_vs_bound", [value / _bound(ms) for value in values], "times", at_least=0.9)
            for ms, values in awaited.items()
        ),
    ]


def _bound(ms: float) -> float:
    return min(AWAITED_PARALLEL / ms * 1000, AWAITED_MOST)


def lowest_ratio(
    name: str, ours: Program, theirs: Program, tables: dict[str, Figures], *, at_least: float | None = None
) -> Bar:
    """The ratio of throughputs, run by run, in the setting where its median is lowest."""
    ratios = [
        [a.per_second / b.per_second for a, b in zip(table[ours], table[theirs], strict=True)]
        for table in tables.values()
    ]
    return Bar(name, min(ratios, key=statistics.median), "times", at_least=at_least)


def median(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        statistics.median(one.per_second for one in outcomes), statistics.median(one.cpu_us for one in outcomes)
    )


def details(tables: dict[str, Figures]) -> dict[str, dict[str, dict[str, float]]]:
    """Medians for the JSON."""
    return {
        setting: {
            program.name: {"per_second": round(median(found).per_second), "cpu_us": round(median(found).cpu_us, 2)}
            for program, found in table.items()
        }
        for setting, table in tables.items()
    }


def text(tables: dict[str, Figures]) -> str:
    """One line for each program: records per second, and microseconds of CPU for each record, in each setting."""
    programs = list(dict.fromkeys(program for table in tables.values() for program in table))
    width = max(len(program.name) for program in programs)
    lines = [f"{'records/s (us of CPU each)':{width}}" + "".join(f"{setting:>24}" for setting in tables)]
    for program in programs:
        cells = [median(table[program]) if program in table else None for table in tables.values()]
        shown = [f"{one.per_second:,.0f} ({one.cpu_us:.1f})" if one else "-" for one in cells]
        lines.append(f"{program.name:{width}}" + "".join(f"{cell:>24}" for cell in shown))
    return "\n".join([*lines, f"{os.cpu_count()} cores; the broker runs on them too."])
