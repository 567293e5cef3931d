"""`ottla demo` as a process, for tests: started, watched, interrupted, its children killed, its summary read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from shop.demo.read_model import ReadModel

# What a child's command line holds.
PROGRAMS = {
    "broker": "ottla.broker",
    "registry": "ottla.registry.server",
    "orders": "shop.orders.service:api",
    "inventory": "shop.inventory.service:app",
    "payments": "shop.payments.service:app",
    "shipping": "shop.shipping.service:app",
    "notifications": "shop.notifications.service:app",
}


class RunningDemo:
    """One `ottla demo --json` on free ports. Whatever is left of it is killed on leaving the block."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        data.mkdir(parents=True, exist_ok=True)
        self._out, self._err = data / "stdout.txt", data / "stderr.txt"
        ports = ["--broker-port", "0", "--registry-port", "0", "--http-port", "0"]
        command = [sys.executable, "-m", "ottla.cli", "demo", "--json", "--data", str(data), *ports, *options]
        # Its own folder, and none of the settings of the person who runs the tests.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OTTLA_")}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=err, cwd=data, env=environment, start_new_session=True
            )
        self._read_model = ReadModel(f"sqlite:///{data}/db/orders.db")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._read_model.close()
        self.process.kill()  # its children die with it
        self.process.wait()
        if kind is not None:
            print(self.said)
            for log in sorted((self.data / "logs").glob("*.log")):
                print(f"--- {log.name}", log.read_text("utf-8", "replace")[-3000:], sep="\n")

    @property
    def said(self) -> str:
        """What it has written to stderr so far."""
        return self._err.read_text("utf-8", "replace")

    def finish(self, timeout_s: float = 120.0) -> tuple[int, dict[str, Any]]:
        """Waits for its end; gives the exit status and the summary."""
        status = self.process.wait(timeout_s)
        summary: dict[str, Any] = json.loads(self._out.read_text())
        return status, summary

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def child(self, name: str) -> psutil.Process:
        """The process of one of its children, by the name of `PROGRAMS`."""
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # one that was just killed
                if PROGRAMS[name] in child.cmdline():
                    return child
        raise AssertionError(f"the demo has no running child {name}")

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def ended(self) -> int:
        """How many orders have reached their end."""
        totals = self._read_model.totals()
        return totals.ended if totals else 0

    def wait_until(self, condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
        """Waits for a true value and gives it back; fails if the demo ends first."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            assert self.process.poll() is None, f"the demo ended before {what}:\n{self.said}"
            assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s:\n{self.said}"
            time.sleep(0.02)
        return value
