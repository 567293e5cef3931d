"""Sockets, signals, the lock of the data folder: everything around the broker that makes it a process."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import logging
import os
import selectors
import shutil
import signal
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from ottla import __version__
from ottla.broker.api.api_versions import unsupported_version
from ottla.broker.api.table import HANDLERS
from ottla.broker.broker import Broker
from ottla.broker.config import BrokerConfig
from ottla.broker.connection import Call, Connection
from ottla.broker.frames import FramePool
from ottla.broker.listener import OPEN, Listener, listen, listener_configs
from ottla.broker.log.open_files import FILES
from ottla.broker.loop import Loop
from ottla.broker.security import audit
from ottla.broker.security.memory import RequestMemory
from ottla.broker.security.service import ListenerSecurity, add_first_users
from ottla.broker.wire.schema import Message
from ottla.errors import BrokerError, DataFolderLocked

if TYPE_CHECKING:
    from ottla.broker.guards.table import Handlers
    from ottla.broker.http_port import HttpPort
    from ottla.broker.security.config import ListenerConfig

logger = logging.getLogger("ottla.broker")

BUFFER_BYTES = 1 << 18
ACCEPT_AGAIN_SECONDS = 0.2
THROTTLED_MAX = 1000
LARGE_BLOCK_BYTES = 16 << 20
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
    _keep_freed_memory()
    _raise_file_limit()
    with contextlib.ExitStack() as stack:
        folder = _data_folder(config, stack)
        configs = listener_configs(config)
        server = Server(config, folder, listen(configs, stack))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.loop.post(server.loop.stop))
        if config.metrics_port is not None:
            from ottla.broker.metrics_page import serve_pages

            server.pages = serve_pages(server, config.metrics_host, config.metrics_port, __version__)
        _say_settings(config, folder, server.port)
        gc.freeze()  # what lives for ever need not be looked at again
        for listener in server.listeners[1:]:
            print(f"listening on {listener.config.host}:{listener.port} ({listener.config.name})", flush=True)
        print(f"broker ready on {configs[0].host or '0.0.0.0'}:{server.port}", flush=True)
        server.run()


class Server:
    """Listening sockets, their connections, and the broker they talk to.

    Args:
        config: The options.
        folder: The data folder; the caller holds its lock.
        sockets: One bound, listening socket for each listener that is configured; closed by `run` at its end.
    """

    def __init__(self, config: BrokerConfig, folder: Path, sockets: Sequence[socket.socket]) -> None:
        self.config = config
        self.loop = Loop()
        self.broker = Broker(config, folder, self.loop, self._failed)
        if config.security is not None:
            add_first_users(self.broker, config.security)
            audit.show_denials()
        self.listeners = [
            Listener(one, sock, self._security(one))
            for one, sock in zip(listener_configs(config), sockets, strict=True)
        ]
        self.port = self.listeners[0].port
        self.broker.port = self.port
        self.memory = RequestMemory(config.queued_requests_max_bytes, self.loop)
        self._by_address: Counter[str] = Counter()
        self._throttled = 0  # connections above a quota, about to be closed
        self.handlers = self._handlers()
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.frames = FramePool()
        self.logs_requests = logger.isEnabledFor(logging.DEBUG)
        self.unsent: dict[Connection, None] = {}  # in the order in which they got something to send
        self._connections: set[Connection] = set()
        self._failure: OSError | None = None
        self.pages: HttpPort | None = None
        self.loop.before_wait = self._end_turn
        for listener in self.listeners:
            self._watch_listener(listener)

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
        if self.pages is not None:
            self.pages.close()
        for listener in self.listeners:
            self.loop.unwatch(listener.sock)
            listener.sock.close()
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
        if connection in self._connections:
            self._connections.remove(connection)
            self._by_address[connection.peer] -= 1
            if not self._by_address[connection.peer]:
                del self._by_address[connection.peer]
        self.unsent.pop(connection, None)

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    @property
    def failed(self) -> bool:
        """Whether the disk failed, and the broker is about to stop."""
        return self._failure is not None

    def unsupported_version(self, call: Call) -> Message | None:
        return unsupported_version(call)

    def _handlers(self) -> Handlers:
        if not self.broker.authorizer.configured:
            return HANDLERS
        from ottla.broker.guards.table import guarded

        return guarded(HANDLERS)

    def _security(self, config: ListenerConfig) -> ListenerSecurity | None:
        if config.protocol == "PLAINTEXT":
            return None
        return ListenerSecurity(config, self.config.security or OPEN, self.broker)

    def _watch_listener(self, listener: Listener) -> None:
        self.loop.watch(listener.sock, selectors.EVENT_READ, lambda _: self._accept(listener))

    def _accept(self, listener: Listener) -> None:
        while True:
            try:
                sock, address = listener.sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # Most likely out of file descriptors: the client stays in the queue, and we would spin on it.
                logger.warning("a connection could not be accepted, trying again shortly: %s", error)
                self.loop.unwatch(listener.sock)
                self.loop.call_later(ACCEPT_AGAIN_SECONDS, lambda: self._watch_listener(listener))
                return
            peer = str(address[0]).removeprefix("::ffff:")  # IPv4 that came to an IPv6 socket
            fault = self._too_many(peer)
            if fault is not None:
                self.broker.metrics.connections_refused += 1
                logger.warning("refusing a connection from %s: %s", address, fault)
                sock.close()
                continue
            wait = self.broker.quotas.connecting(peer, self.loop.now())
            if wait > 0:
                self._close_later(sock, wait)
                continue
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.config.send_buffer_bytes >= 0:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.config.send_buffer_bytes)
                self._connections.add(listener.connect(self, sock, peer))
                self._by_address[peer] += 1
                self.broker.metrics.connections_accepted += 1
            except OSError:
                sock.close()  # the client has gone already

    def _close_later(self, sock: socket.socket, seconds: float) -> None:
        """Keeps a client waiting that connects too often, so that it does not come again at once."""
        self.broker.metrics.connections_refused += 1
        if self._throttled >= THROTTLED_MAX:
            sock.close()
            return
        self._throttled += 1

        def close() -> None:
            self._throttled -= 1
            sock.close()

        self.loop.call_later(seconds, close)

    def _too_many(self, peer: str) -> str | None:
        """Why no further connection from this address can be had; None if it can."""
        if len(self._connections) >= self.config.connections_max:
            return f"{len(self._connections)} are open (connections_max)"
        security = self.config.security
        if security is not None:
            limit = security.connections_max_per_ip_overrides.get(peer, security.connections_max_per_ip)
            if self._by_address[peer] >= limit:
                return f"{limit} from this address are open (max.connections.per.ip)"
        return None

    def _end_turn(self) -> None:
        self.broker.flusher.submit(waited=self.loop.waited)
        self._send_all()

    def _send_all(self) -> None:
        # Each first send wakes a client, which may take the processor from us. Consumers have been answered before the
        # producers whose records they get, and so they hear first.
        while self.unsent:
            unsent, self.unsent = self.unsent, {}
            for connection in unsent:
                connection.send()

    def _failed(self, error: OSError) -> None:
        logger.critical("a sync to disk failed: %s; stopping", error)
        self._failure = error
        self.loop.stop()


def _say_settings(config: BrokerConfig, folder: Path, port: int) -> None:
    """Logs the version and the settings that are not the defaults; never those of security, which hold secrets."""
    if not logger.isEnabledFor(logging.INFO):
        return
    settings = {
        field.name: value
        for field in fields(BrokerConfig)
        if (value := getattr(config, field.name)) != getattr(BrokerConfig(), field.name) and field.name != "security"
    }
    logger.info(
        "ottla %s, node %d, port %d, data in %s; settings: %s",
        __version__,
        config.node_id,
        port,
        folder,
        ", ".join(f"{name}={value}" for name, value in settings.items()) or "all defaults",
        extra={"version": __version__, "settings": settings},
    )


def _data_folder(config: BrokerConfig, stack: contextlib.ExitStack) -> Path:
    """The data folder, made if missing, and locked for as long as the stack lives."""
    if config.data_dir is None:
        import tempfile  # with `random`: not for brokers with a folder of their own

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


def _keep_freed_memory() -> None:
    """Lets the C library serve large buffers from memory it has had before, instead of mapping fresh pages each time.

    glibc maps every large block anew until it has seen a block of that size freed; from then on it keeps up to twice
    as much for the next one. Nothing is touched here, so nothing is used up.
    """
    bytes(LARGE_BLOCK_BYTES)


def _raise_file_limit() -> None:
    """Connections and segments are many: asks for as many descriptors as the system grants, and shares them out."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
    # macOS says that there is no limit, and refuses more than it has for a process.
    for wanted in (limit, 24_576, 10_240, 4_096):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, limit), hard))
            break
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        FILES.limit = min(FILES.limit, max(16, soft // 4))  # the rest is for connections
