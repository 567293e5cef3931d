"""Instances of the test application, each a process with state of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec

from tests.streams.runtime.totals import Setup


class Instances:
    """Starts, kills and stops them. `number` names one: who comes back with the same number finds its state."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        self._setup = setup
        self._folder = folder
        self._starts = 0
        self.running: dict[int, subprocess.Popen[str]] = {}

    def start(self, number: int, *, port: int | None = None) -> None:
        self._starts += 1
        setup = msgspec.structs.replace(self._setup, state_dir=str(self._folder / f"state-{number}"), port=port)
        log_file = self._folder / f"instance-{number}-{self._starts}.log"
        with log_file.open("w") as log:
            command = [sys.executable, "-m", "tests.streams.runtime.totals", json.dumps(msgspec.to_builtins(setup))]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.running[number] = process
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n", log_file.read_text()

    def kill(self, number: int) -> None:
        process = self.running.pop(number)
        process.kill()
        process.wait()

    def stop(self, number: int) -> None:
        process = self.running.pop(number)
        process.terminate()
        assert process.wait(60) == 0

    def close(self) -> None:
        for number in list(self.running):
            self.kill(number)

    def logs(self) -> str:
        return "\n".join(f"--- {one.name}\n{one.read_text()}" for one in sorted(self._folder.glob("instance-*.log")))
