"""A tiny, read-only HTTP server in the broker's own loop: health and metrics, nothing else.

One request per connection, GET or HEAD, answered with `Connection: close`. A page is a row of pieces, and at most one
is made in a turn of the loop, so that a long page does not hold up the broker's clients. Whoever is slow to ask or to
read is cut off, and so is whoever comes when MAX_EXCHANGES are under way.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from ottla.broker.loop import Loop

logger = logging.getLogger("ottla.broker")

MAX_EXCHANGES = 32
MAX_REQUEST_BYTES = 8192
PATIENCE_SECONDS = 10.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
TEXT = "text/plain; charset=utf-8"


class Page(NamedTuple):
    """What is answered. `pieces` is taken piece by piece, in turns of the loop."""

    status: int
    content_type: str
    pieces: Iterable[str]


Pages = Mapping[str, Callable[[], Page]]


class HttpPort:
    """Serves pages on a listening socket.

    Args:
        loop: The broker's loop; everything runs in its thread.
        listener: A bound, listening socket; closed by `close`.
        pages: What makes each path's page.
    """

    def __init__(self, loop: Loop, listener: socket.socket, pages: Pages) -> None:
        self.loop = loop
        self.pages = pages
        self.exchanges: set[_Exchange] = set()
        self._listener = listener
        listener.setblocking(False)
        loop.watch(listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        self.loop.unwatch(self._listener)
        self._listener.close()
        for exchange in list(self.exchanges):
            exchange.close()

    def _accept(self, _: int) -> None:
        try:
            sock, _address = self._listener.accept()
        except OSError:
            return  # it has gone already; or no descriptor is free, and the next one may find one
        if len(self.exchanges) >= MAX_EXCHANGES:
            sock.close()
            return
        sock.setblocking(False)
        self.exchanges.add(_Exchange(self, sock))


class _Exchange:
    """One connection: a request read, a page sent."""

    def __init__(self, port: HttpPort, sock: socket.socket) -> None:
        self._port = port
        self._sock = sock
        self._request = bytearray()
        self._pieces: Iterator[str] = iter(())
        self._outgoing = b""
        self._timer = port.loop.call_later(PATIENCE_SECONDS, self.close)
        port.loop.watch(sock, selectors.EVENT_READ, self._read)

    def close(self) -> None:
        self._timer.cancel()
        self._port.loop.unwatch(self._sock)
        self._sock.close()
        self._port.exchanges.discard(self)

    def _read(self, _: int) -> None:
        with self._closing_on_failure():
            received = self._sock.recv(MAX_REQUEST_BYTES)
            if not received:
                self.close()
                return
            self._request += received
            if b"\r\n\r\n" in self._request:
                self._answer(*self._page())
            elif len(self._request) >= MAX_REQUEST_BYTES:
                self._answer(Page(431, TEXT, ["too large\n"]), False)

    def _page(self) -> tuple[Page, bool]:
        """The page asked for, and whether its body is wanted."""
        words = bytes(self._request).split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return Page(400, TEXT, ["this is an HTTP port\n"]), True
        method, target, _ = words
        if method not in ("GET", "HEAD"):
            return Page(405, TEXT, ["only GET and HEAD\n"]), True
        page = self._port.pages.get(target.partition("?")[0])
        if page is None:
            return Page(404, TEXT, ["there are: ", " ".join(self._port.pages), "\n"]), method == "GET"
        return page(), method == "GET"

    def _answer(self, page: Page, with_body: bool = True) -> None:
        head = (
            f"HTTP/1.1 {page.status} {_REASONS[page.status]}\r\nContent-Type: {page.content_type}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        self._outgoing = head.encode()
        self._pieces = iter(page.pieces if with_body else ())
        self._port.loop.watch(self._sock, selectors.EVENT_WRITE, self._write)

    def _write(self, _: int) -> None:
        with self._closing_on_failure():
            if not self._outgoing:
                piece = next(self._pieces, None)
                if piece is None:
                    with contextlib.suppress(OSError):
                        self._sock.shutdown(socket.SHUT_WR)
                    self.close()
                    return
                self._outgoing = piece.encode()
            sent = self._sock.send(self._outgoing)
            self._outgoing = self._outgoing[sent:]

    @contextlib.contextmanager
    def _closing_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
        except Exception:
            logger.exception("a page could not be made")
            self.close()
