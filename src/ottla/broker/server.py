"""Sockets, signals, the lock of the data folder: everything around the broker that makes it a process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import logging
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from ottla.broker.api.api_versions import unsupported_version
from ottla.broker.api.table import HANDLERS
from ottla.broker.broker import Broker
from ottla.broker.config import BrokerConfig
from ottla.broker.connection import Call, Connection
from ottla.broker.log.open_files import FILES
from ottla.broker.loop import Loop
from ottla.broker.wire.schema import Message
from ottla.errors import BrokerError, DataFolderLocked, PortInUse

logger = logging.getLogger("ottla.broker")

BUFFER_BYTES = 1 << 18
ACCEPT_AGAIN_SECONDS = 0.2
SWITCH_INTERVAL_SECONDS = 0.0005  # how long the flusher may wait for the interpreter after a sync


def serve(config: BrokerConfig) -> None:
    """Runs a broker until SIGTERM or SIGINT. Prints `broker ready on HOST:PORT` once it listens.

    Raises:
        PortInUse: The port is taken.
        DataFolderLocked: Another process serves the data folder.
        CorruptLog: Stored data is damaged in the middle.
        BrokerError: A sync to disk failed while running: nothing after it was acknowledged.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    _raise_file_limit()
    with contextlib.ExitStack() as stack:
        folder = _data_folder(config, stack)
        listener = _listen(config, stack)
        server = Server(config, folder, listener)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.loop.post(server.loop.stop))
        gc.freeze()  # what lives for ever need not be looked at again
        print(f"broker ready on {config.host}:{server.port}", flush=True)
        server.run()


class Server:
    """A listening socket, its connections, and the broker they talk to.

    Args:
        config: The options.
        folder: The data folder; the caller holds its lock.
        listener: A bound, listening socket; closed by `run` at its end.
    """

    def __init__(self, config: BrokerConfig, folder: Path, listener: socket.socket) -> None:
        self.config = config
        self.loop = Loop()
        self.listener = listener
        self.port: int = listener.getsockname()[1]
        self.broker = Broker(config, folder, self.loop, self._failed)
        self.broker.port = self.port
        self.handlers = HANDLERS
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.logs_requests = logger.isEnabledFor(logging.DEBUG)
        self.unsent: set[Connection] = set()
        self._connections: set[Connection] = set()
        self._failure: OSError | None = None
        listener.setblocking(False)
        self.loop.before_wait = self._end_turn
        self._watch_listener()

    def run(self) -> None:
        """Serves until the loop is stopped, then makes everything durable. Raises BrokerError after a failed sync."""
        try:
            self.loop.run()
        finally:
            self._stop()
        if self._failure is not None:
            raise BrokerError(
                f"the disk failed to make data durable ({self._failure}). Nothing written since was acknowledged. "
                f"Check the disk, then start the broker again: it recovers what is intact."
            ) from self._failure

    def _stop(self) -> None:
        self.loop.unwatch(self.listener)
        self.listener.close()
        if self._failure is None:
            self.broker.flush_all()
            self.loop.turn(0)  # acknowledgements of the last sync still go out
            self._send_all()
        if self._failure is None:
            self.broker.save()
        self.broker.close()
        for connection in list(self._connections):
            connection.close()
        self.loop.close()

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.unsent.discard(connection)

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    def unsupported_version(self, call: Call) -> Message | None:
        return unsupported_version(call)

    def _watch_listener(self) -> None:
        self.loop.watch(self.listener, selectors.EVENT_READ, self._accept)

    def _accept(self, _: int) -> None:
        while True:
            try:
                sock, address = self.listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # Most likely out of file descriptors: the client stays in the queue, and we would spin on it.
                logger.warning("a connection could not be accepted, trying again shortly: %s", error)
                self.loop.unwatch(self.listener)
                self.loop.call_later(ACCEPT_AGAIN_SECONDS, self._watch_listener)
                return
            if len(self._connections) >= self.config.connections_max:
                self.broker.metrics.connections_refused += 1
                logger.warning(
                    "refusing a connection from %s: %d are open (connections_max)", address, len(self._connections)
                )
                sock.close()
                continue
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections.add(Connection(self, sock, str(address[0])))
                self.broker.metrics.connections_accepted += 1
            except OSError:
                sock.close()  # the client has gone already

    def _end_turn(self) -> None:
        self.broker.flusher.submit()
        self._send_all()

    def _send_all(self) -> None:
        while self.unsent:
            self.unsent.pop().send()

    def _failed(self, error: OSError) -> None:
        logger.critical("a sync to disk failed: %s; stopping", error)
        self._failure = error
        self.loop.stop()


def _data_folder(config: BrokerConfig, stack: contextlib.ExitStack) -> Path:
    """The data folder, made if missing, and locked for as long as the stack lives."""
    if config.data_dir is None:
        folder = Path(tempfile.mkdtemp(prefix="ottla-broker-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
    else:
        folder = config.data_dir.expanduser().resolve()
        folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    stack.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        raise DataFolderLocked(
            f"the data folder {folder} is in use by another broker (process {holder or 'unknown'}). "
            f"Stop that process, or choose another folder with --data."
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return folder


def _listen(config: BrokerConfig, stack: contextlib.ExitStack) -> socket.socket:
    family: Any = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(512)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse("embedded broker", config.host, config.port, "--port") from error
        raise BrokerError(f"embedded broker: cannot listen on {config.host}:{config.port}: {error}") from error
    return listener


def _raise_file_limit() -> None:
    """Connections and segments are many: asks for as many descriptors as the system grants, and shares them out."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        FILES.limit = min(FILES.limit, max(16, soft // 4))  # the rest is for connections
