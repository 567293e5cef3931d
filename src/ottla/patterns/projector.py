"""The projector: keeps a projection's tables up to date. Any number of instances may run it.

The group shares the partitions out among the instances. Where each begins is in the database, and each transaction
moves that row from where it is believed to be: an instance that has lost a partition and has not noticed finds the row
moved, and writes nothing. So does one under which a rebuild has swapped the tables.

Whatever goes wrong (the database is away, the row was moved), the instance leaves the group, and comes back when the
database answers. So others who can reach it take over, and nobody's liveness depends on a database.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any, Protocol

from sqlalchemy import Engine
from sqlalchemy.engine import Connection

from ottla.errors import ConfigurationError, OttlaError
from ottla.kafka.positioned import PositionedReader
from ottla.kafka.record import Record
from ottla.listeners.deadletter import dead_letter_topic
from ottla.listeners.hooks import Conditions
from ottla.patterns.database import Worker
from ottla.patterns.part import Surroundings
from ottla.patterns.projecting import Moved, Projecting
from ottla.patterns.projection import Projection
from ottla.patterns.projection_letters import Letters
from ottla.patterns.projection_tables import (
    Place,
    Standing,
    begin,
    first_standing,
    positions,
    prepare,
    standing,
)

POLL_S = 0.2
AGAIN_S = 1.0
STOP_S = 10.0


class ProjectionWatcher(Protocol):
    """Told how a projection is. Called on the projector's thread."""

    def at(self, projection: str, topic: str, partition: int, position: int, lag: int) -> None:
        """A partition's next event, and how many there are behind it."""

    def applied(self, projection: str, events: int, buried: int) -> None:
        """So many events were written to the tables, so many became dead letters."""


class Projector:
    """Runs one projection, on a thread of its own.

    Args:
        projection: Which.
        watcher: Told how it is.
    """

    def __init__(self, projection: Projection, watcher: ProjectionWatcher) -> None:
        self._projection = projection
        self._watcher = watcher
        self._worker = Worker(projection.database)
        self._condition = f"projection {projection.name}"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    async def start(self, app: Surroundings) -> None:
        self._app = app
        self._conditions: Conditions = app.conditions
        self._log: logging.Logger = app.log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self._condition, daemon=True)
        self._conditions.raise_condition(self._condition, f"{self._condition} is starting")
        self._thread.start()

    async def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, STOP_S)
            self._thread = None
            self._conditions.clear_condition(self._condition)
        self._worker.close()

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                engine = self._worker.engine
                now = self._prepared(engine)
                self._project(engine, now)
            except Moved as moved:
                self._log.info("%s begins again: %s", self._condition, moved)
            except Exception as error:
                self._failed(error)
                self._stop.wait(AGAIN_S)

    def _failed(self, error: Exception) -> None:
        expected = isinstance(error, OttlaError) or type(error).__module__.startswith("sqlalchemy")
        self._log.warning("%s waits: %s", self._condition, error, exc_info=None if expected else error)
        self._conditions.raise_condition(self._condition, f"{self._condition} is not kept up to date: {error}")

    def _prepared(self, engine: Engine) -> Standing:
        """Tables and topics are there, and are what the code says.

        Raises:
            ConfigurationError: The tables have another form.
        """
        projection = self._projection
        self._app.topics.ensure(
            projection.topics, companions={dead_letter_topic(topic): topic for topic in projection.topics}
        )
        prepare(engine)
        form = projection.form(engine.dialect)
        with engine.connect() as connection:
            begin(connection)
            now = first_standing(connection, projection.name, form)
            if now.form == form:
                projection.generation(None).create(connection)
            connection.commit()
        if now.form != form:
            raise ConfigurationError(
                f"the tables of projection {projection.name!r} are not what the code says (columns, indexes): build "
                "them anew with `ottla projection rebuild MODULE:NAME`; until then nothing is written to them"
            )
        return now

    def _project(self, engine: Engine, now: Standing) -> None:
        """Until the stop, or until something goes wrong."""
        projection, app = self._projection, self._app
        form = now.form
        bury = Letters(projection, app.settings.kafka, app.producer).bury

        def check(connection: Connection) -> None:
            found = standing(connection, projection.name, lock="shared")
            if found is None or (found.live, found.form) != (now.live, form):
                raise Moved("its tables have been rebuilt")

        projecting = Projecting(
            projection, engine, app.deserializer, now.live, projection.generation(None), check, bury
        )
        known: dict[Place, int] = {}

        def where(places: list[Place]) -> dict[Place, int]:
            with engine.connect() as connection:
                found = positions(connection, projection.name, now.live)
            for place in places:
                known.pop(place, None)
                if place in found:
                    known[place] = found[place]
            return {place: found[place] for place in places if place in found}

        settings = app.settings
        reader = PositionedReader(
            settings.kafka, settings.listener, projection.topics, projection.group, where, self._client_error
        )
        try:
            while not self._stop.is_set():
                for place, records in reader.poll(POLL_S).items():
                    for start in range(0, len(records), projection.batch):
                        if place in reader.owned and not self._stop.is_set():
                            self._apply(projecting, reader, known, place, records[start : start + projection.batch])
                if reader.is_member:
                    self._conditions.clear_condition(self._condition)
                for place in reader.owned:
                    position = known.get(place, 0)
                    self._watcher.at(projection.name, *place, position, reader.lag(place, position))
        finally:
            reader.close()

    def _apply(
        self,
        projecting: Projecting,
        reader: PositionedReader,
        known: dict[Place, int],
        place: Place,
        records: list[Record],
    ) -> None:
        applied = projecting.apply(place, records, known.get(place))
        known[place] = records[-1].offset + 1
        reader.moved(place, known[place])
        self._watcher.applied(self._projection.name, applied.events, applied.buried)

    def _client_error(self, error: Any) -> None:
        if error.name() == "_ALL_BROKERS_DOWN":
            self._conditions.raise_condition(self._condition, f"{self._condition}: no broker answers")
