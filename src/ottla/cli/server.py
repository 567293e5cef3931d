"""Serves one ASGI application with uvicorn: says when it is ready, stops within a deadline.

Signals: the first SIGTERM or SIGINT stops taking requests, lets running ones finish, then ends the application's
lifespan (an App stops fetching, finishes what is in hand, commits, flushes). A second SIGINT cuts that short. Whatever
hangs beyond the deadline is abandoned: at-least-once delivery means that the records in hand come again.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn

from ottla.errors import ConfigurationError, OttlaError, PortInUse

log = logging.getLogger("ottla.run")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

PORT_SETTING = "--port or OTTLA_HTTP__PORT"


@dataclass(frozen=True, slots=True)
class Place:
    """What is served, and where.

    Attributes:
        service: The name in the ready line and in errors.
        host, port: Where to listen; port 0 picks a free one.
        requests_deadline_s: How long running HTTP requests may take once a stop is asked for.
        stop_deadline_s: How long the whole stop may take before the process ends regardless.
        access_log: Whether each request is a log line.
    """

    service: str
    host: str
    port: int
    requests_deadline_s: int = 5
    stop_deadline_s: float = 25.0
    access_log: bool = False


def serve(application: Application, place: Place, *, bound: Callable[[str], None] | None = None) -> None:
    """Serves until a signal asks to stop; prints `SERVICE ready on http://HOST:PORT` on stdout once it listens.

    Args:
        bound: Told `HOST:PORT` before the application starts.

    Raises:
        PortInUse: Another process listens there.
        ConfigurationError: The host is not one of this machine's.
        OttlaError: Whatever the application's lifespan raised at start.
    """
    listener = bind(place)
    if bound is not None:
        bound(f"{place.host}:{listener.getsockname()[1]}")
    guarded = StartupGuard(application)
    server = Server(guarded, place, listener)
    # uvicorn puts its own handlers in front and afterwards raises the signal again for the one it found: this one.
    # With Python's own, a clean stop would end as "killed by SIGTERM".
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    try:
        server.run(sockets=[listener])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _port_in_use(place) from None
        raise
    finally:
        listener.close()
    if guarded.failure is not None:
        raise guarded.failure
    if server.start_failed:
        sys.exit(1)
    log.info("stopped")


def bind(place: Place) -> socket.socket:
    """Takes the address, without listening yet: a client that comes too early is refused, not left hanging."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigurationError(
            f"{place.service}: {place.host!r} is no address to listen on ({error.strerror}); "
            "choose another with --host or OTTLA_HTTP__HOST"
        ) from None
    # The protocol is given, not left to the system: asyncio turns Nagle's delay off only on sockets that say TCP.
    listener = socket.socket(family, kind, protocol)
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise _port_in_use(place) from None
        raise ConfigurationError(
            f"{place.service}: cannot listen on {place.host} port {place.port}: {error.strerror}; "
            f"choose another with --host, {PORT_SETTING}"
        ) from None
    return listener


def _port_in_use(place: Place) -> PortInUse:
    return PortInUse(place.service, place.host, place.port, PORT_SETTING)


class StartupGuard:
    """Wraps an application to keep an `OttlaError` of its lifespan apart from uvicorn's log, where it would be a
    page of traceback: `serve` raises it instead."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.failure: OttlaError | None = None

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            return await self.application(scope, receive, send)

        async def watched(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                # Starlette sends this while it handles the exception.
                cause = sys.exc_info()[1]
                if isinstance(cause, OttlaError):
                    self.failure = cause
                if isinstance(cause, OttlaError | asyncio.CancelledError):
                    message = {**message, "message": ""}
            await send(message)

        return await self.application(scope, receive, watched)


class Server(uvicorn.Server):
    """uvicorn's server, with a ready line, a start that a signal can interrupt, and a deadline for stopping."""

    def __init__(self, application: Application, place: Place, listener: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                log_config=None,
                access_log=place.access_log,
                server_header=False,
                timeout_graceful_shutdown=place.requests_deadline_s,
            )
        )
        self.place = place
        self.listener = listener
        self.deadline: threading.Timer | None = None
        self.start_failed = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        start = asyncio.create_task(self.start(sockets))
        while not start.done() and not self.should_exit:
            await asyncio.wait([start], timeout=0.1)
        if not start.done():
            start.cancel()
            log.info("stopped before it was ready")
            return
        await start
        if not self.should_exit and not self.start_failed:
            # What has been imported and built by now lives as long as the process: the collector need not look at it
            # again and again.
            gc.collect()
            gc.freeze()
            host = f"[{self.place.host}]" if ":" in self.place.host else self.place.host
            print(f"{self.place.service} ready on http://{host}:{self.listener.getsockname()[1]}", flush=True)

    async def start(self, sockets: list[socket.socket] | None) -> None:
        try:
            await super().startup(sockets)
            failed = self.lifespan.should_exit
        except SystemExit:
            # How newer versions of uvicorn say that the lifespan failed. It must not leave the task: the event loop
            # would fall over.
            failed = True
        if failed:
            self.start_failed = self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        first = not self.should_exit
        super().handle_exit(sig, frame)
        if first:
            log.info("stopping: %s", signal.Signals(sig).name)
            self.deadline = threading.Timer(self.place.stop_deadline_s, self.give_up)
            self.deadline.daemon = True
            self.deadline.start()

    def give_up(self) -> None:
        log.error(
            "not stopped after %g s: ending now; records in hand were not committed and will be delivered again",
            self.place.stop_deadline_s,
        )
        logging.shutdown()
        os._exit(1)
