"""Global stores: on every instance, filled from all partitions of their topics, on a thread of their own."""

from __future__ import annotations

import logging
import threading
from typing import Any

from ottla.kafka.admin import Admin
from ottla.kafka.stream_clients import OFFSET_BEGINNING, PARTITION_EOF, TopicPartition, restoring_consumer
from ottla.settings import Settings
from ottla.streams.context import Clock
from ottla.streams.errors_policy import ErrorHandlers
from ottla.streams.records import RawBatch
from ottla.streams.runtime.plan import Place, Plan
from ottla.streams.runtime.queues import PartitionQueue
from ottla.streams.serdes import Codecs
from ottla.streams.stores.base import BytesStore
from ottla.streams.stores.memory import MemoryStore
from ottla.streams.task import Task, TaskId
from ottla.streams.topology.stores import StoreSpec

BATCH = 5_000


class GlobalStores:
    """Reads global topics from their beginning into memory, and follows them. `store` may be used from any thread.

    They are filled before the first task runs: `start` returns when everything that was in the topics is in the
    stores.
    """

    def __init__(
        self, plan: Plan, settings: Settings, codecs: Codecs | None, handlers: ErrorHandlers, clock: Clock
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._codecs, self._handlers, self._clock = codecs, handlers, clock
        self._log = logging.getLogger("ottla.streams")
        self._stores: dict[str, BytesStore] = {
            spec.name: MemoryStore() for spec in plan.topology.stores.values() if spec.is_global
        }
        self._tasks: dict[str, Task] = {}
        self._filled = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ottla-streams-global", daemon=True)
        self.died: str | None = None

    def store(self, spec: StoreSpec) -> BytesStore:
        """The one store of that name."""
        return self._stores[spec.name]

    def start(self) -> None:
        """Fills the stores, and goes on on a thread. Blocks until they are filled."""
        if not self._stores:
            return
        self._thread.start()
        while not self._filled.wait(0.1) and self._thread.is_alive() and not self._stop.is_set():
            pass

    def stop(self, timeout_s: float) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        consumer: Any = None
        try:
            topology = self._plan.topology
            for sub in topology.subtopologies:
                if sub.is_global:
                    task = Task(
                        topology, TaskId(sub.index, 0), self.store, _NoSink(), self._clock,
                        codecs=self._codecs, handlers=self._handlers,
                    )  # fmt: skip
                    self._tasks |= dict.fromkeys(map(topology.physical, sub.source_topics), task)
            counts = Admin(self._settings.kafka).topics(internal=True)
            places = {(topic, partition) for topic in self._tasks for partition in range(counts[topic])}
            application_id = topology.application_id
            consumer = restoring_consumer(
                self._settings.kafka, group=application_id, client_id=application_id, on_error=lambda _error: None
            )
            consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
            while not self._stop.is_set():
                places -= self._read(consumer)
                if not places:
                    self._filled.set()
        except Exception as error:
            self.died = f"the thread of the global stores ended: {type(error).__name__}: {error}"
            self._log.critical("%s", self.died, exc_info=error)
        finally:
            if consumer is not None:
                consumer.close()

    def _read(self, consumer: Any) -> set[Place]:
        first = consumer.poll(0.1)
        ended: set[Place] = set()
        if first is None:
            return ended
        runs: dict[Place, list[Any]] = {}
        for message in (first, *consumer.consume(BATCH, 0)):
            place = message.topic(), message.partition()
            error = message.error()
            if error is None:
                runs.setdefault(place, []).append(message)
            elif error.code() == PARTITION_EOF:
                ended.add(place)
        for place, messages in runs.items():
            queue = PartitionQueue(place)
            queue.add(messages)
            batch: RawBatch = queue.take(len(messages), None)
            self._tasks[place[0]].process(batch)
        for task in set(self._tasks.values()):
            task.flush()
        return ended


class _NoSink:
    """What only fills a store writes nothing."""

    def send(self, topic: str, *_: Any, **__: Any) -> None:
        raise TypeError(f"a global store's operators cannot write to {topic}")

    def send_many(self, topic: str, *_: Any, **__: Any) -> None:
        self.send(topic)

    def partitions(self, topic: str) -> int:
        raise TypeError(f"a global store's operators cannot write to {topic}")
