"""One process of a stream application: the stream thread, the restoring thread, and what they share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ottla.errors import OttlaError
from ottla.kafka.admin import Admin
from ottla.kafka.reach import Reach
from ottla.kafka.stream_clients import fetching_consumer, looking_consumer, member_consumer, restoring_consumer
from ottla.kafka.stream_producer import AtLeastOnceProducer, ExactlyOnceProducer, StreamProducer
from ottla.settings import Settings
from ottla.streams.context import Clock
from ottla.streams.errors_policy import ErrorHandlers
from ottla.streams.runtime.active_task import ActiveTask, State
from ottla.streams.runtime.collector import Collector
from ottla.streams.runtime.directory import StateDirectory
from ottla.streams.runtime.global_stores import GlobalStores
from ottla.streams.runtime.group_view import GroupView, Member
from ottla.streams.runtime.plan import Plan
from ottla.streams.runtime.purge import Purge
from ottla.streams.runtime.restoration import Progress, Restorer
from ottla.streams.runtime.standbys import wanted_standbys
from ottla.streams.runtime.stores import TaskStores
from ottla.streams.runtime.thread import Observer, StreamThread
from ottla.streams.serdes import Codecs
from ottla.streams.stores.base import BytesStore
from ottla.streams.task import Task, TaskId
from ottla.streams.topology.stores import StoreSpec

CLEAN_S = 60.0
STANDBYS_S = 2.0
LOOK_S = 1.0


class WallClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return int(time.time() * 1000)


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """One task of this instance, for health pages and metrics.

    Attributes:
        state: `running`, `restoring`, ...
        lag: Records between what is processed and the end of its partitions, as last seen; None: not known.
    """

    task: str
    state: str
    processed: int
    dropped: dict[tuple[str, str], int]
    stream_time_ms: int
    lag: int | None


class Instance:
    """Everything that runs in one process.

    Args:
        plan: The application's tasks.
        settings: All settings.
        codecs: What events are written and read with.
        handlers: What to do with failures.
        observer: Told of what happens.
        address: `host:port` of this process's HTTP, for the others; None: it serves none.
        clock: The wall clock of punctuations.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        *,
        codecs: Codecs | None,
        handlers: ErrorHandlers,
        observer: Observer,
        address: str | None,
        clock: Clock | None = None,
    ) -> None:
        self.plan = plan
        self._settings = settings
        self._codecs, self._handlers = codecs, handlers
        self._clock: Clock = clock or WallClock()
        self._log = logging.getLogger("ottla.streams")
        application_id = plan.topology.application_id
        streams = settings.streams
        self.directory = StateDirectory(streams.state_dir, application_id)
        self.admin = Admin(settings.kafka)
        client_id = application_id
        self._address = address
        self._restored_records = 0

        def open_producer() -> StreamProducer:
            if streams.guarantee == "exactly_once":
                transactional_id = f"{application_id}-{self.directory.instance_id}"
                return ExactlyOnceProducer(settings.kafka, streams, transactional_id, client_id)
            return AtLeastOnceProducer(settings.kafka, client_id)

        def client_error(error: Any) -> None:
            if error.name() == "_ALL_BROKERS_DOWN":
                observer.raise_condition("broker", f"no broker answers at {settings.kafka.bootstrap_servers}")
                self._broker_away = True
            self._log.debug("client: %s", error)

        self._broker_away = False
        self.lost = False
        """Whether it has ended because a client of it will never reach a broker again: a new instance would."""
        self._reaches: dict[str, Reach] = {}
        self._observer = observer
        self.restorer = Restorer(
            lambda: restoring_consumer(
                settings.kafka, group=application_id, client_id=client_id, on_error=client_error
            ),
            lambda: looking_consumer(settings.kafka, group=application_id, client_id=client_id, on_error=client_error),
            on_restored=self._restored,
        )
        self.stores = TaskStores(plan, self.directory, self.restorer, streams.rocksdb_cache_bytes)
        self.globals = GlobalStores(plan, settings, codecs, handlers, self._clock)
        self.collector = Collector(
            open_producer,
            self._partitions,
            handlers,
            settings.kafka.named,
            application_id=application_id,
            make_topic=self._make_topic,
        )
        self.group = GroupView(settings.kafka, application_id, self._myself)
        self.thread = StreamThread(
            plan=plan,
            settings=streams,
            stores=self.stores,
            restorer=self.restorer,
            collector=self.collector,
            open_member=lambda: member_consumer(
                settings.kafka,
                streams,
                group=application_id,
                client_id=client_id,
                instance_id=self.directory.instance_id,
                on_error=client_error,
            ),
            open_fetcher=lambda: fetching_consumer(
                settings.kafka, group=application_id, client_id=client_id, on_error=client_error
            ),
            make_task=self._make_task,
            observer=observer,
            tend=self._tend,
        )
        self._next_clean = time.monotonic() + CLEAN_S
        self._next_standbys = self._next_look = 0.0
        self.purge = Purge(settings.kafka, plan)
        self._known_partitions = dict(plan.partitions)

    def start(self) -> None:
        """Begins. Global stores are filled first, since every task may read them."""
        self.globals.start()
        self.restorer.start()
        if self._address is not None or self.copies:
            self.group.start()
        self.thread.start()
        self.purge.start(lambda: [task for task in self.thread.tasks.copy().values() if task.state is State.RUNNING])

    def stop(self, timeout_s: float) -> bool:
        """Commits, leaves the group, lets go of everything; False if that was not over in time."""
        deadline = time.monotonic() + timeout_s
        self.thread.stop()
        ended = self.thread.join(timeout_s)
        if ended:
            self.stores.close()
        self.purge.stop()
        self.group.stop()
        self.restorer.stop()
        self.globals.stop(max(1.0, deadline - time.monotonic()))
        if ended:
            self.directory.close()
        return ended

    @property
    def died(self) -> str | None:
        """Why it cannot go on, if it cannot."""
        return self.thread.died or self.restorer.died or self.globals.died

    @property
    def restored_records(self) -> int:
        """Changelog records read by restorations so far."""
        return self._restored_records

    def status(self) -> list[TaskStatus]:
        """The tasks here, as they are now. From any thread."""
        found = []
        for task in list(self.thread.tasks.values()):
            running = task.task
            counters = running.counters if running is not None else None
            found.append(
                TaskStatus(
                    task=task.name,
                    state=task.state.name.lower(),
                    processed=counters.processed if counters else 0,
                    dropped=dict(counters.dropped) if counters else {},
                    stream_time_ms=running.stream_time_ms if running is not None else -1,
                    lag=self._lag(task) if task.state is State.RUNNING else None,
                )
            )
        return sorted(found, key=lambda one: one.task)

    def progress(self) -> list[Progress]:
        """The changelogs that are being read now. From any thread."""
        return self.restorer.progress()

    def behind_s(self, task: TaskId) -> float | None:
        """How long ago a standby copy had everything; None: it never had, or is no copy."""
        ages = [one.behind_s for one in self.restorer.progress() if one.task == str(task) and one.caught_up]
        wanted = sum(1 for spec in self.plan.stores(task) if spec.changelog is not None)
        if len(ages) < wanted or any(age is None for age in ages):
            return None
        return max((age for age in ages if age is not None), default=0.0)

    @property
    def copies(self) -> int:
        """How many standby copies of each store there are to be."""
        return self._settings.streams.num_standby_replicas

    def _myself(self) -> Member | None:
        member_id = self.thread.member_id
        if member_id is None:
            return None
        return Member(self.directory.instance_id, member_id, self._address, tuple(sorted(self.thread.tasks.copy())))

    def _lag(self, task: ActiveTask) -> int | None:
        behind, ends = 0, self.thread.ends
        for place, queue in task.queues.by_place.items():
            if place not in ends:
                return None
            # The last thing at an end may be a transaction's mark, which is no record.
            if len(queue) or not queue.at_end:
                behind += max(0, ends[place] - task.positions.get(place, 0))
        return behind

    def _make_task(self, task_id: TaskId, open_store: Callable[[StoreSpec], BytesStore]) -> Task:
        return Task(
            self.plan.topology,
            task_id,
            lambda spec: self.globals.store(spec) if spec.is_global else open_store(spec),
            self.collector,
            self._clock,
            codecs=self._codecs,
            handlers=self._handlers,
        )

    def _partitions(self, topic: str) -> int:
        known = self._known_partitions.get(topic)
        if known is None:
            self._known_partitions |= self.admin.topics(internal=True)
            known = self._known_partitions.get(topic, self._settings.kafka.topic_partitions)
        return known

    def _make_topic(self, topic: str) -> None:
        kafka = self._settings.kafka
        if kafka.create_topics and topic not in self._known_partitions:
            self.admin.ensure_topics({topic: kafka.topic_partitions})

    def _restored(self, task: str, records: int, seconds: float) -> None:
        self._restored_records += records
        if records:
            self._log.info("task %s: restored %d records in %.2f s", task, records, seconds)

    def _look_for_broker(self) -> None:
        """The client library tells when the last one goes, not when one comes back."""
        clients = self.thread.clients()
        for doing, client in clients.items():
            if self._reaches.setdefault(doing, Reach(self._settings.kafka)).is_lost(client):
                self.lost = True
                raise OttlaError(f"the client that {doing} has lost the brokers, which answer others")
        if all(self._reaches[doing].has_brokers for doing in clients):
            self._broker_away = False
            self._observer.clear_condition("broker")

    def _tend(self) -> None:
        """On the stream thread, between batches."""
        now = time.monotonic()
        if self._broker_away and now >= self._next_look:
            self._next_look = now + LOOK_S
            self._look_for_broker()
        if now >= self._next_clean:
            self._next_clean = now + CLEAN_S
            for task in self.directory.clean(self._settings.streams.cleanup_delay_s):
                self._log.info("deleted the state of task %s, which has moved elsewhere", task)
        copies = self._settings.streams.num_standby_replicas
        if copies and now >= self._next_standbys:
            self._next_standbys = now + STANDBYS_S
            members = self.group.members()
            self.stores.keep_warm(wanted_standbys(self.plan, members, self.directory.instance_id, copies))
