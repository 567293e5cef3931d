"""`ottla dev` at work: starts everything, restarts what changed or crashed, stops everything."""

from __future__ import annotations

import queue
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from ottla.cli.dev_plan import OURSELVES, Plan
from ottla.cli.tail import LogTail
from ottla.cli.watch import CodeWatch
from ottla.errors import ProcessExited
from ottla.processes import Exit, Supervisor

SERVER_START_S = 30.0
STOP_S = 4.5
RESTART_STOP_S = 3.0

# A process that crashes again and again waits longer each time; one that ran for a while starts afresh.
PAUSE_FIRST_S = 0.5
PAUSE_MAX_S = 15.0
PAUSE_FORGOTTEN_AFTER_S = 20.0

# How often a pause that is over is looked for.
TICK_S = 0.1


@dataclass(frozen=True)
class Changed:
    """Files changed on which these services depend."""

    services: list[str]
    paths: list[Path]


class Pauses:
    """How long each process waits after a crash, and which are waiting."""

    def __init__(self) -> None:
        self._lengths: dict[str, float] = {}
        self._due: dict[str, float] = {}

    def after_crash(self, name: str, ran_s: float) -> float:
        """Begins a pause; gives its length in seconds."""
        before = 0.0 if ran_s > PAUSE_FORGOTTEN_AFTER_S else self._lengths.get(name, 0.0)
        length = min(before * 2 or PAUSE_FIRST_S, PAUSE_MAX_S)
        self._lengths[name] = length
        self._due[name] = time.monotonic() + length
        return length

    def forget(self, name: str) -> None:
        """The process got new code: what went before no longer counts."""
        self._lengths.pop(name, None)
        self._due.pop(name, None)

    def over(self) -> list[str]:
        """The processes whose pause is over; each is given once."""
        now = time.monotonic()
        names = [name for name, due in self._due.items() if due <= now]
        for name in names:
            del self._due[name]
        return names


class DevSession:
    """One run of `ottla dev`. Other threads only put events into a queue; all is decided on the thread of `run`."""

    def __init__(self, plan: Plan, *, reload: bool) -> None:
        self._plan = plan
        self._reload = reload
        # A SimpleQueue: its `put` may be interrupted by a signal without harm.
        self._events: queue.SimpleQueue[Exit | Changed] = queue.SimpleQueue()
        self._supervisor = Supervisor(plan.log_dir, self._events.put)
        self._commands = {command.name: command for command in [*plan.servers, *plan.services]}
        self._tail = LogTail(plan.log_dir)
        self._pauses = Pauses()
        self._started: dict[str, float] = {}

    def run(self) -> None:
        """Runs until SIGINT or SIGTERM.

        Raises:
            ProcessExited, ProcessNotReady: The embedded broker or the registry did not come up.
        """
        self._forget_old_logs()
        with ExitStack() as stack, _sigterm_like_ctrl_c():
            stack.enter_context(self._tail)
            stack.callback(self._stop)
            try:
                if self._reload:
                    stack.enter_context(CodeWatch(self._plan.watched, self._note_change))
                self._start()
                while True:
                    self._step()
            except KeyboardInterrupt:
                self._say("stopping")

    def _start(self) -> None:
        for line in self._plan.addresses:
            self._say(line)
        for server in self._plan.servers:
            self._launch(server.name)
            try:
                self._supervisor.wait_ready(server.name, timeout_s=SERVER_START_S)
            except ProcessExited:
                # Its last lines say why, and they have been shown.
                self._tail.drain(partial=True)
                raise ProcessExited(f"{server.name} ended before it was ready; see the lines above") from None
        for service in self._plan.services:
            self._launch(service.name)
        if self._reload:
            self._say("watching for changes; Ctrl-C stops everything")

    def _forget_old_logs(self) -> None:
        """The files hold this session only, or they would grow for ever."""
        for name in self._commands:
            (self._plan.log_dir / f"{name}.log").unlink(missing_ok=True)
            self._tail.add(name)

    def _note_change(self, services: list[str], paths: list[Path]) -> None:
        self._events.put(Changed(services, paths))

    def _launch(self, name: str) -> None:
        self._started[name] = time.monotonic()
        self._supervisor.start(self._commands[name])

    def _step(self) -> None:
        try:
            event = self._events.get(timeout=TICK_S)
        except queue.Empty:
            pass
        else:
            if isinstance(event, Exit):
                self._crashed(event)
            else:
                self._restart(event)
        for name in self._pauses.over():
            if not self._supervisor[name].running:
                self._say(f"starting {name} again")
                self._launch(name)

    def _crashed(self, ended: Exit) -> None:
        if ended.asked or self._supervisor[ended.name].running:
            return
        self._tail.drain(partial=True)
        pause = self._pauses.after_crash(ended.name, time.monotonic() - self._started[ended.name])
        how = (
            f"was ended by {signal.Signals(-ended.returncode).name}"
            if ended.returncode < 0
            else f"ended with status {ended.returncode}"
        )
        again = f"starting it again in {pause:g} s"
        if self._reload and ended.name in self._plan.watched:
            again += ", or when its code changes"
        self._say(f"{ended.name} {how}; {again}", trouble=True)

    def _restart(self, change: Changed) -> None:
        if OURSELVES in change.services:
            self._say("ottla.toml changed: start ottla dev anew to run what it says now", trouble=True)
        names = [name for name in change.services if name != OURSELVES]
        if not names:
            return
        files = ", ".join(self._relative(path) for path in change.paths[:3])
        more = f" and {len(change.paths) - 3} more" if len(change.paths) > 3 else ""
        self._say(f"{files}{more} changed: restarting {', '.join(names)}")
        with ThreadPoolExecutor(len(names), thread_name_prefix="restart") as together:
            list(together.map(lambda name: self._supervisor.stop(name, deadline_s=RESTART_STOP_S), names))
        for name in names:
            self._pauses.forget(name)
            self._launch(name)

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self._plan.folder) if path.is_relative_to(self._plan.folder) else path)

    def _stop(self) -> None:
        killed = self._supervisor.stop_all(STOP_S)
        for name in killed:
            self._say(f"{name} did not stop in time and was killed", trouble=True)
        self._tail.drain(partial=True)
        self._say("stopped")

    def _say(self, text: str, *, trouble: bool = False) -> None:
        self._tail.say(OURSELVES, text, colour=31 if trouble else 1)


@contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
