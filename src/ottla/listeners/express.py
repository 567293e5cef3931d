"""The short way of ordinary records: decoded many at once, handled one after the other, counted together.

Nearly every record is of a schema that was met before, and its handler returns nothing. Such a record needs none of the
steps of `record`, which cost many times what the handler costs. Whatever else happens (an exception, an event that is
returned, bytes that are no event, a schema that must be asked for, a retry topic, a batch handler) leaves the express
for that way, with what has been done for the record already. So every policy is written once, there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from time import perf_counter
from types import CoroutineType
from typing import Any

from ottla.errors import DecodeError
from ottla.kafka.record import Message
from ottla.listeners.context import Context
from ottla.listeners.declaration import Listener
from ottla.listeners.dispatch import Dispatcher
from ottla.listeners.hooks import Companion, Observer
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.outcome import Outcome
from ottla.listeners.steps import Way, collect, collect_async, failure_of
from ottla.listeners.transaction import OpenTransaction

RECORDS = 64
"""Records decoded ahead of their handler, at most."""

COUNT_S = 0.005
"""Metrics are told of handled records when they leave the express, and sooner where handlers take so long together."""

Answer = Callable[[Message, Any, OffsetTracker, str], bool]
"""Publishes the one event that a handler returned, if that is all there is to do; else does nothing, and says so."""

WayOn = Callable[[Message, Listener, Any, Context, Outcome, float, OffsetTracker], Way]
"""The rest of the way of a record whose handler was called."""


class Express:
    """Shared by all partitions of an app, and used from several threads.

    Args:
        service: The name of the app.
        dispatcher: Knows the handlers and schemas met so far.
        observer: Told of handled records.
        way_on: For records that leave after their handler was called.
        answer: For those whose handler returns an event.
        transaction: What exactly-once handlers write to.
        companion: Goes along. Where it has more to do than to note which record is in hand, nobody is taken: it goes
            the long way.
    """

    def __init__(
        self,
        *,
        service: str,
        dispatcher: Dispatcher,
        observer: Observer,
        way_on: WayOn,
        answer: Answer,
        transaction: OpenTransaction | None,
        companion: Companion | None = None,
    ) -> None:
        self.note = None if companion is None else companion.note
        self._closed = companion is not None and self.note is None
        self.answer = answer
        self.service = service
        self._dispatcher = dispatcher
        self.observer = observer
        self.way_on = way_on
        self.transaction = transaction

    def board(self, messages: list[Message], tracker: OffsetTracker, *, is_async: bool) -> Trip | None:
        """Takes as many records, from the first on, as go to the same handler and decode; None if the first one has
        another way to go.

        Args:
            messages: Records of one partition, in their order; at least one.
            tracker: The partition's.
            is_async: Whether the handlers meant are coroutine functions.
        """
        if self._closed:
            return None
        alike = self.alike(messages, tracker)
        if alike is None or not alike[0].plain or alike[0].is_async is not is_async:
            return None
        return Trip(self, *alike, messages, tracker)

    def alike(self, messages: list[Message], tracker: OffsetTracker) -> tuple[Listener, list[Any]] | None:
        """The handler of the first record, and the events of those from the first on that are for it; None where the
        first one is out of the ordinary."""
        values = [message.value() for message in messages]
        first = values[0]
        if first is None or tracker.parked:
            return None
        route = self._dispatcher.quick(messages[0].topic(), first)
        if route is None:
            return None
        listener, cls = route
        try:
            return listener, self._dispatcher.decode_leading(values, cls)
        except DecodeError as error:
            return (listener, self._dispatcher.decode_leading(values[: error.index], cls)) if error.index else None
        except Exception:
            return None  # A class's own code, an upcaster: on the long way it is told whose record it was.


class Trip:
    """Some records of one partition on their way together.

    `walk` goes on where it stopped. It gives the way of a record that leaves, which must be walked before the trip goes
    on; None when all records are done with, or `stopping` was set.
    """

    __slots__ = (
        "_answer",
        "_count",
        "_events",
        "_listener",
        "_messages",
        "_next",
        "_note",
        "_service",
        "_tracker",
        "_transaction",
        "_way_on",
    )

    def __init__(
        self, express: Express, listener: Listener, events: list[Any], messages: list[Message], tracker: OffsetTracker
    ) -> None:
        self._listener = listener
        self._messages = messages
        self._events = events
        self._tracker = tracker
        self._transaction = express.transaction
        self._service = express.service
        self._way_on = express.way_on
        self._answer = express.answer
        self._note = express.note
        self._count = Count(express.observer, messages[0].topic(), listener.name)
        self._next = 0

    @property
    def done(self) -> int:
        """How many records are done with."""
        return self._next

    def walk(self, stopping: threading.Event) -> Way | None:
        """Calls a plain function."""
        # What nearly every record goes through: names are local, and nothing is called or made that need not be.
        call, note, service = self._listener.call, self._note, self._service
        of_event = self._listener.of_event if note is None else None
        tracker, transaction, finished = self._tracker, self._transaction, self._tracker.finished
        messages, events, count, stopped = self._messages, self._events, self._count, stopping.is_set
        answer, name = self._answer, self._listener.name
        started = perf_counter()
        for index in range(self._next, len(events)):
            message = messages[index]
            context: Context | None = None
            result: Any = None
            error: Exception | None = None
            try:
                if of_event is not None:
                    result = of_event(events[index])
                else:
                    context = Context(message, service)
                    if note is not None:
                        note(Passenger(self._listener, events[index], context))
                    result = call(events[index], context)
            except Exception as failure:
                error = failure
            except BaseException as failure:
                error = failure_of(failure)
            if result is not None or error is not None:
                if error is not None or not answer(message, result, tracker, name):
                    outcome = _collected(result) if error is None else Outcome(error=error)
                    return self._left(index, context, outcome, started)
            elif transaction is None:
                finished(message.offset())
            elif not transaction.try_write(message, tracker, []):
                return self._left(index, context, Outcome(), started)
            now = perf_counter()
            count.add(now - started)
            if now > count.due:
                count.told(now)
            started = now
            if stopped():
                break
        else:
            self._next = len(events)
        self._over()
        count.told(started)
        return None

    async def walk_async(self, stopping: asyncio.Event) -> Way | None:
        """Calls a coroutine function, on the event loop."""
        call, note, service = self._listener.call, self._note, self._service
        of_event = self._listener.of_event if note is None else None
        tracker, transaction, finished = self._tracker, self._transaction, self._tracker.finished
        messages, events, count, stopped = self._messages, self._events, self._count, stopping.is_set
        answer, name = self._answer, self._listener.name
        started = perf_counter()
        for index in range(self._next, len(events)):
            message = messages[index]
            context: Context | None = None
            result: Any = None
            error: Exception | None = None
            try:
                if of_event is not None:
                    result = of_event(events[index])
                else:
                    context = Context(message, service)
                    if note is not None:
                        note(Passenger(self._listener, events[index], context))
                    result = call(events[index], context)
                if type(result) is CoroutineType:
                    result = await result
                else:
                    result = await collect_async(result)
            except asyncio.CancelledError as cancelled:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                error = failure_of(cancelled)  # Nobody cancels this task: see walk_async in steps.
            except Exception as failure:
                error = failure
            if result is not None or error is not None:
                if error is not None or not answer(message, result, tracker, name):
                    return self._left(index, context, Outcome(result, error), started)
            elif transaction is None:
                finished(message.offset())
            elif not transaction.try_write(message, tracker, []):
                return self._left(index, context, Outcome(), started)
            now = perf_counter()
            count.add(now - started)
            if now > count.due:
                count.told(now)
            started = now
            if stopped():
                break
        else:
            self._next = len(events)
        self._over()
        count.told(started)
        return None

    def _over(self) -> None:
        """No record is in hand any more."""
        if self._note is not None:
            self._note(None)

    def _left(self, index: int, context: Context | None, outcome: Outcome, started: float) -> Way:
        """The rest of the way of a record; the trip goes on with the next one."""
        self._over()
        self._next = index + 1
        self._count.told(started)
        message, event = self._messages[index], self._events[index]
        if context is None:
            context = Context(message, self._service)
        return self._way_on(message, self._listener, event, context, outcome, started, self._tracker)


class Passenger:
    """A record on the express, for the companion."""

    __slots__ = ("context", "event", "listener")

    def __init__(self, listener: Listener, event: Any, context: Context) -> None:
        self.listener = listener
        self.event = event
        self.context = context


class Count:
    """Collects how long each handler took, and tells it for many at once.

    Attributes:
        add: Called with the seconds that a handler took.
        due: When it is to be told next, by `perf_counter`.
    """

    __slots__ = ("_handler", "_observer", "_seconds", "_topic", "add", "due")

    def __init__(self, observer: Observer, topic: str, handler: str) -> None:
        self._observer = observer
        self._topic = topic
        self._handler = handler
        self._seconds: list[float] = []
        self.add = self._seconds.append
        self.due = perf_counter() + COUNT_S

    def told(self, now: float) -> None:
        """Tells what was collected."""
        self.due = now + COUNT_S
        if self._seconds:
            self._observer.handled_many(self._topic, self._handler, self._seconds)
            self._seconds.clear()


def _collected(result: Any) -> Outcome:
    """What a plain handler returned: where it yields events, its body runs now."""
    try:
        return Outcome(collect(result))
    except Exception as error:
        return Outcome(error=error)
    except BaseException as error:
        return Outcome(error=failure_of(error))
