"""What a user waits for before anything happens, and what the install weighs."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from bench.commands import note, timed
from bench.report import Bar, Report
from ottla.testing import EmbeddedBroker

ROOT = Path(__file__).parent.parent
IMPORT = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"


def run(options: argparse.Namespace) -> Report:
    runs = max(5, options.runs)
    imports = [_seconds("import ottla") for _ in range(runs)]
    names = [_seconds("from ottla import App, Context, Retry, event") for _ in range(runs)]
    helps = [timed([sys.executable, "-m", "ottla.cli", "--help"]) for _ in range(runs)]
    brokers = [_broker_ready() for _ in range(runs)]
    note("installing the base package into a new environment ...")
    return Report(
        "startup",
        [
            Bar("import_seconds", imports, "s", at_most=0.25),
            Bar("import_names_seconds", names, "s", at_most=0.25),
            Bar("help_seconds", helps, "s", at_most=0.5),
            Bar("broker_ready_seconds", brokers, "s"),
            Bar("base_install_mb", [_base_install_mb()], "MB", at_most=60),
        ],
    )


def _seconds(statement: str) -> float:
    return float(subprocess.check_output([sys.executable, "-c", IMPORT.format(statement)], text=True))


def _broker_ready() -> float:
    import time

    started = time.perf_counter()
    with EmbeddedBroker():
        return time.perf_counter() - started


def _base_install_mb() -> float:
    """Megabytes that `pip install ottla` adds to an environment, without what every environment has (pip itself)."""
    with tempfile.TemporaryDirectory(prefix="ottla-install-") as folder:
        venv.create(folder, with_pip=True)
        site = next(Path(folder).glob("lib/python3*/site-packages"))
        before = _size(site)
        timed([f"{folder}/bin/python", "-m", "pip", "install", "--quiet", str(ROOT)])
        return (_size(site) - before) / 1e6


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
