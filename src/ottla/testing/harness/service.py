"""A running app as a test sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from ottla.app import App
from ottla.deadletters.letter import DeadLetter
from ottla.events import event_type, new_event_id, read_envelope
from ottla.kafka.record import Headers, Record, RecordMetadata
from ottla.listeners.agreement import RetryPlan
from ottla.listeners.deadletter import dead_letter_topic
from ottla.settings import Settings

if TYPE_CHECKING:
    from ottla.testing.harness.namespace import Namespace

Event = TypeVar("Event")

LOOK_S = 0.002
QUIET_S = 30.0


class ServiceUnderTest:
    """What `async with app_under_test(app) as service` gives.

    Attributes:
        app: The app.
        settings: What it runs with.
    """

    def __init__(self, app: App, settings: Settings | None, namespace: Namespace, partitions: int) -> None:
        self.app = app
        self._before = app.given_settings
        self._namespace = namespace
        self._inspector = namespace.inspector
        self._partitions = partitions
        self.settings = namespace.settings_of(settings or app.settings, partitions)
        self._given: set[str] = set()
        self._running = AsyncExitStack()

    # ------------------------------------------------------------------ doing

    async def publish(self, *events: Any, **envelope: Any) -> list[RecordMetadata]:
        """Publishes events, one after the other, as somebody else would: `published` does not count them.

        Args:
            events: Instances of `@event` classes.
            envelope: `key`, `headers`, `event_id`, `correlation_id`, `causation_id`, as App.publish takes them.

        Returns:
            Where each lies.
        """
        places = []
        for event in events:
            identity = envelope.get("event_id") or new_event_id()
            self._given.add(identity)
            places.append(await self.app.publish(event, **{**envelope, "event_id": identity}))
        return places

    async def publish_raw(
        self,
        topic: type | str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers | None = None,
        partition: int = 0,
    ) -> None:
        """Writes a record as it is: what no serialiser would write."""
        await asyncio.to_thread(self._inspector.write, self.topic(topic), value, key, headers, partition)

    async def quiet(self, timeout_s: float = QUIET_S) -> None:
        """Waits until all that was published is handled and committed, follow-up events included, by every app that
        runs in this test.

        Raises:
            TimeoutError: It is not; says what is left, and what the apps say is wrong.
        """
        deadline = time.monotonic() + timeout_s
        while left := [text for one in self._namespace.running for text in await one.unfinished()]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not quiet after {timeout_s:g} s: {'; '.join(left)}")
            await asyncio.sleep(LOOK_S)

    # ------------------------------------------------------------------ looking

    async def published(self, cls: type[Event]) -> list[Event]:
        """The events of a class that were published by the apps under test, in the order of their partitions; not those
        that the test published itself."""
        return await asyncio.to_thread(self._published, cls)

    async def records(self, topic: type | str) -> list[Record]:
        """All records of a topic, or of an event class's topic, as they lie there."""
        return await asyncio.to_thread(self._inspector.records, self.topic(topic))

    async def dead_letters(self, topic: type | str | None = None) -> list[DeadLetter]:
        """The dead letters of a topic, or of an event class's topic; None: of all that the app listens to."""
        topics = self._listened() if topic is None else [self.topic(topic)]
        return await asyncio.to_thread(self._inspector.dead_letters, *topics)

    async def committed(self, topic: type | str) -> dict[int, int]:
        """Partition to the offset that the app has committed on a topic, or on an event class's topic."""
        name = self.topic(topic)
        found = await asyncio.to_thread(self._inspector.committed, self.group)
        return {partition: offset for (place, partition), offset in found.items() if place == name}

    @property
    def group(self) -> str:
        """The app's consumer group, as it is called in the cluster."""
        return self.settings.kafka.named(self.app.name)

    def topic(self, topic: type | str) -> str:
        """What a topic, or an event class's topic, is called in the cluster."""
        return self.settings.kafka.named(topic if isinstance(topic, str) else event_type(topic).topic)

    async def unfinished(self) -> list[str]:
        """What the app has still to do, in words."""
        if waiting := self.app.unacknowledged:
            return [f"{self.app.name}: {waiting} records are not acknowledged"]
        late = await asyncio.to_thread(self._inspector.behind, self.group, self._with_retries())
        if not late:
            return []
        left = ", ".join(f"{count} of {topic}[{partition}]" for (topic, partition), count in sorted(late.items()))
        wrong = "; ".join(self.app.health.wrong())
        return [f"{self.app.name} has not finished {left}" + (f" ({wrong})" if wrong else "")]

    # ------------------------------------------------------------------ running

    async def start(self) -> None:
        """Starts the app."""
        graves = map(dead_letter_topic, self._listened())
        await asyncio.to_thread(self._inspector.prepare, self.group, self._with_retries(), graves, self._partitions)
        self.app.configure(self.settings)
        self._running.callback(self.app.configure, self._before)
        try:
            await self._running.enter_async_context(self.app.running())
        except BaseException:
            await self._running.aclose()
            raise
        self._namespace.running.append(self)

    async def stop(self) -> None:
        """Stops it, and puts its own settings back."""
        if self in self._namespace.running:
            self._namespace.running.remove(self)
        await self._running.aclose()

    def _listened(self) -> list[str]:
        return sorted({self.topic(topic) for one in self.app.listeners for topic in one.topics})

    def _with_retries(self) -> Iterable[str]:
        return [*self._listened(), *map(self.topic, RetryPlan(self.app.listeners).levels)]

    def _published(self, cls: type[Event]) -> list[Event]:
        kind, decode = event_type(cls), self._inspector.deserializer
        given = set().union(*(one._given for one in self._namespace.running), self._given)
        found = []
        for record in self._inspector.records(self.topic(cls)):
            if record.value is None or decode.record_name(record.value) != kind.name:
                continue
            envelope = read_envelope(record.headers)
            if envelope is None or envelope.id not in given:
                found.append(decode.decode(record.value, cls))
        return found
