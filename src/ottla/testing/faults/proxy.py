"""The proxy: one thread with an event loop, one connection to the broker for each of a client's.

Answers leave in the order of their requests, as Kafka wants it, also those that are made here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message
from ottla.testing.faults.frames import (
    API_VERSIONS,
    PRODUCE,
    Header,
    apis,
    key_of,
    read_answer,
    read_header,
    read_request,
    write_answer,
)
from ottla.testing.faults.refusals import READING, refusal, spoil
from ottla.testing.faults.rules import Delay, Drop, Forget, Harm, Refuse

T = TypeVar("T")

HOST = "127.0.0.1"
PATIENCE_S = 30.0
ANSWERS_WAITING_MAX = 16

_LENGTH = struct.Struct(">i")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset
_TELL_ADDRESSES = frozenset(map(key_of, ("Metadata", "FindCoordinator", "DescribeCluster")))


class Proxy:
    """Listens on a free port from its making on, until `close`.

    Args:
        broker_port: The broker's port on loopback: asked for each connection, since it has none before it is started.
        strikes: What happens to a request, given its header and its bytes.
    """

    def __init__(self, broker_port: Callable[[], int], strikes: Callable[[Header, bytes], Harm | None]) -> None:
        self.closed = False
        self._broker_port = broker_port
        self._strikes = strikes
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        listening = socket.create_server((HOST, 0))
        self.port: int = listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="ottla-faults", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, sock=listening))

    def cut(self) -> int:
        """Resets every connection. Returns how many there were."""

        async def cut() -> int:
            links = list(self._links)
            for link in links:
                link.reset()
            return len(links)

        return self._call(cut())

    def close(self) -> None:
        """Ends the listening, the connections, and the thread."""
        if not self._thread.is_alive():
            return
        self.closed = True

        async def end() -> None:
            self._server.close()
            for link in list(self._links):
                link.reset()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        link = _Link(reader, writer, self._strikes, self._broker_port(), self.port)
        if self.closed:
            link.reset()
            return
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


class _Waiting(NamedTuple):
    """A request whose answer is due. `answer` is there where the broker is not asked."""

    header: Header
    harm: Harm | None
    answer: bytes | None


class _Link:
    """One client's connection and the one to the broker behind it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        strikes: Callable[[Header, bytes], Harm | None],
        broker_port: int,
        own_port: int,
    ) -> None:
        self._from_client, self._to_client = reader, writer
        self._strikes = strikes
        self._broker_port, self._own_port = broker_port, own_port
        self._to_broker: asyncio.StreamWriter | None = None
        self._due: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._answers: asyncio.Queue[bytes] = asyncio.Queue(ANSWERS_WAITING_MAX)
        self._work: asyncio.Future[Any] | None = None

    def reset(self) -> None:
        """Ends both connections; the client's with a reset."""
        with contextlib.suppress(OSError):
            self._to_client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._to_client.transport.abort()
        if self._to_broker is not None:
            self._to_broker.close()
        if self._work is not None:
            self._work.cancel()

    async def run(self) -> None:
        """Passes on what comes, both ways, until one side ends."""
        try:
            from_broker, self._to_broker = await asyncio.open_connection(HOST, self._broker_port)
        except OSError:
            self.reset()
            return
        steps = [
            asyncio.ensure_future(step)
            for step in (self._pass_requests(self._to_broker), self._take_answers(from_broker), self._pass_answers())
        ]
        self._work = asyncio.gather(*steps)
        try:
            await self._work
        except (asyncio.CancelledError, asyncio.IncompleteReadError, OSError):
            pass  # one side has ended, or was cut
        finally:
            for step in steps:
                step.cancel()
            self.reset()

    async def _pass_requests(self, to_broker: asyncio.StreamWriter) -> None:
        while True:
            frame = await _read(self._from_client)
            header = read_header(frame)
            harm = self._strikes(header, frame)
            if harm == Drop(answer=False):
                raise ConnectionResetError
            answer: bytes | None = None
            if isinstance(harm, Refuse) and header.key not in READING:
                answer = write_answer(header, refusal(header.key, read_request(frame), harm.code))
            if answer is None:
                await _write(to_broker, frame)
            if not _is_silent(header, frame):
                self._due.put_nowait(_Waiting(header, harm, answer))

    async def _take_answers(self, from_broker: asyncio.StreamReader) -> None:
        try:
            while True:
                await self._answers.put(await _read(from_broker))
        except (asyncio.IncompleteReadError, OSError):
            await self._answers.join()  # what it said before it ended is passed on
            raise

    async def _pass_answers(self) -> None:
        while True:
            due = await self._due.get()
            if due.answer is not None:
                await _write(self._to_client, due.answer)
                continue
            frame = await self._answers.get()
            try:
                if isinstance(due.harm, Drop):
                    raise ConnectionResetError
                if isinstance(due.harm, Delay):
                    await asyncio.sleep(due.harm.seconds)
                await _write(self._to_client, self._changed(due, frame))
            finally:
                self._answers.task_done()

    def _changed(self, due: _Waiting, frame: bytes) -> bytes:
        """The answer as the client is to see it; most are passed on as they are."""
        refused = isinstance(due.harm, Refuse)
        if not refused and due.header.key != API_VERSIONS and due.header.key not in _TELL_ADDRESSES:
            return frame
        if due.header.key == API_VERSIONS and struct.unpack_from(">h", frame, 4)[0]:
            return frame  # it does not speak the client's version of this API, and says so in another one
        answer = read_answer(due.header, frame)
        if due.header.key == API_VERSIONS:
            _cap(answer)
        _move(answer, self._broker_port, self._own_port)
        if isinstance(due.harm, Refuse):
            spoil(answer, due.harm.code)
        if isinstance(due.harm, Forget):
            _forget_brokers(answer)
        return write_answer(due.header, answer)


def _cap(answer: Message) -> None:
    """Clients are told of no version that cannot be read here."""
    known = apis()
    for one in answer["api_keys"]:
        if one["api_key"] in known:
            one["max_version"] = min(one["max_version"], known[one["api_key"]].versions[1])


def _move(answer: Any, old: int, new: int) -> None:
    """Puts the proxy's port in the place of the broker's."""
    if isinstance(answer, dict):
        if "host" in answer and answer.get("port") == old:
            answer["host"], answer["port"] = HOST, new
        for value in answer.values():
            _move(value, old, new)
    elif isinstance(answer, list | tuple):
        for one in answer:
            _move(one, old, new)


def _forget_brokers(answer: Message) -> None:
    answer |= {"brokers": [], "controller_id": -1}
    for topic in answer["topics"]:
        for partition in topic["partitions"]:
            partition |= {"error_code": ErrorCode.LEADER_NOT_AVAILABLE, "leader_id": -1, "isr_nodes": []}


def _is_silent(header: Header, frame: bytes) -> bool:
    """Whether the request gets no answer: a Produce with acks=0."""
    return header.key == PRODUCE and read_request(frame)["acks"] == 0


async def _read(reader: asyncio.StreamReader) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return await reader.readexactly(length)


async def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(_LENGTH.pack(len(frame)) + frame)
    await writer.drain()
