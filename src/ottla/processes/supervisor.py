"""All children together: `Supervisor` starts them, waits for them, notices their end, restarts and stops them."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from ottla.errors import ConfigurationError
from ottla.processes.child import Child, Command, Exit

# What each group of children keeps of the deadline when an earlier group does not want to end.
_LAST_GROUPS_SHARE_S = 1.0


class Supervisor:
    """Runs named child processes; safe to use from any thread, and usable as a context manager.

    Children die with this process, however it ends (Linux; see `guard.py`). Each child writes to `LOG_DIR/NAME.log`.

    Args:
        log_dir: Where the log files go; created if missing.
        on_exit: Called from a watcher thread whenever a child ended, asked for or not (`Exit.asked`).
    """

    def __init__(self, log_dir: Path, on_exit: Callable[[Exit], None] | None = None) -> None:
        self.log_dir = log_dir
        self._on_exit = on_exit
        self._children: dict[str, Child] = {}
        self._exits: list[Exit] = []
        self._lock = threading.RLock()
        # The kernel ends a guarded child when the thread that started it ends: one thread starts them all and lives on.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="supervisor")

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()

    def __getitem__(self, name: str) -> Child:
        try:
            return self._children[name]
        except KeyError:
            raise ConfigurationError(
                f"no process is named {name!r}; there are {', '.join(self._children) or 'none'}"
            ) from None

    @property
    def children(self) -> list[Child]:
        """In the order of their start."""
        with self._lock:
            return list(self._children.values())

    @property
    def exits(self) -> list[Exit]:
        """Every end of a child so far, oldest first."""
        with self._lock:
            return list(self._exits)

    @property
    def crashes(self) -> list[Exit]:
        """The ends nobody asked for."""
        return [exit_ for exit_ in self.exits if not exit_.asked]

    def start(self, command: Command) -> Child:
        """Starts a process and returns at once; `wait_ready` waits for it.

        Raises:
            ConfigurationError: A process of that name runs already.
        """
        with self._lock:
            before = self._children.get(command.name)
            if before is not None and before.running:
                raise ConfigurationError(f"a process named {command.name!r} runs already (process {before.pid})")
            child = self._starter.submit(Child, command, self.log_dir / f"{command.name}.log", self._note_exit).result()
            self._children[command.name] = child
            return child

    def wait_ready(self, *names: str, timeout_s: float = 30.0) -> None:
        """Waits until the named children (all, if none is named) are ready.

        Raises:
            ProcessExited: One ended instead.
            ProcessNotReady: Not all were ready in time.
        """
        deadline = time.monotonic() + timeout_s
        for child in [self[name] for name in names] or self.children:
            child.wait_ready(max(0.0, deadline - time.monotonic()))

    def restart(self, name: str, *, deadline_s: float = 5.0) -> Child:
        """Stops a child if it still runs, and starts the same command again."""
        child = self[name]
        self.stop(name, deadline_s=deadline_s)
        return self.start(child.command)

    def kill(self, name: str, number: int = signal.SIGKILL, *, timeout_s: float = 5.0) -> None:
        """Sends a signal as a crash would, not as a stop, and waits up to `timeout_s` for the end. For tests."""
        child = self[name]
        child.signal(number)
        child.wait_ended(timeout_s)

    def stop(self, *names: str, deadline_s: float = 5.0) -> list[str]:
        """Ends the named children together: SIGTERM, and SIGKILL after `deadline_s` seconds.

        Returns:
            The names of those that did not end when asked and were killed.
        """
        return self._stop_group([self[name] for name in names], time.monotonic() + deadline_s)

    def stop_all(self, deadline_s: float = 5.0) -> list[str]:
        """Ends all children within `deadline_s` seconds, those with the highest `stop_order` first.

        Returns:
            The names of those that did not end when asked and were killed.
        """
        deadline = time.monotonic() + deadline_s
        orders = sorted({child.command.stop_order for child in self.children}, reverse=True)
        killed: list[str] = []
        for position, order in enumerate(orders):
            group = [child for child in self.children if child.command.stop_order == order]
            groups_left = len(orders) - position - 1
            share = min(_LAST_GROUPS_SHARE_S, deadline_s / (len(orders) + 1))
            killed += self._stop_group(group, deadline - groups_left * share)
        self._starter.shutdown(wait=False)
        return killed

    def _stop_group(self, group: Iterable[Child], deadline: float) -> list[str]:
        group = [child for child in group if child.running]
        for child in group:
            child.terminate()
        late = [child for child in group if not child.wait_ended(deadline - time.monotonic())]
        for child in late:
            child.destroy()
        for child in late:
            child.wait_ended(1.0)
        return [child.name for child in late]

    def _note_exit(self, exit_: Exit) -> None:
        with self._lock:
            self._exits.append(exit_)
        if self._on_exit is not None:
            self._on_exit(exit_)
