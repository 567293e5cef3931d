"""The App: one service, put together from the rooms below it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any, TypeVar, Unpack

from ottla.app_listening import AppListening
from ottla.app_patterns import AppPatterns
from ottla.errors import (
    BrokerUnavailable,
    ConfigurationError,
    KafkaError,
    PublishError,
    RegistryRejected,
    RegistryUnavailable,
)
from ottla.events import EventType, event_type, new_event_id
from ottla.kafka.producer import Producer
from ottla.kafka.record import RecordMetadata
from ottla.kafka.topics import ServiceTopics
from ottla.kafka.transactions import TransactionalProducer
from ottla.listeners.acknowledgement import Ack
from ottla.listeners.agreement import RetryPlan
from ottla.listeners.assembly import make_runner
from ottla.listeners.deadletter import dead_letter_topic
from ottla.listeners.declaration import Filter, Listener, declare
from ottla.listeners.naming import named_events, named_listeners
from ottla.listeners.order import Order, per_partition
from ottla.listeners.outputs import EventOptions, Outputs, make_serializer
from ottla.listeners.publisher import Failed, Publisher, Transaction
from ottla.listeners.record import UNDECODED
from ottla.listeners.retry import Retry
from ottla.listeners.runner import ListenerRunner
from ottla.listeners.watch import Watch
from ottla.middleware.hook import Middleware, around
from ottla.observability.coming_up import ComingUp
from ottla.observability.companion import companion_for
from ottla.observability.health import Health
from ottla.observability.metrics import Metrics
from ottla.observability.routes import routes
from ottla.observability.tracing import tracing_for
from ottla.patterns.part import Part, Surroundings
from ottla.registry.client import client_for
from ottla.serde.deserializer import Deserializer
from ottla.settings import Settings, load_settings

Function = TypeVar("Function", bound=Callable[..., Any])
Hook = Callable[[], Awaitable[None] | None]

LAST_FLUSH_S = 1.0
"""What a stop gives the producer in any case, however long the listeners took."""

WAIT_S = 1.0
"""Between two looks for a broker or a registry that is not there yet."""


class App(AppPatterns, AppListening):
    """One service: its handlers, its publishing, its health.

    Nothing happens until the app is started, by `async with app.running()`, as the `lifespan` of a web application, or
    by `ottla run`. Then the app waits for Kafka and the registry (and says so), creates missing topics, and joins the
    consumer group that bears its name.

    Args:
        name: The service's name: the consumer group, the client id, the source of its events, the label of its metrics.
        settings: None reads them (arguments > environment > .env > ottla.toml > defaults) when first needed.
        events: Event classes this service knows of besides those it handles. A record of a known type that no handler
            wants is passed over; one of an unknown type is dead-lettered.
        middleware: Functions around every handler's calls, the outermost first (`ottla.middleware.hook`).
    """

    def __init__(
        self,
        name: str,
        *,
        settings: Settings | None = None,
        events: Iterable[type] = (),
        middleware: Iterable[Middleware] = (),
    ) -> None:
        if not name or any(character.isspace() or character in "/,:" for character in name):
            raise ConfigurationError(
                f"App({name!r}): the name is the consumer group and a metrics label; give it letters, digits, - _ ."
            )
        self.name = name
        self._given = settings
        self._known = [event_type(cls) for cls in events]
        self._middleware = tuple(middleware)
        self._declared: list[Listener] = []
        # The same, with the names that they have in the cluster. Runs may differ in these: tests do.
        self._events: list[EventType] = []
        self._listeners: list[Listener] = []
        self._parts: list[Part] = []
        self._starting: list[Hook] = []
        self._stopping: list[Hook] = []
        self._log = logging.getLogger(f"ottla.{name}")
        self._up = asyncio.Event()
        self._producer: Producer | None = None
        self._outputs: Outputs | None = None
        self._publisher: Publisher | None = None
        self._runner: ListenerRunner | None = None
        self._coming_up: ComingUp | None = None
        self._moves: Watch | None = None
        self._watched = False

    @cached_property
    def settings(self) -> Settings:
        """The settings in force. Raises ConfigurationError with every fault at once."""
        return self._given or load_settings()

    @property
    def given_settings(self) -> Settings | None:
        """The settings the app was given; None where it reads them."""
        return self._given

    def configure(self, settings: Settings | None) -> None:
        """Puts other settings in force from the next start on, None: those that are read anew. How tests point an app
        at their broker."""
        self._given = settings
        self.__dict__.pop("settings", None)

    @cached_property
    def health(self) -> Health:
        """What is wrong with the service now, if anything."""
        return Health(self.name)

    @cached_property
    def metrics(self) -> Metrics:
        """The service's Prometheus metrics."""
        return Metrics(self.name)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The handlers declared so far."""
        return tuple(self._declared)

    @property
    def events(self) -> tuple[EventType, ...]:
        """The event types the app knows of or listens to."""
        return (*self._known, *(event for listener in self._declared for event in listener.events))

    @property
    def unacknowledged(self) -> int:
        """How many records that were published wait for their acknowledgement."""
        return 0 if self._producer is None else self._producer.waiting

    # ------------------------------------------------------------------ declaring

    def listen(
        self,
        *types: type,
        retry: Retry | None = None,
        name: str | None = None,
        batch: int = 1,
        order: Order = per_partition,
        exactly_once: bool = False,
        ack: Ack = "auto",
        filter: Filter | None = None,
        middleware: Iterable[Middleware] = (),
    ) -> Callable[[Function], Function]:
        """Declares a handler for events.

        The handler takes the event and, if it likes, a Context and what is Annotated with `Key()`, `Header(name)` or
        `Depends(function)` (`ottla.listeners.injection`). Plain functions run in threads, async ones on the event
        loop; both in the order of their partition. Events it returns (or yields) are published; the record is committed
        when they are acknowledged.

        Args:
            types: The event classes; empty takes them from the annotation of the first parameter.
            retry: What happens when it raises; the default is three attempts, then the dead-letter topic.
            name: A name that stays when the function is renamed: the ids of returned events depend on it.
            batch: Above 1, the handler takes a list of up to so many events (and, if it likes, a list of Contexts) and
                returns None or a list with one entry per event: what to publish for it. It never waits for more
                records than have arrived. If it raises, its records are handed over again one at a time, in lists of
                one, and only the one at fault is retried and dead-lettered: it must bear being called again.
            order: `per_partition`: one after the other. `per_key(n)`: up to n keys of a partition at once, each key in
                its order, also through retries. `unordered(n)`: up to n records of a partition at once. The handlers of
                a topic must agree.
            exactly_once: The events it returns, its dead letters and the offsets of its records are committed in one
                Kafka transaction (every `listener.transaction_interval_s`): whoever reads committed records only sees
                the effect of each record once, whatever crashes. What the handler does elsewhere (a database, an HTTP
                call) is not part of it. The handlers of a topic must agree.
            ack: `"auto"`: handled records are committed in the background. `"record"`, and `"batch"` for a handler of
                batches: each is committed before the next one is begun. `"manual"`: the handler says `ctx.ack()`, then
                or later, or `ctx.nack(delay)` to be given the record again.
            filter: A plain function of the event (and its Context): records for which it gives False are passed over.
            middleware: Functions around its calls, within those of the app.

        Raises:
            ConfigurationError: The signature cannot be served.
            EventDefinitionError: A class is not an event.
        """

        def declared(function: Function) -> Function:
            listener = declare(
                function,
                types,
                name=name,
                retry=retry or Retry(),
                batch=batch,
                order=order,
                exactly_once=exactly_once,
                ack=ack,
                filter=filter,
                overrides=self.dependency_overrides,
            )
            self._declared.append(around(listener, (*self._middleware, *within)))
            return function

        within = tuple(middleware)
        return declared

    def on_start(self, hook: Function) -> Function:
        """Runs `hook` (no arguments, plain or async) before the first record: create tables, open pools. If it raises,
        the service does not start."""
        self._starting.append(hook)
        return hook

    def on_stop(self, hook: Function) -> Function:
        """Runs `hook` after the last record; the last declared runs first."""
        self._stopping.append(hook)
        return hook

    # ------------------------------------------------------------------ publishing

    async def publish(self, event: Any, **options: Unpack[EventOptions]) -> RecordMetadata:
        """Publishes an event and waits until Kafka has acknowledged it.

        Args:
            event: An instance of an `@event` class; its class says the topic.
            options: `key` (None takes the event's key field), further `headers`, `event_id` (repeat it when you repeat
                the publish, and consumers can tell), `correlation_id` (None starts a new one), `causation_id` (of the
                event that led to this one), and `topic`, if another than its class says.

        Raises:
            PublishError: Not acknowledged in `kafka.publish_timeout_s`; it may still arrive.
            RegistryUnavailable, RegistryRejected, BrokerUnavailable: No schema id, or no topic, for it.
            EventDefinitionError, EncodeError: It is not an event, or does not fit its schema.
        """
        publisher = await self._ready_to_publish()
        return await publisher.publish(event, **options)

    async def publish_many(
        self, events: Iterable[Any], *, correlation_id: str | None = None, causation_id: str | None = None
    ) -> list[RecordMetadata]:
        """Publishes events, in order per partition, and waits until Kafka has acknowledged all of them.

        Returns:
            Where each lies, in the order of `events`.

        Raises:
            PublishError: Some were refused, or not acknowledged in time; the others are published all the same. For
                all or nothing there is `transaction`.
            EventDefinitionError, EncodeError, RegistryUnavailable, RegistryRejected, BrokerUnavailable: Nothing was
                sent.
        """
        publisher = await self._ready_to_publish()
        return await publisher.publish_many(events, correlation_id=correlation_id, causation_id=causation_id)

    async def send(self, event: Any, *, on_error: Failed | None = None, **options: Unpack[EventOptions]) -> None:
        """Hands an event over without waiting for its acknowledgement; waits only while the buffer is full.

        A record that a broker refuses later is told by the log, the metric `ottla_publish_failures_total`, and
        `on_error(event, error)` (on another thread). A stop waits for what was sent.

        Raises:
            As `publish`, but for the acknowledgement.
        """
        publisher = self._publisher if self._up.is_set() else None
        if publisher is None:
            publisher = await self._ready_to_publish()
        if not publisher.send_at_once(event, on_error, options):
            await publisher.send(event, on_error=on_error, **options)

    async def publish_tombstone(
        self, cls: type, key: Any, *, headers: list[tuple[str, bytes | None]] | None = None
    ) -> RecordMetadata:
        """Writes a record without value: on a compacted topic it deletes the key.

        Args:
            cls: An event class; it says the topic.
            key: The key: text, or an instance of the class of its keys if they have a schema.
            headers: Headers.

        Raises:
            PublishError: As `publish`.
        """
        return await (await self._ready_to_publish()).tombstone(cls, key, headers)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Events that become visible together or not at all, to readers of committed records:

            async with app.transaction() as transaction:
                await transaction.publish(OrderCreated(...))
                await transaction.publish(StockReserved(...))

        Committed at the end of the block, aborted if it raises. One transaction of an app is open at a time.

        Raises:
            TransactionAborted: It was rolled back; doing it again is safe.
            BrokerUnavailable: The commit was not answered in time: it may or may not be committed.
            PublishError: The app cannot publish yet.
        """
        publisher = await self._ready_to_publish()
        async with publisher.transaction() as opened:
            yield opened

    async def _ready_to_publish(self) -> Publisher:
        timeout_s = self.settings.kafka.publish_timeout_s
        if not self._up.is_set():
            try:
                await asyncio.wait_for(self._up.wait(), timeout_s)
            except TimeoutError:
                reasons = "; ".join(self.health.wrong()) or "it was never started"
                raise PublishError(
                    f"{self.name} cannot publish yet, and {timeout_s:g} s have passed: {reasons}. Nothing was sent."
                ) from None
        if self._publisher is None:
            raise PublishError(f"{self.name} has been stopped; nothing was sent")
        return self._publisher

    # ------------------------------------------------------------------ running

    @asynccontextmanager
    async def lifespan(self, web: Any) -> AsyncIterator[None]:
        """The lifespan of an ASGI application: `FastAPI(lifespan=app.lifespan)`.

        The application also gets /health/live, /health/ready and /metrics. It serves at once; whether Kafka and the
        registry are there yet is what /health/ready says.
        """
        taken: list[Any] = web.router.routes if hasattr(web, "router") else []
        pages = routes(self.health, self.metrics)
        # In front: an application mounted at "/" would answer for everything behind it.
        taken[:0] = pages
        try:
            async with self.running():
                yield
        finally:
            for page in pages:
                taken.remove(page)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[App]:
        """Runs the app for the length of the block, then stops it within `listener.drain_timeout_s`."""
        await self._start()
        coming_up = self._coming_up = ComingUp(self._come_up(), self.name, "service")
        self._watch()
        try:
            yield self
        finally:
            await coming_up.cancel()
            await self._close()

    async def _start(self) -> None:
        if self._given is None:
            self.configure(None)  # what was read for a run before this one may be out of date
        settings = self.settings
        registry = client_for(settings.registry)
        serializer = make_serializer(settings, registry)
        self._listeners = named_listeners(self._declared, settings.kafka)
        self._events = named_events(self._known, settings.kafka)
        for event in self.events:
            serializer.schema_text(event.cls)  # A field without a schema is told now, not with the first record.
        for hook in self._starting:
            await _run(hook)
        tracing = tracing_for(self.name, settings)
        # Its first token may take a while, where brokers want one.
        producer = self._producer = await asyncio.to_thread(
            Producer, settings.kafka, client_id=self.name, tracer=tracing
        )

        def open_transactional() -> TransactionalProducer:
            name = f"{self.name}-publish-{new_event_id()}"
            opened = TransactionalProducer(settings.kafka, name, client_id=self.name)
            opened.tracer = tracing
            return opened

        self._topics = ServiceTopics(settings.kafka, self._log)
        self._outputs = Outputs(serializer, self._topics, self.name)
        self._publisher = Publisher(
            outputs=self._outputs,
            producer=producer,
            observer=self.metrics,
            open_transactional=open_transactional,
            log=self._log,
            timeout_s=settings.kafka.publish_timeout_s,
        )
        self._registry = registry
        deserializer = Deserializer(registry)
        self._surroundings = Surroundings(
            service=self.name,
            settings=settings,
            producer=producer,
            outputs=self._outputs,
            deserializer=deserializer,
            topics=self._topics,
            observer=self.metrics,
            conditions=self.health,
            log=self._log,
        )
        self.health.raise_condition("start", "starting")
        if self._listeners:
            try:
                self._runner = make_runner(
                    service=self.name,
                    settings=settings,
                    listeners=self._listeners,
                    events=self._events,
                    deserializer=deserializer,
                    outputs=self._outputs,
                    producer=producer,
                    observer=self.metrics,
                    conditions=self.health,
                    log=self._log,
                    control=self.consumer,
                    companion=companion_for(settings, tracing),
                )
            except ConfigurationError:
                producer.close(0)
                raise
            for listener in self._listeners:
                for topic in listener.topics:
                    self.metrics.expect(topic, listener.name)
                    self.metrics.expect(topic, UNDECODED)

    def _start_watch(self) -> None:
        settings = self.settings
        assert self._producer is not None, "made when the app started"
        self._moves = Watch(
            runner=self._runner,
            producer=self._producer,
            kafka=settings.kafka,
            service=self.name,
            conditions=self.health,
            loop=asyncio.get_running_loop(),
            stuck_after_s=settings.listener.stuck_after_s,
            log=self._log,
        )
        self._moves.start()

    def _watch(self) -> None:
        """Lets health and metrics look at the run there is: once, for an app may run again."""
        if self._watched:
            return
        self._watched = True

        def producer_failure() -> str | None:
            fatal = self._producer and self._producer.fatal
            return f"the producer cannot go on: {fatal}" if fatal else None

        self.health.watch(lambda: self._coming_up.failure if self._coming_up else None)
        self.health.watch(producer_failure)
        self.health.watch(lambda: self._runner.died if self._runner else None)
        if self._listeners:
            self.metrics.watch_lag(lambda: self._moves.lag() if self._moves else {})
        self.health.watch(lambda: self._moves.failure() if self._moves else None)

    async def _come_up(self) -> None:
        """Waits for what the service stands on, saying what it waits for, then begins."""
        listened = {topic for listener in self._listeners for topic in listener.topics}
        topics = listened | {event.topic for event in self._events}
        # A dead letter goes to the partition of the same number.
        graves = {dead_letter_topic(topic): topic for topic in listened}
        self.health.raise_condition("start", f"waiting for the broker at {self.settings.kafka.bootstrap_servers}")
        plan = RetryPlan(self._listeners)
        twins = {name: topic for name, (topic, _) in plan.levels.items()}
        await self._until_done("broker", lambda: self._topics.ensure(topics, companions=graves, twins=twins))
        self.health.raise_condition("start", f"waiting for the schema registry at {self.settings.registry.url}")
        await self._until_done("schema registry", self._registry.ping)
        await self._until_done("broker", lambda: self._find_scheduled(self._topics))
        for part in self._parts:
            await part.start(self._surroundings)
        if self._runner is not None:
            self._runner.start()
        self._start_watch()
        self._up.set()
        self.health.clear_condition("start")

    async def _until_done(self, what: str, attempt: Callable[[], Any]) -> None:
        while True:
            try:
                await asyncio.to_thread(attempt)
            except (BrokerUnavailable, RegistryUnavailable) as error:
                self.health.raise_condition(what, f"waiting for the {what}: {error}")
            except (KafkaError, RegistryRejected) as error:
                self.health.raise_condition(what, str(error))
            else:
                self.health.clear_condition(what)
                return
            await asyncio.sleep(WAIT_S)

    async def _close(self) -> None:
        self._up = asyncio.Event()  # a new one: the next run may be on another event loop, as in tests
        if self._moves is not None:
            await asyncio.to_thread(self._moves.stop)
            self._moves = None
        deadline = time.monotonic() + self.settings.listener.drain_timeout_s
        if self._runner is not None:
            await self._runner.stop()
            self._runner = None
        for part in reversed(self._parts):
            await part.stop()
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None
        if self._producer is not None:
            producer, self._producer, self._outputs = self._producer, None, None
            left = await asyncio.to_thread(producer.close, max(LAST_FLUSH_S, deadline - time.monotonic()))
            if left:
                self._log.error("%d records were not acknowledged before the service stopped", left)
        # The last opened closes first, as in a stack of context managers.
        for hook in reversed(self._stopping):
            await _run(hook)
        self._registry.close()


async def _run(hook: Hook) -> None:
    if inspect.iscoroutinefunction(hook):
        await hook()
    else:
        await asyncio.to_thread(hook)
