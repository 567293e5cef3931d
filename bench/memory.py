"""`python -m bench memory`: a service that handles thirty million records, and its memory meanwhile.

A topic of half a million real orders is read again and again (the service seeks back to its beginning), as many times
as it takes; every half second its resident size is noted. The first fifth is warming up: buffers grow to what they are
bounded to. What is judged is the line through the rest. Single samples lie up to 15 MB apart, by what is in hand just
then: over ten million records chance alone made the line rise or fall by half a megabyte per million.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
from dataclasses import replace

from bench.commands import note
from bench.consumers.job import Job
from bench.reading import ROOT, Program, full_topic
from bench.report import Bar, Report
from bench.targets import embedded
from bench.workloads import BenchFailed
from ottla.testing import EmbeddedRegistry

TIMES = 30
IN_TOPIC = 500_000
PARTITIONS = 6
WARMING_UP = 0.2
PROGRAM_SECONDS = 3600
KINDS = {"sync handler": "sync", "async handler": "async"}

Curve = list[tuple[int, float]]
"""Records handled so far, and MB."""


def run(options: argparse.Namespace) -> Report:
    """Thirty times `--records` are handled; `--runs` counts for nothing."""
    records = TIMES * options.records
    in_topic = min(IN_TOPIC, options.records)
    curves: dict[str, Curve] = {}
    with (
        embedded() as broker,
        EmbeddedRegistry(broker.bootstrap_servers) as registry,
        full_topic(broker.bootstrap_servers, registry.url, PARTITIONS, in_topic, options.orders) as job,
    ):
        for name, kind in KINDS.items():
            curves[name] = _curve(replace(job, records=records, group=f"bench-memory-{kind}"), in_topic, kind)
            note(f"{name}: {curves[name][-1][1]:.0f} MB after {records:,} records")
    bars = []
    for name, curve in curves.items():
        steady = [point for point in curve if point[0] >= WARMING_UP * records]
        bars.append(Bar(f"memory_slope {name}", [slope(steady)], "MB per million records", at_most=0.5))
        bars.append(Bar(f"memory_mb {name}", [steady[-1][1]], "MB"))
    details = {name: {"curve": _thinned(curve)} for name, curve in curves.items()}
    return Report("memory", bars, details, text(curves))


def _curve(job: Job, in_topic: int, kind: str) -> Curve:
    program = Program("ottla", "ottla_loop")
    command = [program.python, "-m", f"bench.consumers.{program.module}", job.argument(), str(in_topic), kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"the service failed with status {done.returncode}:\n{done.stdout}{done.stderr[-4000:]}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return [(records, mb) for records, mb in answer["curve"]]


def slope(curve: Curve) -> float:
    """MB for each further million records, by least squares."""
    if len({records for records, _ in curve}) < 2:
        raise BenchFailed(f"{len(curve)} samples are too few to see memory grow")
    line = statistics.linear_regression([records / 1e6 for records, _ in curve], [mb for _, mb in curve])
    return line.slope


def _thinned(curve: Curve, most: int = 100) -> Curve:
    return curve[:: max(1, len(curve) // most)] + curve[-1:]


def text(curves: dict[str, Curve]) -> str:
    """The curves, in twenty steps."""
    lines = []
    for name, curve in curves.items():
        lines.append(f"{name}: records handled, MB resident")
        lines += [f"{records:>14,}  {mb:8.1f}" for records, mb in _thinned(curve, 20)]
    return "\n".join(lines)
