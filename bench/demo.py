"""The shop at full rate, as `ottla demo --exit` runs it.

Each run starts from nothing: a new data folder, eight processes, free ports. The load is the sample day of real
orders, repeated under new invoice numbers, so that the steady state outweighs the start; the books must balance, or the
run does not count.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.commands import note
from bench.report import Bar, Report

SAMPLE = Path(__file__).parent.parent / "examples/shop/data/orders-2010-12-01.csv"
REPEATS = 25


def run(options: argparse.Namespace) -> Report:
    with tempfile.TemporaryDirectory(prefix="ottla-bench-") as folder:
        orders = options.orders or _repeated(Path(folder) / "orders.csv")
        days = [_demo(SAMPLE, Path(folder) / f"day-{number}") for number in range(options.runs)]
        loads = [_demo(orders, Path(folder) / f"load-{number}") for number in range(options.runs)]
    return Report(
        "demo",
        [
            Bar("orders_per_second", [x["throughput"]["orders_per_second"] for x in loads], "orders/s", at_least=300),
            Bar("first_shipped_seconds", [x["first_shipped_seconds"] for x in days + loads], "s", at_most=5),
            Bar("one_day_seconds", [x["throughput"]["seconds"] for x in days], "s", at_most=20),
            Bar("memory_at_rest_mb", [x["memory_mb"]["rss"] for x in days], "MB", at_most=600),
        ],
        {
            "load": f"{orders.name}: {loads[0]['invoices']['read']} invoices",
            "outcomes": loads[0]["orders"]["outcomes"],
            "memory_at_rest_shared_pages_counted_once_mb": days[0]["memory_mb"]["pss"],
        },
    )


def _demo(orders: Path, data: Path) -> dict[str, object] | dict[str, dict[str, float]]:
    note(f"ottla demo --orders {orders.name} --data {data.name}")
    ports = ["--broker-port", "0", "--registry-port", "0", "--http-port", "0"]
    argv = [sys.executable, "-m", "ottla.cli", "demo", "--exit", "--json", "--orders", str(orders), "--data", str(data)]
    done = subprocess.run([*argv, *ports], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(
            f"the demo failed with status {done.returncode}:\n{done.stderr[-4000:]}\n{done.stdout[-4000:]}"
        )
    summary = json.loads(done.stdout)
    note(f"  {summary['throughput']['orders_per_second']} orders/s, first shipped {summary['first_shipped_seconds']} s")
    return summary  # type: ignore[no-any-return]


def _repeated(path: Path) -> Path:
    """The sample day again and again: real orders, new invoice numbers, the same customers."""
    with SAMPLE.open(newline="", encoding="utf-8") as source, path.open("w", newline="", encoding="utf-8") as target:
        header, *lines = csv.reader(source)
        writer = csv.writer(target)
        writer.writerow(header)
        for repeat in range(REPEATS):
            for invoice, *rest in lines:
                writer.writerow(
                    [f"{invoice}{repeat:02d}" if invoice[0] != "C" else f"C{invoice[1:]}{repeat:02d}", *rest]
                )
    return path
