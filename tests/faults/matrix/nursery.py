"""Starts services in no time: a process that has imported everything forks them.

python -m tests.faults.matrix.nursery      reads requests and writes what becomes of them, a JSON object per line

Nine cells, two members each, and again after every kill: importing for each of them would cost most of the matrix.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from tests.faults.matrix.service import Setup, main

STARTED = "started\n"
PATIENCE_S = 120.0


class Child:
    """One process of a service."""

    def __init__(self, nursery: Nursery, number: int, pid: int, log: Path) -> None:
        self._nursery, self._number, self.pid, self.log = nursery, number, pid, log

    def wait_until_started(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while STARTED not in self.log.read_text("utf-8", "replace"):
            assert self._nursery.status(self._number) is None, f"the service ended; its log: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"the service does not start; its log: {self.log.read_text()}"
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        if self._nursery.status(self._number) is None:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit status, as subprocess has it."""
        return self._nursery.wait(self._number)


class Nursery:
    """The parent of services. Use it with `with`; whoever still runs then is killed."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.faults.matrix.nursery"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._born: list[int] = []
        # By number of birth: the system gives the id of an ended process to another one.
        self._ended: dict[int, int] = {}
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, setup: Setup, log: Path) -> Child:
        """A new process; its output goes to `log`."""
        assert self._process.stdin is not None
        log.touch()
        with self._changed:
            number = len(self._born)
            self._process.stdin.write(json.dumps([msgspec.to_builtins(setup), str(log)]) + "\n")
            self._process.stdin.flush()
            assert self._changed.wait_for(lambda: len(self._born) > number, PATIENCE_S), "the nursery does not answer"
            return Child(self, number, self._born[number], log)

    def status(self, number: int) -> int | None:
        with self._changed:
            return self._ended.get(number)

    def wait(self, number: int) -> int:
        with self._changed:
            ended = self._changed.wait_for(lambda: number in self._ended, PATIENCE_S)
            assert ended, f"process {self._born[number]} does not end"
            return self._ended[number]

    def _read(self) -> None:
        assert self._process.stdout is not None
        alive: dict[int, int] = {}
        for line in self._process.stdout:
            said = json.loads(line)
            with self._changed:
                if "born" in said:
                    alive[said["born"]] = len(self._born)
                    self._born.append(said["born"])
                else:
                    self._ended[alive.pop(said["ended"])] = said["status"]
                self._changed.notify_all()

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # also what happens when the tests are killed
        self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)


def _say(**what: int) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _reap(*_: object) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _children.discard(pid)
        _say(ended=pid, status=os.waitstatus_to_exitcode(status))


_children: set[int] = set()


def _serve(setup: dict[str, Any], log: str) -> None:
    """What a child does: from here on it is a service like any other."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    faulthandler.enable()  # a crash says where
    faulthandler.register(signal.SIGUSR1)  # and so does who is asked
    asyncio.run(main(msgspec.convert(setup, Setup)))


def _mind() -> None:
    gc.freeze()  # a child's collections need not touch, and so copy, what is shared
    signal.signal(signal.SIGCHLD, _reap)
    for line in iter(sys.stdin.readline, ""):
        # A child that ends at once must not be said to have ended before it was said to be born.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        if (pid := os.fork()) == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            _children.clear()
            _serve(*json.loads(line))
            return
        _children.add(pid)
        _say(born=pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody listens any more
    for pid in list(_children):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    _mind()
