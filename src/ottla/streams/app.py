"""The StreamsApp: one stream application, put together from the rooms below it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any, Literal, Protocol

from msgspec.structs import replace

from ottla.errors import BrokerUnavailable, ConfigurationError, KafkaError, RegistryError
from ottla.kafka.admin import Admin
from ottla.observability.coming_up import ComingUp
from ottla.observability.health import Health
from ottla.observability.metrics import Metrics
from ottla.observability.routes import routes
from ottla.observability.samples import Sample, SampleCollector
from ottla.registry.client import client_for
from ottla.serde.deserializer import Deserializer
from ottla.serde.serializer import Serializer
from ottla.settings import Settings, load_settings
from ottla.streams.errors_policy import ErrorHandlers
from ottla.streams.runtime.instance import Instance
from ottla.streams.runtime.internal_topics import prepare
from ottla.streams.runtime.plan import Plan
from ottla.streams.runtime.progress import ProgressDisplay
from ottla.streams.runtime.queries import Queries
from ottla.streams.runtime.query_pages import query_routes
from ottla.streams.runtime.samples import Counts, samples
from ottla.streams.serdes import Codecs
from ottla.streams.topology.topology import Topology

WAIT_S = 1.0
LEAVE_S = 10.0
"""What a stop gives the leaving of the group, beyond the drain timeout."""


class Builds(Protocol):
    """Builds a topology: `StreamsBuilder`, and whatever else has `build()`."""

    def build(self) -> Topology:
        """The topology."""
        ...


class StreamsApp:
    """A stream application: a topology, run by as many processes as one likes.

    Nothing happens until it is started, by `async with app.running()`, as the `lifespan` of a web application, or by
    `ottla run`. Then it waits for Kafka, compares the topology with the one it ran with before, creates the topics it
    needs, and joins the group that bears its name.

    Args:
        name: The application's id: the group, and the beginning of the names of its internal topics.
        topology: What it does.
        settings: None reads them (arguments > environment > .env > ottla.toml > defaults) when first needed.
        errors: What to do with records that cannot be read, processed or written.
        exactly_once: Whether results must be right whatever crashes, at the price of transactions; None leaves it to
            the setting `streams.guarantee`.

    Attributes:
        address: `host:port` of this process's HTTP port, where it has one; set by `ottla run`. `streams.advertised`
            wins over it.
    """

    def __init__(
        self,
        name: str,
        topology: Topology | Builds,
        *,
        settings: Settings | None = None,
        errors: ErrorHandlers | None = None,
        exactly_once: bool | None = None,
    ) -> None:
        if not name or any(character.isspace() or character in "/,:@" for character in name):
            raise ConfigurationError(
                f"StreamsApp({name!r}): the name is a group and the start of topics' names; use letters, digits, - _ ."
            )
        self.name = name
        self.address: str | None = None
        self._given = settings
        self._exactly_once = exactly_once
        self._topology = topology
        self._errors = errors or ErrorHandlers()
        self._log = logging.getLogger(f"ottla.{name}")
        self._instance: Instance | None = None
        self._counts = Counts()
        self._coming_up: ComingUp | None = None
        self._watched = False
        self._registry: Any = None
        self._codecs: Codecs | None = None

    @cached_property
    def settings(self) -> Settings:
        """The settings in force. Raises ConfigurationError with every fault at once."""
        found = self._given or load_settings()
        if self._exactly_once is None:
            return found
        guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once" if self._exactly_once else "at_least_once"
        return replace(found, streams=replace(found.streams, guarantee=guarantee))

    @cached_property
    def topology(self) -> Topology:
        """The topology, under the application's name. Raises TopologyError if it cannot be built."""
        topology = self._topology if isinstance(self._topology, Topology) else self._topology.build()
        kafka = self.settings.kafka
        return topology.named(kafka.named(self.name), prefix=kafka.prefix)

    @cached_property
    def health(self) -> Health:
        """What is wrong with the application now, if anything."""
        return Health(self.name)

    @cached_property
    def metrics(self) -> Metrics:
        """The application's Prometheus metrics."""
        return Metrics(self.name)

    @property
    def instance(self) -> Instance | None:
        """What runs in this process; None before it has come up."""
        return self._instance

    @cached_property
    def queries(self) -> Queries:
        """Asks the stores, here and on other instances."""
        return Queries(
            self.topology, lambda: self._instance, lambda: self._codecs, token=self.settings.streams.query_token
        )

    # ------------------------------------------------------------------ running

    @asynccontextmanager
    async def lifespan(self, web: Any) -> AsyncIterator[None]:
        """The lifespan of an ASGI application: `FastAPI(lifespan=app.lifespan)`.

        The application also gets /health/live, /health/ready, /metrics, and /state/... for queries.
        """
        taken: list[Any] = web.router.routes if hasattr(web, "router") else []
        pages = [
            *routes(self.health, self.metrics),
            *query_routes(lambda: self.queries, lambda: self.settings.streams.query_token),
        ]
        taken[:0] = pages
        try:
            async with self.running():
                yield
        finally:
            for page in pages:
                taken.remove(page)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[StreamsApp]:
        """Runs the application for the length of the block, then commits and leaves the group."""
        self.topology  # noqa: B018  what is wrong with it is told now
        registry = self._registry = client_for(self.settings.registry)
        serializer = Serializer(
            registry,
            auto_register=self.settings.registry.auto_register,
            format=self.settings.serde.format,
            strategy=self.settings.serde.subject_strategy,
        )
        self._codecs = Codecs(serializer, Deserializer(registry))
        self.health.raise_condition("start", "starting")
        coming_up = self._coming_up = ComingUp(self._come_up(), self.name, "application")
        self._watch()
        try:
            yield self
        finally:
            await coming_up.cancel()
            await self._close()

    async def _come_up(self) -> None:
        settings = self.settings
        self.health.raise_condition("start", f"waiting for the broker at {settings.kafka.bootstrap_servers}")
        while True:
            try:
                plan = await asyncio.to_thread(
                    prepare, self.topology, settings.kafka, Admin(settings.kafka), self._errors
                )
                break
            except (BrokerUnavailable, RegistryError) as error:
                self.health.raise_condition("start", str(error))
            except KafkaError as error:
                # A topic that is just being created elsewhere, a coordinator that is just being elected.
                self.health.raise_condition("start", str(error))
            await asyncio.sleep(WAIT_S)
        while True:
            instance = await self._begin(plan)
            while not instance.lost:  # noqa: ASYNC110  other threads say so
                await asyncio.sleep(WAIT_S)
            await self._end(instance)

    async def _begin(self, plan: Plan) -> Instance:
        settings = self.settings
        address = settings.streams.advertised or self.address
        instance = await asyncio.to_thread(
            Instance,
            plan,
            settings,
            codecs=self._codecs,
            handlers=self._errors,
            observer=_Told(self.health, self._counts),
            address=address,
        )
        self._instance = instance
        self.health.raise_condition("group", "waiting to be assigned tasks")
        await asyncio.to_thread(instance.start)
        self.health.clear_condition("start")
        ProgressDisplay(instance).start()
        return instance

    async def _end(self, instance: Instance) -> None:
        """Makes room for another instance. What it had not committed comes again; its stores stay on disk."""
        self._log.warning("%s: a new instance takes its place", instance.died)
        self.health.raise_condition("start", "beginning anew with new clients")
        stopping = asyncio.ensure_future(asyncio.to_thread(instance.stop, self.settings.streams.drain_timeout_s))
        try:
            await asyncio.shield(stopping)
        finally:
            await asyncio.wait([stopping])
            self._instance = None
            for told in ("streams", "broker", "transaction", "restoring"):
                self.health.clear_condition(told)

    async def _close(self) -> None:
        instance, self._instance = self._instance, None
        if instance is not None:
            limit = self.settings.streams.drain_timeout_s + LEAVE_S
            if not await asyncio.to_thread(instance.stop, limit):
                self._log.error(
                    "the stream thread did not end within %g s; what it had not committed comes again", limit
                )
        self.queries.close()
        if self._registry is not None:
            self._registry.close()

    def _watch(self) -> None:
        """Lets health and metrics look at the run there is: once, for an application may run again."""
        if self._watched:
            return
        self._watched = True
        self.health.watch(lambda: self._coming_up.failure if self._coming_up else None)
        self.health.watch(lambda: self._instance.died if self._instance else None)
        self.metrics.registry.register(SampleCollector(self.name, self._samples))

    def _samples(self) -> Iterable[Sample]:
        return samples(self._instance, self._counts) if self._instance is not None else ()


class _Told:
    """What the stream thread tells, for health and metrics."""

    def __init__(self, health: Health, counts: Counts) -> None:
        self._health = health
        self._counts = counts

    def committed(self, seconds: float) -> None:
        self._counts.commits += 1
        self._counts.commit_seconds += seconds

    def rolled_back(self) -> None:
        self._counts.rollbacks += 1

    def raise_condition(self, name: str, reason: str) -> None:
        self._health.raise_condition(name, reason)

    def clear_condition(self, name: str) -> None:
        self._health.clear_condition(name)
