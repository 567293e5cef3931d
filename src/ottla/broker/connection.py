"""One client's connection: cuts requests out of the byte stream, and sends replies in the order of the requests.

Replies may be ready in any order (long polls, acknowledgements that wait for the disk); each waits in line behind the
earlier ones. Records go from the file to the socket as they are, and from the request's buffer to the file with the one
copy that the CRC library wants.
"""

from __future__ import annotations

import logging
import selectors
import socket
import struct
from collections import deque
from collections.abc import Callable
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

from ottla.broker.security.resources import ANONYMOUS
from ottla.broker.wire.compiler import reader, writer
from ottla.broker.wire.primitives import MalformedMessage, read_uvarint
from ottla.broker.wire.schema import Api, Message

if TYPE_CHECKING:
    from ottla.broker.listener import Listener
    from ottla.broker.loop import Timer
    from ottla.broker.security.gate import SaslGate
    from ottla.broker.server import Server

logger = logging.getLogger("ottla.broker")

PENDING_CALLS_MAX = 128  # more unanswered requests than this, and no more is read from the client
PENDING_BYTES_MAX = 64 << 20
CHUNKS_PER_SEND = 64
REQUEST_MIN_BYTES = 8
_HEADER = struct.Struct(">hhi")
_API_VERSIONS = 18


class Call:
    """One request on its way to its reply."""

    __slots__ = (
        "amend",
        "api",
        "body",
        "chunks",
        "client_id",
        "connection",
        "correlation_id",
        "done",
        "started",
        "version",
    )

    def __init__(
        self, connection: Connection, api: Api, version: int, correlation_id: int, client_id: str | None
    ) -> None:
        self.connection = connection
        self.api = api
        self.version = version
        self.correlation_id = correlation_id
        self.client_id = client_id
        self.body: Message = {}
        self.amend: Callable[[Message], None] | None = None  # what guards and quotas have to say about the reply
        self.done = False
        self.started = monotonic()
        self.chunks: list[bytes | bytearray | memoryview] = []

    def amend_reply(self, change: Callable[[Message], None]) -> None:
        """Lets `change` alter the reply before it goes out, after those that were asked for earlier."""
        before = self.amend

        def both(message: Message) -> None:
            if before is not None:
                before(message)
            change(message)

        self.amend = change if before is None else both

    def reply(self, message: Message) -> None:
        """Answers; the bytes go out once all earlier requests of the connection are answered. Once per call."""
        if self.connection.closed:
            return
        if self.amend is not None:
            self.amend(message)
        flexible = self.api.is_flexible(self.version)
        # The reply to ApiVersions has the old header always: the client cannot know yet what we speak.
        tagged_header = flexible and self.api.key != _API_VERSIONS
        head = bytearray(8)
        chunks: list[bytes | bytearray | memoryview] = [head]
        if tagged_header:
            head.append(0)
        writer(self.api.response, self.version, flexible)(message, chunks)
        size = sum(map(len, chunks))
        struct.pack_into(">ii", head, 0, size - 4, self.correlation_id)
        self.chunks = chunks
        self.connection.unsent_bytes += size
        self.finish()

    def finish(self) -> None:
        """Ends the call without a word, as acks=0 wants it."""
        self.done = True
        seconds = monotonic() - self.started
        server = self.connection.server
        server.broker.metrics.answered(self.api.key, seconds)
        if server.logs_requests:
            self._log(seconds)
        self.connection.advance()

    def _log(self, seconds: float) -> None:
        logger.debug(
            "%s version %d from %s (client %s): answered %d bytes after %.1f ms",
            self.api.name,
            self.version,
            self.connection.peer,
            self.client_id,
            sum(map(len, self.chunks)),
            seconds * 1000,
            extra={"api": self.api.name, "version": self.version, "correlation_id": self.correlation_id},
        )

    @property
    def client_host(self) -> str:
        return self.connection.peer

    @property
    def principal(self) -> str:
        """Who asks: `User:name`, or `User:ANONYMOUS` where nobody has to say."""
        return self.connection.principal


class Connection:
    """A client's socket, its partly read request and its replies that are not sent yet."""

    def __init__(self, server: Server, sock: socket.socket, peer: str, listener: Listener) -> None:
        self.server = server
        self.sock = sock
        self.peer = peer
        self.listener = listener
        # By which address the client knows us, unless we are told otherwise: what we tell it to connect to.
        self.host, self.port = listener.advertised(sock)
        self.principal = ANONYMOUS
        self.gate: SaslGate | None = None
        self.size_min = REQUEST_MIN_BYTES
        self.size_max = server.config.request_max_bytes
        self.closed = False
        self._holds = 0  # reasons to read nothing more for the time being
        self._closing = False
        self._deadline: Timer | None = None
        self._reserved = 0  # memory for the frame that is arriving
        self.calls: deque[Call] = deque()
        self.outgoing: deque[memoryview] = deque()
        self.unsent_bytes = 0  # of all replies that are ready, also of those that wait behind others
        self._events = 0
        self._prefix = b""
        self._frame = bytearray()
        self._frame_size = 0
        self._filled = 0
        self._watch()

    # Who the client is

    def authenticated(self, principal: str) -> None:
        """The client has shown who it is: from now on it may ask for anything, and the authorizer decides."""
        self.principal = principal
        if self._deadline is not None:
            self._deadline.cancel()
        self.size_min, self.size_max = REQUEST_MIN_BYTES, self.server.config.request_max_bytes

    def close_unless_authenticated(self, seconds: float) -> None:
        """Gives the client so long to show who it is."""

        def close() -> None:
            logger.info("closing the connection from %s: the client has not shown who it is in time", self.peer)
            self.close()

        self._deadline = self.server.loop.call_later(seconds, close)

    def hold(self) -> None:
        """Reads nothing more until `go_on` was called as often."""
        self._holds += 1
        self._watch()

    def go_on(self) -> None:
        self._holds -= 1
        if not self.closed and not self._holds:
            self.server.unsent[self] = None  # `send` looks at what was read already, and reads again

    def close_when_sent(self) -> None:
        """Closes once all replies are with the client."""
        self._closing = True
        self.server.unsent[self] = None

    def send_bare(self, data: bytes) -> None:
        """Sends bytes behind their length, and nothing else: SASL tokens of old clients."""
        frame = memoryview(struct.pack(">i", len(data)) + data)
        self.unsent_bytes += len(frame)
        self.outgoing.append(frame)
        self.server.unsent[self] = None

    # Reading

    def ready(self, events: int) -> None:
        """Handles what the selector reports."""
        try:
            if events & selectors.EVENT_WRITE:
                self.send()
            if events & selectors.EVENT_READ and not self.closed:
                if self._frame_size:
                    self._continue_frame()
                else:
                    self._read()
                if self._is_full():
                    self._watch()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
        except Exception:
            logger.exception("closing the connection from %s", self.peer)
            self.close()

    def _read(self) -> None:
        buffer = self.server.buffer
        kept = len(self._prefix)
        buffer[:kept] = self._prefix
        received = self.sock.recv_into(buffer[kept:])
        if not received:
            self.close()
            return
        self.server.broker.metrics.bytes_in += received
        self._prefix = b""
        self._process(kept + received)

    def _process(self, stop: int) -> None:
        """Handles the whole requests in the server's buffer up to `stop`; keeps what is left for later."""
        buffer = self.server.buffer
        position = 0
        while stop - position >= 4 and not self._is_full():
            size = int.from_bytes(buffer[position : position + 4], "big", signed=True)
            if not self._fits(size):
                return
            begin = position + 4
            if stop - begin < size:
                self._begin_frame(size, buffer[begin:stop])
                return
            self._handle(buffer[begin : begin + size])
            if self.closed:
                return
            position = begin + size
        self._prefix = bytes(buffer[position:stop])

    def _fits(self, size: int) -> bool:
        if self.size_min <= size <= self.size_max:
            return True
        logger.warning(
            "closing the connection from %s: a request of %d bytes (allowed are %d to %d, see %s)",
            self.peer,
            size,
            self.size_min,
            self.size_max,
            "request_max_bytes" if self.size_max == self.server.config.request_max_bytes else "sasl_max_receive_bytes",
        )
        self.server.broker.metrics.refused_requests += 1
        self.close()
        return False

    def _begin_frame(self, size: int, part: memoryview) -> None:
        self._frame = self.server.frames.take(size, len(part))
        self._frame[: len(part)] = part
        self._frame_size = size
        self._filled = len(part)
        # Who has not been let in yet has a small limit of its own, and must not use up what others need.
        if self.size_max == self.server.config.request_max_bytes:
            self._reserved = size
            if not self.server.memory.take(self, size):
                self._reserved = 0
                self._holds += 1

    def memory_granted(self) -> None:
        """The memory this connection has waited for is there."""
        self._reserved = self._frame_size
        self.go_on()

    @property
    def filled(self) -> int:
        """How many bytes of the request that is arriving are there."""
        return self._filled

    def _give_memory_back(self) -> None:
        size, self._reserved = self._reserved, 0
        if size:
            self.server.memory.give_back(self, size)

    def _continue_frame(self) -> None:
        if self._filled == len(self._frame):
            self._frame.extend(bytes(min(len(self._frame), self._frame_size - len(self._frame))))
        with memoryview(self._frame) as view, view[self._filled : self._frame_size] as rest:
            received = self.sock.recv_into(rest)
        if not received:
            self.close()
            return
        self.server.broker.metrics.bytes_in += received
        self._filled += received
        if self._filled == self._frame_size:
            frame, self._frame = self._frame, bytearray()
            size, self._frame_size, self._filled = self._frame_size, 0, 0
            self._handle(memoryview(frame)[:size])
            self.server.frames.give(frame)
            self._give_memory_back()

    def _handle(self, frame: memoryview) -> None:
        if self.gate is not None and self.gate.takes(frame):
            return
        key, version, correlation_id = _HEADER.unpack_from(frame)
        handler = self.server.handlers.get(key)
        try:
            if handler is None:
                raise MalformedMessage(f"API key {key} is not served")
            api, handle = handler
            first, last = api.versions
            if not first <= version <= last:
                self._refuse_version(api, version, correlation_id)
                return
            flexible = api.is_flexible(version)
            client_id, position = _read_client_id(frame, flexible)
            call = Call(self, api, version, correlation_id, client_id)
            call.body, _ = reader(api.request, version, flexible)(frame, position)
            if self.gate is not None and key == _API_VERSIONS:
                self.gate.told_versions()
        except (MalformedMessage, IndexError, struct.error, UnicodeDecodeError, MemoryError) as error:
            logger.warning(
                "closing the connection from %s: request with API key %d, version %d: %s",
                self.peer,
                key,
                version,
                error,
            )
            self.server.broker.metrics.refused_requests += 1
            self.close()
            return
        self.calls.append(call)
        quotas = self.server.broker.quotas
        try:
            if quotas.active:
                quotas.watch(call, len(frame))
            answer = handle(self.server.broker, call)
        except Exception:
            # One request must not take the broker down. There is no answer that would be true: the client tries again.
            logger.exception("%s version %d from %s failed; closing its connection", api.name, version, self.peer)
            self.server.broker.metrics.failed_requests += 1
            self.close()
            return
        if answer is not None:
            call.reply(answer)
        if quotas.active:
            quotas.handled(call, monotonic() - call.started)

    def _refuse_version(self, api: Api, version: int, correlation_id: int) -> None:
        """An ApiVersions of an unknown version is answered in version 0; anything else Kafka cuts off, and so do we."""
        call = Call(self, api, version, correlation_id, None)
        refusal = self.server.unsupported_version(call)
        if refusal is None:
            raise MalformedMessage(f"{api.name} is served in versions {api.versions[0]} to {api.versions[1]}")
        self.calls.append(call)
        call.reply(refusal)

    # Writing

    def advance(self) -> None:
        """Moves the replies that are next in line to the socket's queue, to be sent at the end of the loop's turn."""
        calls = self.calls
        while calls and calls[0].done:
            for chunk in calls.popleft().chunks:
                if len(chunk):
                    self.outgoing.append(memoryview(chunk))
        self.server.unsent[self] = None

    def send(self) -> None:
        """Sends what is queued, as much as the socket takes."""
        if self.closed:
            return
        outgoing = self.outgoing
        try:
            while outgoing:
                sent = self.sock.sendmsg(list(islice(outgoing, CHUNKS_PER_SEND)))
                self.unsent_bytes -= sent
                self.server.broker.metrics.bytes_out += sent
                while sent:
                    chunk = outgoing[0]
                    if sent < len(chunk):
                        outgoing[0] = chunk[sent:]
                        break
                    sent -= len(chunk)
                    outgoing.popleft()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
            return
        if self._closing and not outgoing and not self.calls:
            self.close()
            return
        if self._prefix and not self._is_full():
            kept, self._prefix = self._prefix, b""
            self.server.buffer[: len(kept)] = kept
            self._process(len(kept))
        self._watch()

    def _is_full(self) -> bool:
        """Whether the client has so much unanswered, or unread, that its next requests have to wait."""
        return len(self.calls) >= PENDING_CALLS_MAX or self.unsent_bytes >= PENDING_BYTES_MAX or self._holds > 0

    def _watch(self) -> None:
        events = 0
        if not self._is_full():
            events |= selectors.EVENT_READ
        if self.outgoing:
            events |= selectors.EVENT_WRITE
        if events == self._events or self.closed:
            return
        if events:
            self.server.loop.watch(self.sock, events, self.ready)
        else:
            self.server.loop.unwatch(self.sock)
        self._events = events

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.server.loop.unwatch(self.sock)
        self.sock.close()
        self.calls.clear()
        self.outgoing.clear()
        if self._deadline is not None:
            self._deadline.cancel()
        if self._holds:
            self.server.memory.forget(self)
        self._give_memory_back()
        self.server.forget(self)


def _read_client_id(frame: memoryview, flexible: bool) -> tuple[str | None, int]:
    """The rest of the request header: client id (never compact), then tagged fields, which we have no use for."""
    size: Any = int.from_bytes(frame[8:10], "big", signed=True)
    position = 10 + max(size, 0)
    client_id = str(frame[10:position], "utf-8") if size >= 0 else None
    if flexible:
        count, position = read_uvarint(frame, position)
        for _ in range(count):
            _, position = read_uvarint(frame, position)
            size, position = read_uvarint(frame, position)
            position += size
    return client_id, position
