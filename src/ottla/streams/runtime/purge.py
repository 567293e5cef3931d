"""Deletes what has been processed of repartition topics: nothing else ever would, since their retention is for ever."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ottla.errors import KafkaError
from ottla.kafka.admin import Admin
from ottla.settings import KafkaSettings
from ottla.streams.runtime.active_task import ActiveTask
from ottla.streams.runtime.plan import Place, Plan

PURGE_S = 30.0
"""Kafka Streams' `repartition.purge.interval.ms`."""


class Purge:
    """Asks the brokers now and then, on a thread of its own, to delete the records before what is committed."""

    def __init__(self, settings: KafkaSettings, plan: Plan) -> None:
        self._settings = settings
        self._log = logging.getLogger("ottla.streams")
        self._topics = {
            plan.topology.physical(topic.name)
            for topic in plan.topology.internal_topics.values()
            if topic.kind == "repartition"
        }
        self._done: dict[Place, int] = {}
        self._stop = threading.Event()
        self._tasks: Callable[[], list[ActiveTask]] = list
        self._thread = threading.Thread(target=self._run, name="ottla-streams-purge", daemon=True)

    def start(self, tasks: Callable[[], list[ActiveTask]]) -> None:
        """Begins; `tasks` gives those that run here. Called on the thread."""
        if self._topics:
            self._tasks = tasks
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(10)

    def once(self, admin: Admin, tasks: list[ActiveTask]) -> None:
        """Deletes what is committed of the tasks' repartition topics. Raises BrokerUnavailable or KafkaError."""
        before = {
            place: offset
            for task in tasks
            for place, offset in task.committed.copy().items()
            if place[0] in self._topics and offset > self._done.get(place, 0)
        }
        if before:
            admin.delete_records(before)
            self._done.update(before)

    def _run(self) -> None:
        admin: Admin | None = None
        while not self._stop.wait(PURGE_S):
            try:
                admin = admin or Admin(self._settings)
                self.once(admin, self._tasks())
            except KafkaError as error:
                self._log.debug("repartition topics are not purged now: %s", error)
