"""What an App offers of the patterns, handed over to where each is done."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from ottla.events import new_event_id
from ottla.kafka.topic_names import TopicNames
from ottla.listeners.outputs import Outputs, make_serializer
from ottla.observability.metrics import Metrics
from ottla.patterns.part import Part, Surroundings
from ottla.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData, Table

    from ottla.kafka.record import Headers
    from ottla.kafka.topics import ServiceTopics
    from ottla.listeners.publisher import Publisher
    from ottla.listeners.retry import Retry
    from ottla.observability.outbox import OutboxSeries
    from ottla.observability.projections import ProjectionSeries
    from ottla.patterns.database import Database
    from ottla.patterns.inbox import Inbox
    from ottla.patterns.outbox import Outbox
    from ottla.patterns.projection import Projection
    from ottla.patterns.requests import Gathered, Requests
    from ottla.patterns.schedule import Scheduler

P = TypeVar("P", bound=Part)


class AppPatterns:
    """The part of App that stands on `ottla.patterns`. What a pattern needs is loaded when it is used."""

    name: str
    _parts: list[Part]
    _surroundings: Surroundings

    if TYPE_CHECKING:  # App has them

        @property
        def settings(self) -> Settings: ...
        @property
        def metrics(self) -> Metrics: ...
        @property
        def publish(self) -> Callable[..., Awaitable[Any]]: ...
        async def _ready_to_publish(self) -> Publisher: ...

    def inbox(
        self,
        database: Database,
        *,
        keep: timedelta = timedelta(days=14),
        metadata: MetaData | None = None,
        scope: str | None = None,
        table: str = "ottla_inbox",
        create: bool = True,
    ) -> Inbox:
        """An inbox whose table is made before the first record, and cleaned up every hour.

        Args:
            database: An Engine, an AsyncEngine, a URL, or a function that gives one when the app starts.
            keep: The window: ids noted longer ago are forgotten. Longer than Kafka can bring a record back.
            metadata, scope, table: As `Inbox` takes them.
            create: False leaves the table to migrations.
        """
        from ottla.patterns.housekeeping import Housekeeping
        from ottla.patterns.inbox import FORGET_ROWS, Inbox

        inbox = Inbox(metadata, scope=scope, table=table)

        def forget(engine: Engine) -> None:
            forgotten = FORGET_ROWS
            while forgotten >= FORGET_ROWS:
                with engine.begin() as connection:
                    forgotten = inbox.forget(connection, older_than=keep)

        self._parts.append(Housekeeping("inbox", database, create=inbox.create if create else None, chore=forget))
        return inbox

    def outbox(
        self,
        database: Database,
        *,
        relay: bool = True,
        metadata: MetaData | None = None,
        table: str = "ottla_outbox",
        create: bool = True,
        poll_s: float = 0.5,
        lease_s: float = 10.0,
        late_s: float = 60.0,
    ) -> Outbox:
        """An outbox, and (unless `relay=False`) a relay for it that runs within this app.

        Several instances of a service may run relays; so may an app that does nothing else:

            app = App("orders-relay")
            app.outbox("postgresql+psycopg://...")        # ottla run orders.relay:app

        Args:
            database: An Engine, an AsyncEngine, a URL, or a function that gives one when the app starts.
            metadata, table: As `Outbox` takes them.
            create: False leaves the tables to migrations.
            poll_s: Seconds between two looks where no notice comes (SQLite; PostgreSQL tells at once).
            lease_s: For so long a relay that died keeps what it was publishing from the others.
            late_s: The service is not ready while an event has been waiting for longer.
        """
        from ottla.patterns.housekeeping import Housekeeping
        from ottla.patterns.outbox import Outbox
        from ottla.patterns.relay import Relay

        outbox = Outbox(self._outbox_outputs, metadata, table=table)
        if create:
            self._parts.append(Housekeeping("outbox", database, create=outbox.create))
        if relay:
            limits = {"poll_s": poll_s, "lease_s": lease_s, "late_s": late_s}
            self._parts.append(Relay(outbox, database, self._outbox_series, **limits))
        return outbox

    def projection(
        self,
        name: str,
        database: Database,
        *,
        tables: Sequence[Table],
        batch: int = 500,
        retry: Retry | None = None,
    ) -> Projection:
        """Tables that events fill, kept up to date within this app; its handlers are declared with `on`.

        Args:
            name: Its name in the database; with the app's name before it, its consumer group.
            database: An Engine, an AsyncEngine, a URL, or a function that gives one when the app starts.
            tables: All tables it fills, each with a primary key. They are made at the start where they are missing.
            batch: Events of one transaction, at most.
            retry: How often a handler is called for an event before that is dead-lettered; None: three times.

        Raises:
            ConfigurationError: No tables, or they cannot be rebuilt.
        """
        from ottla.patterns.projection import Projection
        from ottla.patterns.projector import Projector

        made = Projection(
            name, database, tables=tables, service=self.name, settings=lambda: self.settings, batch=batch, retry=retry
        )
        self._parts.append(Projector(made, self._projection_series))
        return made

    # ------------------------------------------------------------------ asking

    async def request(
        self,
        event: Any,
        *,
        reply_type: Any,
        timeout_s: float = 10.0,
        headers: Headers | None = None,
        **envelope: Any,
    ) -> Any:
        """Publishes an event and waits for the answer: what its handler, in whichever service, returns.

        The answer comes over the topic `<service>-replies`. With spring-kafka's headers, so that its listeners may
        answer (`@SendTo`) and its ReplyingKafkaTemplate may ask.

        Args:
            event: An instance of an `@event` class.
            reply_type: The class of the answer, or several (`A | B`); `bytes` gives the value as it is.
            timeout_s: How long to wait, the publishing included.
            headers, envelope: As App.publish takes them.

        Raises:
            RequestTimeout: Nobody answered in time. A handler that returns nothing does not answer.
            RequestFailed: The handler failed for good, after its retries; says with which exception.
            DecodeError: The answer is not of `reply_type`.
            PublishError and the others of App.publish: The request was not sent.
        """
        requests = await self._requests()
        return await requests.ask(event, reply_type, timeout_s, headers, envelope)

    async def scatter(
        self,
        *events: Any,
        reply_type: Any,
        count: int | None = None,
        timeout_s: float = 10.0,
        headers: Headers | None = None,
        **envelope: Any,
    ) -> Gathered[Any]:
        """Asks many, and gathers their answers until there are `count` (failures count as answers), or the time is up.

        One event that several services handle is answered by each; several events are asked at once. An answer that a
        crash repeats counts once.

        Args:
            events: Instances of `@event` classes.
            count: How many answers are enough; None gathers for the whole time.
            reply_type, timeout_s, headers, envelope: As `request` takes them.

        Returns:
            What came, and whether that is all.
        """
        requests = await self._requests()
        return await requests.gather(events, reply_type, timeout_s, count, headers, envelope)

    async def _requests(self) -> Requests:
        from ottla.patterns.requests import Requests

        return await self._part(Requests, lambda: Requests(self.name, self.publish))

    # ------------------------------------------------------------------ later

    async def schedule(
        self,
        event: Any,
        *,
        delay: timedelta | None = None,
        at: datetime | None = None,
        id: str | None = None,
        **envelope: Any,
    ) -> str:
        """Publishes an event later: never before its time, once for readers of committed records, whatever restarts
        meanwhile. While no instance of the service runs, it waits; then it is published as soon as one does.

        It waits in the compacted topic `<service>-scheduled` and in the memory of one instance.

        Args:
            event: An instance of an `@event` class; it is serialised now.
            delay: How much later.
            at: At which time (aware).
            id: What `unschedule` is to find it by, if the caller has a name for it. One id is used once.
            envelope: As App.publish takes it.

        Returns:
            The id.

        Raises:
            ValueError: Not one of `delay` and `at`, or `at` is naive.
            PublishError: Kafka has not acknowledged it in time; it may be scheduled all the same.
            As App.publish, for an event that cannot be published.
        """
        from ottla.patterns.due import due_ms

        due = due_ms(delay, at)
        if due is None:
            raise ValueError("schedule(event) needs delay or at")
        publisher = await self._ready_to_publish()
        outgoing = await publisher.prepare(event, **envelope)
        name = id or new_event_id()
        scheduler = await self._scheduler()
        await scheduler.add(name, due, outgoing)
        return name

    async def unschedule(self, id: str) -> None:
        """Takes a scheduled event back. When this returns, it will not be published, unless its time had come by then:
        one that is due in the same moments may be on its way.

        Args:
            id: What `schedule` returned.

        Raises:
            PublishError: Kafka has not acknowledged it; it may be taken back all the same.
        """
        await self._ready_to_publish()
        await (await self._scheduler()).cancel(id)

    async def _scheduler(self) -> Scheduler:
        from ottla.patterns.schedule import Scheduler

        return await self._part(Scheduler, lambda: Scheduler(self.name))

    def _find_scheduled(self, topics: ServiceTopics) -> None:
        """What an earlier run scheduled is published by this one, whether or not it schedules anything itself."""
        if topics.exists(topics.named(f"{self.name}-scheduled")):
            from ottla.patterns.schedule import Scheduler

            if not any(isinstance(part, Scheduler) for part in self._parts):
                self._parts.append(Scheduler(self.name))

    async def _part(self, kind: type[P], make: Callable[[], P]) -> P:
        """The app's part of a kind, begun when it is first needed."""
        await self._ready_to_publish()
        for part in self._parts:
            if isinstance(part, kind):
                return part
        made = make()
        self._parts.append(made)
        await made.start(self._surroundings)
        return made

    @cached_property
    def _outbox_series(self) -> OutboxSeries:
        from ottla.observability.outbox import OutboxSeries

        return OutboxSeries(self.name, self.metrics.registry)

    @cached_property
    def _projection_series(self) -> ProjectionSeries:
        from ottla.observability.projections import ProjectionSeries

        return ProjectionSeries(self.name, self.metrics.registry)

    def _outbox_outputs(self) -> Outputs:
        """Makes records without Kafka: a transaction must not wait for it. Lives as long as the process."""
        from ottla.registry.client import client_for

        settings = self.settings
        names = TopicNames(settings.kafka, logging.getLogger(f"ottla.{self.name}"))
        return Outputs(make_serializer(settings, client_for(settings.registry)), names, self.name)
