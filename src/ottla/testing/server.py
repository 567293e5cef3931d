"""What every server for tests has in common: one interface, whichever broker is behind it."""

from __future__ import annotations

import random
import re
import signal
import socket
import tempfile
import threading
from abc import ABC, abstractmethod
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from ottla.errors import ServerFailed
from ottla.testing.process import ServerProcess

if TYPE_CHECKING:
    from ottla.testing.faults import Faults

HOST = "127.0.0.1"

# Below the range from which Linux (32768) and macOS (49152) take the ports of outgoing connections: while a killed
# server is down, no client's connection can sit on its port, and no client can connect to itself.
_PORTS = range(20000, 32000)
_given: deque[int] = deque(maxlen=1000)
_choosing = threading.Lock()
_PORT_TAKEN = re.compile(r"already in use|BindException|EADDRINUSE")


def free_port() -> int:
    """A TCP port on loopback that nothing listens on now, chosen so that it is likely to stay so.

    A process is not given one that it was given lately: a server with several listeners asks for all their ports before
    it listens on one.
    """
    with _choosing:
        for port in random.sample(_PORTS, len(_PORTS)):
            if port not in _given and _is_free(port):
                _given.append(port)
                return port
    raise ServerFailed(f"no free port found between {_PORTS.start} and {_PORTS.stop} on {HOST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Servers set it too; without it a port with connections in TIME_WAIT would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


class Server(ABC):
    """A server on loopback, in its own process, with its own folder.

    Use it as a context manager, or call `start()` and `close()`. Not for use by two threads at once.

    Args:
        data_dir: Where it keeps its data. None: a temporary folder, removed by `close()`.
        port: The port to listen on. 0: a free one, chosen at the first start and kept.
    """

    name: ClassVar[str]
    start_timeout_s: ClassVar[float] = 20.0
    stop_timeout_s: ClassVar[float] = 15.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, data_dir: Path | str | None = None, port: int = 0) -> None:
        self._port_wanted = port
        self._port = port
        self._process: ServerProcess | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if data_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="ottla-", ignore_cleanup_errors=True)
            data_dir = Path(self._temporary.name, "data")
        self.data_dir = Path(data_dir)

    @abstractmethod
    def _launch(self, log: Path) -> ServerProcess:
        """Starts the process on `self.port`, and returns when it serves. Raises ServerFailed if it does not come up."""

    @property
    def port(self) -> int:
        """The port it listens on; 0 before the first start if none was given."""
        return self._port

    @property
    def log_path(self) -> Path:
        """The file with everything the process has written, over all its starts."""
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int:
        """The process id. Raises ServerFailed if it does not run."""
        if self._process is None or not self._process.alive:
            raise ServerFailed(f"{self.name} is not running; call start()")
        return self._process.pid

    def start(self) -> None:
        """Starts the server and returns when it serves. Nothing happens if it runs already.

        Raises:
            ServerFailed: It did not come up. The message ends with the last lines of its log.
        """
        if self.running:
            return
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        chosen_by_us = self._port == 0
        for attempts_left in (2, 1, 0):
            if chosen_by_us:
                self._port = free_port()
            try:
                self._process = self._launch(self.log_path)
                return
            except ServerFailed as failure:
                # Someone else may have taken the port between our look and the server's bind.
                if not (chosen_by_us and attempts_left and _PORT_TAKEN.search(str(failure))):
                    raise

    def stop(self) -> None:
        """Stops the server as its operator would (SIGTERM). Data and port stay for the next start."""
        if self._process is not None:
            self._process.stop(self.stop_signal, self.stop_timeout_s)
            self._process = None

    def kill(self) -> None:
        """Kills the server where it stands (SIGKILL). Data and port stay for the next start."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """Starts the server again on the same port and data, stopping it first if it runs."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stops the server and removes its folder if that is a temporary one."""
        self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    def log_tail(self, lines: int = 60) -> str:
        """The last lines of its log."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text("utf-8", "replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Broker(Server):
    """A server that speaks Kafka's protocol on one plaintext port."""

    _faults: Faults | None = None

    @property
    def faults(self) -> Faults:
        """A door in front of the broker, at `faults.bootstrap_servers`, and what goes wrong at it. Opened when it is
        first asked for, closed with the broker; kills and restarts leave it open."""
        if self._faults is None:
            from ottla.testing.faults import Faults

            self._faults = Faults(self)
        return self._faults

    def close(self) -> None:
        """Stops the broker, closes the door in front of it, and removes its folder if that is a temporary one."""
        if self._faults is not None:
            self._faults.close()
            self._faults = None
        super().close()

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`, as Kafka's clients want it."""
        return f"{HOST}:{self.port}"
