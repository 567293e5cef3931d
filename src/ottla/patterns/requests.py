"""Requests over Kafka, on the side that asks.

Every instance of a service that asks reads one partition of the topic `<service>-replies`, chosen at random when it
first asks, from where that partition ends at that moment, and names it in its requests. So there is no group and no
rebalance that an answer could fall into, and no answer can come before somebody reads. Answers to others (who chose the
same partition, or lived before) are passed over by their correlation id.

Who asks and dies is not remembered: the answer comes and nobody takes it.
"""

from __future__ import annotations

import asyncio
import random
import threading
import typing
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ottla.errors import DecodeError, RequestError, RequestFailed, RequestTimeout
from ottla.events import event_type, read_envelope
from ottla.kafka.admin import Admin
from ottla.kafka.record import Headers, Record
from ottla.kafka.tail import Tail
from ottla.listeners.replies import CORRELATION_ID, FAILURE, FAILURE_MESSAGE, REPLY_PARTITION, REPLY_TOPIC
from ottla.patterns.part import Surroundings
from ottla.serde.deserializer import Deserializer

POLL_S = 0.1
STOP_S = 5.0

Reply = TypeVar("Reply")
Publish = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Gathered(Generic[Reply]):
    """The answers to a scattered request.

    Attributes:
        replies: In the order in which they came.
        failures: From those who failed for good and said so.
        complete: Whether as many answered (or failed) as were asked for; False if the time ran out before.
    """

    replies: list[Reply] = field(default_factory=list)
    failures: list[RequestError | DecodeError] = field(default_factory=list)
    complete: bool = False


class Requests:
    """Asks, and waits for answers. Used on the event loop of its app.

    Args:
        service: The app's name.
        publish: Publishes an event and waits for its acknowledgement (`App.publish`).
    """

    def __init__(self, service: str, publish: Publish) -> None:
        self._service = service
        self._publish = publish
        self._waiting: dict[bytes, _Waiting] = {}
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._opened: asyncio.Task[None] | None = None

    async def start(self, app: Surroundings) -> None:
        self._app = app
        self._deserializer: Deserializer = app.deserializer
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._opened = None

    async def stop(self) -> None:
        self._stop.set()
        if self._opened is not None:
            await asyncio.gather(self._opened, return_exceptions=True)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, STOP_S)
            self._thread = None
        for one in self._waiting.values():
            one.stopped()

    async def _ready(self) -> None:
        """Reads answers from now on. The first to ask begins; those who ask meanwhile wait with it."""
        if self._opened is None or (self._opened.done() and self._opened.exception() is not None):
            self._opened = asyncio.create_task(asyncio.to_thread(self._open))
        await asyncio.shield(self._opened)

    def _open(self) -> None:
        app = self._app
        topic = app.topics.named(f"{self._service}-replies")
        app.topics.ensure([topic])
        partition = random.randrange(Admin(app.settings.kafka).topics(internal=True).get(topic, 1))
        self._address: Headers = [
            (REPLY_TOPIC, topic.encode()),
            (REPLY_PARTITION, partition.to_bytes(4, "big")),
        ]
        tail = Tail(app.settings.kafka, topic, partition)
        self._thread = threading.Thread(target=self._read, args=(tail,), name=f"{self._service}-replies", daemon=True)
        self._thread.start()

    async def ask(
        self, event: Any, reply_type: Any, timeout_s: float, headers: Headers | None, envelope: dict[str, Any]
    ) -> Any:
        """One answer. See App.request."""
        waiting = _Waiting(self._loop, 1)
        await self._ask([event], reply_type, timeout_s, headers, envelope, waiting)
        if not waiting.answers:
            raise RequestTimeout(
                f"no answer to {type(event).__qualname__} on {event_type(event).topic} within {timeout_s:g} s; "
                f"it may have been handled, or may yet be"
            )
        answer = waiting.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def gather(
        self,
        events: Sequence[Any],
        reply_type: Any,
        timeout_s: float,
        count: int | None,
        headers: Headers | None,
        envelope: dict[str, Any],
    ) -> Gathered[Any]:
        """What answers come. See App.scatter."""
        waiting = _Waiting(self._loop, count)
        await self._ask(events, reply_type, timeout_s, headers, envelope, waiting)
        replies = [one for one in waiting.answers if not isinstance(one, Exception)]
        failures = [one for one in waiting.answers if isinstance(one, RequestError | DecodeError)]
        return Gathered(replies, failures, complete=len(waiting.answers) == count)

    async def _ask(
        self,
        events: Sequence[Any],
        reply_type: Any,
        timeout_s: float,
        headers: Headers | None,
        envelope: dict[str, Any],
        waiting: _Waiting,
    ) -> None:
        waiting.read = self._reader(reply_type)
        correlation = uuid.uuid4().bytes
        self._waiting[correlation] = waiting
        try:
            async with asyncio.timeout(timeout_s) as limit:
                await self._ready()
                asking = [*(headers or ()), *self._address, (CORRELATION_ID, correlation)]
                await asyncio.gather(*(self._publish(event, headers=asking, **envelope) for event in events))
                await waiting.done
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            del self._waiting[correlation]

    def _reader(self, reply_type: Any) -> Callable[[bytes], Any]:
        """What makes a reply of a value, on the thread that reads."""
        if reply_type is bytes:
            return lambda value: value
        classes = {event_type(cls).name: cls for cls in typing.get_args(reply_type) or (reply_type,)}

        def read(value: bytes) -> Any:
            name = self._deserializer.record_name(value)
            if name not in classes:
                raise DecodeError(f"the answer is a {name}, not a {' or a '.join(classes)}")
            return self._deserializer.decode(value, classes[name])

        return read

    def _read(self, tail: Tail) -> None:
        while not self._stop.is_set():
            try:
                record = tail.poll(POLL_S)
                if record is not None:
                    self._take(record)
            except Exception as error:  # ending here would leave every later request without an answer
                self._app.log.exception("an answer could not be taken: %s", error)
        tail.close()

    def _take(self, record: Record) -> None:
        headers = dict(record.headers)
        waiting = self._waiting.get(headers.get(CORRELATION_ID) or b"")
        if waiting is None:
            return
        answer: Any
        kind = headers.get(FAILURE)
        try:
            if kind is not None:
                message = (headers.get(FAILURE_MESSAGE) or b"").decode("utf-8", "replace")
                answer = RequestFailed(message, kind=kind.decode("utf-8", "replace"), value=record.value)
            else:
                answer = waiting.read(record.value or b"")
        except Exception as error:
            answer = error
            if isinstance(error, DecodeError):
                answer = error.at(record.topic, record.partition, record.offset)
        envelope = read_envelope(record.headers)
        # Who answers, dies before its commit, and is handed the request again, answers under the same id.
        identity = envelope.id if envelope is not None else f"{record.partition}:{record.offset}"
        self._loop.call_soon_threadsafe(waiting.answered, identity, answer)


class _Waiting:
    """Somebody who waits for answers. But for `read`, it belongs to the event loop.

    Args:
        count: How many are enough; None waits for as many as come.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int | None) -> None:
        self._count = count
        self._seen: set[str] = set()
        self.read: Callable[[bytes], Any] = bytes
        self.answers: list[Any] = []
        self.done: asyncio.Future[None] = loop.create_future()

    def answered(self, identity: str, answer: Any) -> None:
        if identity in self._seen or self.done.done():
            return
        self._seen.add(identity)
        self.answers.append(answer)
        if len(self.answers) == self._count:
            self.done.set_result(None)

    def stopped(self) -> None:
        if not self.done.done():
            self.done.set_exception(RequestError("the service was stopped while it waited for an answer"))
