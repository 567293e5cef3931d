"""The AggregateApp: runs aggregates as a stream application, tells them commands, and looks at them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Generic, NamedTuple, TypeVar

from ottla.errors import (
    BrokerUnavailable,
    KafkaError,
    PublishError,
    RequestFailed,
    RequestTimeout,
    StateUnavailable,
    VersionConflict,
)
from ottla.events import new_event_id
from ottla.eventsourcing.aggregate import Aggregate
from ottla.eventsourcing.answers import EXPECTED_VERSION, Decided
from ottla.eventsourcing.asking import Asking
from ottla.eventsourcing.cluster import Cluster
from ottla.eventsourcing.history import Happened, read_history
from ottla.eventsourcing.states import Held, States, store_names
from ottla.eventsourcing.topology import add_aggregate
from ottla.kafka.record import Headers
from ottla.observability.samples import Sample, SampleCollector
from ottla.settings import Settings
from ottla.streams.app import WAIT_S, StreamsApp
from ottla.streams.builder import StreamsBuilder
from ottla.streams.errors_policy import ErrorHandlers
from ottla.streams.event_serde import EventSerde
from ottla.streams.partitioning import partition_of
from ottla.streams.topology.topology import Topology

S = TypeVar("S")

UPDATE_ATTEMPTS = 5
AGAIN_S = 0.01


class Current(NamedTuple, Generic[S]):
    """An aggregate as it is now.

    Attributes:
        version: The number of its last event.
        state: What its events have made of it; None where the last one has left nothing.
    """

    version: int
    state: S | None


class AggregateApp(StreamsApp):
    """A stream application that decides the commands of aggregates; any number of processes may run it.

        orders_app = AggregateApp("orders", orders)
        api = FastAPI(lifespan=orders_app.lifespan)

    It is a StreamsApp: `ottla run`, `ottla streams describe`, `ottla state get`, health and metrics are the same.

    Args:
        name: The application's id, as a StreamsApp's.
        aggregates: What it decides for.
        builder: Further steps of the topology (they may read the aggregates' events); None: none.
        settings: None reads them when first needed.
        errors: What to do with commands that cannot be read, and with deciders and appliers that raise what they
            should not; by default they are dead-lettered, and who asked is told.
    """

    def __init__(
        self,
        name: str,
        *aggregates: Aggregate[Any],
        builder: StreamsBuilder | None = None,
        settings: Settings | None = None,
        errors: ErrorHandlers | None = None,
    ) -> None:
        super().__init__(name, _Building(self), settings=settings, errors=errors, exactly_once=True)
        self.aggregates = aggregates
        self._builder = builder or StreamsBuilder()
        self._outcomes: dict[str, Counter[str]] = {one.name: Counter() for one in aggregates}
        self._replays: dict[tuple[str, int], tuple[int, int]] = {}
        self._cluster_made: Cluster | None = None
        self._asking: Asking | None = None
        self._aggregate_log = logging.getLogger(f"ottla.{name}")

    # -- telling ---------------------------------------------------------------------------------------------------

    async def tell(
        self,
        command: Any,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        headers: Headers | None = None,
        timeout_s: float = 10.0,
    ) -> Decided:
        """Tells an aggregate a command and waits until what follows from it is committed.

        Args:
            command: An instance of a class that one of the aggregates decides; its key says which one is told.
            expected_version: Only if the aggregate still has this version (0: no events); None: whatever it has.
            command_id: Told again under the same id, a command has no further effect and gets the same answer. None
                makes a new one.
            correlation_id, causation_id, headers: As App.publish takes them.
            timeout_s: How long to wait, the publishing included.

        Raises:
            Refused: A decider says no.
            VersionConflict: The aggregate has another version.
            RequestFailed: The decider failed, or gave what it may not; the command is in the dead letters.
            RequestTimeout: No answer. The command may have been decided, or may yet be: tell it again under its id.
            PublishError and the others of App.publish: It was not sent.
        """
        identity = command_id or new_event_id()
        given: Headers = list(headers or ())
        if expected_version is not None:
            given.append((EXPECTED_VERSION, b"%d" % expected_version))
        envelope = {"event_id": identity, "correlation_id": correlation_id, "causation_id": causation_id}
        try:
            value: bytes = await self._ready_to_ask().ask(command, timeout_s, given, envelope)
        except RequestTimeout as error:
            error.add_note(f"command_id={identity!r} tells the same command again, and has its effect once")
            raise
        except RequestFailed as error:
            if error.value is None:
                raise
            answer = Decided.read(error.value).error
            if answer is None:
                raise
            raise answer from None
        return Decided.read(value)

    async def update(
        self,
        aggregate: Aggregate[S],
        key: str,
        make: Callable[[Current[S] | None], Any],
        *,
        attempts: int = UPDATE_ATTEMPTS,
        timeout_s: float = 10.0,
    ) -> Decided:
        """Looks at an aggregate, makes a command of what is there, and tells it for that version; where the aggregate
        has changed meanwhile, all of it again.

        Args:
            make: From what is there (None: nothing) to the command. It is called once per attempt.
            attempts: How often at most.
            timeout_s: Of each.

        Raises:
            VersionConflict: It changed each time.
            As `get` and `tell`.
        """
        at_least = 0
        while True:
            there = await self.get(aggregate, key, at_least=at_least, timeout_s=timeout_s)
            try:
                return await self.tell(make(there), expected_version=there.version if there else 0, timeout_s=timeout_s)
            except VersionConflict as conflict:
                attempts -= 1
                if attempts < 1:
                    raise
                at_least = conflict.actual

    # -- looking ---------------------------------------------------------------------------------------------------

    async def get(
        self,
        aggregate: Aggregate[S],
        key: str,
        *,
        at_least: int = 0,
        max_staleness_s: float | None = None,
        timeout_s: float = 5.0,
    ) -> Current[S] | None:
        """An aggregate's committed state, from whichever instance has it; None where it has no events.

        Args:
            at_least: Waits until it has this version: what `tell` gave, to see what one has done.
            max_staleness_s: Lets standby copies answer that are not further behind.

        Raises:
            StateUnavailable: Nobody answers in time, or the version is not there in time.
            HistoryBroken: Its events are not all there.
        """
        held = await asyncio.to_thread(self._held, aggregate, key, at_least, max_staleness_s, timeout_s)
        return Current(held.version, held.state) if held.version else None

    async def history(
        self, aggregate: Aggregate[Any], key: str, *, start: int = 1, limit: int | None = None, timeout_s: float = 5.0
    ) -> list[Happened]:
        """The events of an aggregate, in their order: read from its partition of the event topic, from the time of its
        first event to its last. Empty where it has none.

        Args:
            start: The first version wanted.
            limit: How many at most; None: all. An earlier last version is found sooner.

        Raises:
            StateUnavailable, HistoryBroken: As `get`.
            BrokerUnavailable, KafkaError: The cluster does not answer, or says no.
        """
        return await asyncio.to_thread(self._history, aggregate, key, start, limit, timeout_s)

    def _held(
        self, aggregate: Aggregate[S], key: str, at_least: int, max_staleness_s: float | None, timeout_s: float
    ) -> Held[S]:
        snapshots, _, tail = store_names(aggregate)
        how: dict[str, Any] = {"max_staleness_s": max_staleness_s, "timeout_s": timeout_s}

        def found(store: Any, events: Any = None) -> Held[S]:
            states = States(aggregate, store, events)
            if not states.is_current():
                raise StateUnavailable(f"the states of {aggregate.name} are being made from its events")
            held = states.load(key)
            if held.version < at_least:
                raise StateUnavailable(f"{aggregate.name} {key} has version {held.version}, and not yet {at_least}")
            return held

        states = self.queries.store(snapshots, **how)
        if aggregate.snapshot_every == 1:
            return states.ask(key, found)  # type: ignore[no-any-return]
        # The snapshot is read second: one that is newer than the events beside it needs none of them.
        since = self.queries.store(tail, **how)
        return since.ask(key, lambda events: states.ask(key, lambda store: found(store, events)))  # type: ignore[no-any-return]

    def _history(
        self, aggregate: Aggregate[Any], key: str, start: int, limit: int | None, timeout_s: float
    ) -> list[Happened]:
        held = self._held(aggregate, key, 0, None, timeout_s)
        if not held.version:
            return []
        assert self._codecs is not None
        topic = self.topology.physical(aggregate.event_topic)
        data = key.encode()
        return read_history(
            self._cluster,
            aggregate,
            EventSerde(*aggregate.events).bind(self._codecs),
            topic,
            partition_of(data, self._cluster.partitions(topic)),
            data,
            version=held.version,
            since_ms=held.since_ms,
            start=max(1, start),
            limit=limit,
        )

    # -- running ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[AggregateApp]:
        """Runs the application for the length of the block, then commits and leaves the group."""
        async with super().running():
            try:
                yield self
            finally:
                asking, self._asking = self._asking, None
                if asking is not None:
                    await asking.stop()

    async def _come_up(self) -> None:
        settings = self.settings.kafka
        self.health.raise_condition("start", f"waiting for the broker at {settings.bootstrap_servers}")
        while True:
            try:
                await asyncio.to_thread(self._prepare)
                break
            except (BrokerUnavailable, KafkaError) as error:
                self.health.raise_condition("start", str(error))
            await asyncio.sleep(WAIT_S)
        await super()._come_up()

    def _prepare(self) -> None:
        for aggregate in self.aggregates:
            self._cluster.prepare(aggregate)

    def _ready_to_ask(self) -> Asking:
        if self._asking is None:
            if self._codecs is None:
                raise PublishError(f"{self.name} does not run; nothing was sent")
            self._asking = Asking(
                self.name, self.settings, self._codecs, self.metrics, self.health, self._aggregate_log
            )
        return self._asking

    @property
    def _cluster(self) -> Cluster:
        if self._cluster_made is None:
            self._cluster_made = Cluster(self.settings.kafka, self._replaying)
        return self._cluster_made

    def _built(self) -> Topology:
        for aggregate in self.aggregates:
            add_aggregate(self._builder, aggregate, _LateCluster(self), self._outcomes[aggregate.name])
        return self._builder.build()

    # -- telling how it is -----------------------------------------------------------------------------------------

    def _replaying(self, aggregate: str, partition: int, position: int, end: int) -> None:
        if position >= end:
            self._replays.pop((aggregate, partition), None)
        else:
            self._replays[aggregate, partition] = position, end
        left = sum(end - position for position, end in self._replays.values())
        if not self._replays:
            self.health.clear_condition("replaying")
            return
        places = ", ".join(f"{name} {number}" for name, number in sorted(self._replays))
        self.health.raise_condition(
            "replaying", f"states are being made from the events, {left:,} of them to go: {places}; commands wait"
        )

    def _watch(self) -> None:
        if not self._watched:
            self.metrics.registry.register(SampleCollector(self.name, self._aggregate_samples))
        super()._watch()

    def _aggregate_samples(self) -> Iterator[Sample]:
        for name, outcomes in self._outcomes.items():
            for outcome, count in list(outcomes.items()):
                labels = {"aggregate": name, "outcome": outcome}
                yield Sample("ottla_aggregate_commands", "Commands decided", "counter", count, labels)
        for (name, partition), (position, end) in list(self._replays.items()):
            labels = {"aggregate": name, "partition": str(partition)}
            yield Sample("ottla_aggregate_replay_remaining", "Events to replay", "gauge", end - position, labels)


class _Building:
    """Builds the topology when the settings are known."""

    def __init__(self, app: AggregateApp) -> None:
        self._app = app

    def build(self) -> Topology:
        return self._app._built()


class _LateCluster:
    """The application's cluster, connected when it is first asked: describing a topology needs none."""

    def __init__(self, app: AggregateApp) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app._cluster, name)
