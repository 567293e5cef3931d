"""Builds a projection's tables anew from all events, beside those that are read, and swaps them in.

Step by step: a new generation is noted, with its tables -> the topics are read from their beginning into them, with
positions of their own in the same transactions, so a rebuild that was killed goes on where it was -> when little is
left, the projection's row is locked, which holds up those who keep the live tables up to date -> what they have written
and the new tables have not (some events at most) is read and written too -> the tables are renamed, and the positions
of the new generation become the live ones -> commit. Whoever writes events next finds another generation, begins again
from its positions, and has neither lost nor doubled any. Readers see the old tables, then the new ones.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Engine, text
from sqlalchemy.engine import Connection

from ottla.errors import ConfigurationError
from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.kafka.reader import BEGINNING, TopicReader
from ottla.kafka.record import Record
from ottla.patterns.projecting import Failed, Moved, Projecting, is_outage
from ottla.patterns.projection import Projection
from ottla.patterns.projection_letters import Letters
from ottla.patterns.projection_tables import (
    Place,
    Standing,
    advance,
    begin,
    first_standing,
    forget,
    note_building,
    positions,
    prepare,
    standing,
    swap,
)
from ottla.serde.deserializer import Deserializer
from ottla.settings import Settings

LEFT_MAX = 2_000
"""Events that may be left for the swap, while others wait."""

PATIENCE_S = 60.0
AGAIN_S = 0.2
LOCK_S = 5
"""For so long a swap waits for those who read the old tables, while others wait behind it; then it tries again."""

T = TypeVar("T")

log = logging.getLogger("ottla.projections")

Progress = Callable[[int, int], None]


@dataclass
class Rebuilt:
    """What a rebuild did.

    Attributes:
        generation: The one that is live now.
        resumed: Whether it went on from where an earlier one had been stopped.
        events: Events written to the new tables by this run.
        dead_letters: Records that could not be read or handled.
    """

    generation: int
    resumed: bool
    events: int = 0
    dead_letters: int = 0


class Rebuild:
    """One run. Blocking; belongs to one thread.

    Args:
        projection: What is built anew.
        engine: The database.
        settings: Where the brokers are.
        deserializer: Reads events.
        producer: Writes dead letters.
    """

    def __init__(
        self, projection: Projection, engine: Engine, settings: Settings, deserializer: Deserializer, producer: Producer
    ) -> None:
        self._projection = projection
        self._engine = engine
        self._kafka = settings.kafka
        self._deserializer = deserializer
        self._bury = Letters(projection, settings.kafka, producer).bury
        self._admin = Admin(settings.kafka)
        self._form = projection.form(engine.dialect)

    def run(self, progress: Progress, *, restart: bool = False) -> Rebuilt:
        """Builds and swaps.

        Args:
            progress: Told how many records are behind and how many there are.
            restart: Begins from the first event, whatever an earlier run has done.

        Raises:
            ConfigurationError: Another rebuild of it has begun meanwhile.
            BrokerUnavailable, KafkaError, RegistryUnavailable, sqlalchemy.exc.SQLAlchemyError: Something is away; run
                it again, and it goes on where it was.
        """
        prepare(self._engine)
        number, resumed = self._patiently(lambda: self._begin(restart))
        found = Rebuilt(number, resumed)
        tables = self._projection.generation(number)
        projecting = Projecting(
            self._projection, self._engine, self._deserializer, number, tables, self._check(number), self._bury
        )
        try:
            while True:
                while self._pass(projecting, found, progress) > LEFT_MAX:
                    pass
                with suppress(_NotYet):
                    self._patiently(lambda: self._swap(projecting, found))
                    return found
        except Moved as moved:
            raise ConfigurationError(
                f"projection {self._projection.name!r}: {moved}; two rebuilds at once come in each other's way"
            ) from None

    # -- steps -----------------------------------------------------------------------------------------------------

    def _begin(self, restart: bool) -> tuple[int, bool]:
        projection = self._projection
        with self._engine.connect() as connection:
            begin(connection)
            first_standing(connection, projection.name, self._form)
            now = standing(connection, projection.name, lock="exclusive")
            assert now is not None
            if now.building is not None and now.building_form == self._form and not restart:
                return now.building, True
            if now.building is not None:
                projection.generation(now.building).drop(connection)
                forget(connection, projection.name, now.building)
            number = max(now.live, now.building or 0) + 1
            note_building(connection, projection.name, number, self._form)
            tables = projection.generation(number)
            tables.drop(connection)
            tables.create(connection)
            connection.commit()
            return number, False

    def _check(self, number: int) -> Callable[[Connection], None]:
        def check(connection: Connection) -> None:
            now = standing(connection, self._projection.name, lock="shared")
            if now is None or (now.building, now.building_form) != (number, self._form):
                raise Moved("it is being built by somebody else, or has been finished")

        return check

    def _pass(self, projecting: Projecting, found: Rebuilt, progress: Progress) -> int:
        """Reads to where the topics end now; gives how many records that were."""
        counts = self._admin.topics(internal=True)
        places = [(topic, partition) for topic in self._projection.topics for partition in range(counts.get(topic, 0))]
        bounds = self._admin.bounds(places)
        known = self._positions(found.generation)
        total = sum(end - first for first, end in bounds.values())
        done = {place: max(0, known.get(place, 0) - first) for place, (first, _) in bounds.items()}
        progress(sum(done.values()), total)
        read = 0
        for topic in self._projection.topics:
            ends = {
                place[1]: end for place, (_, end) in bounds.items() if place[0] == topic and known.get(place, 0) < end
            }
            for place, records in self._batches(topic, {p: known.get((topic, p)) for p in ends}, ends):
                applied = self._patiently(
                    lambda place=place, records=records: projecting.apply(place, records, known.get(place))  # type: ignore[misc]
                )
                known[place] = records[-1].offset + 1
                found.events += applied.events
                found.dead_letters += applied.buried
                read += len(records)
                done[place] = known[place] - bounds[place][0]
                progress(sum(done.values()), total)
        progress(total, total)
        return read

    def _batches(
        self, topic: str, starts: dict[int, int | None], ends: dict[int, int]
    ) -> Iterator[tuple[Place, list[Record]]]:
        """The records between two sets of offsets, in batches of one partition each."""
        if not ends:
            return
        waiting: dict[int, list[Record]] = {}
        begins = {partition: BEGINNING if start is None else start for partition, start in starts.items()}
        with TopicReader(self._kafka, topic, start=begins) as reader:
            for record in reader.until(ends):
                batch = waiting.setdefault(record.partition, [])
                batch.append(record)
                if len(batch) >= self._projection.batch:
                    del waiting[record.partition]
                    yield (topic, record.partition), batch
        for partition, batch in waiting.items():
            yield (topic, partition), batch

    def _swap(self, projecting: Projecting, found: Rebuilt) -> None:
        projection, number = self._projection, found.generation
        with self._engine.connect() as connection:
            begin(connection)
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_S}s'"))
            now = standing(connection, projection.name, lock="exclusive")
            if now is None or (now.building, now.building_form) != (number, self._form):
                raise Moved("it is being built by somebody else, or has been finished")
            found.events += self._catch_up(connection, projecting, now)
            swap(connection, projection.name, projection.tables, now)
            connection.commit()

    def _catch_up(self, connection: Connection, projecting: Projecting, now: Standing) -> int:
        """Writes what is in the live tables and not in the new ones; nobody adds to it meanwhile."""
        name = self._projection.name
        assert now.building is not None
        live, mine = positions(connection, name, now.live), positions(connection, name, now.building)
        behind = {place: end for place, end in live.items() if mine.get(place, 0) < end}
        if sum(end - mine.get(place, 0) for place, end in behind.items()) > 2 * LEFT_MAX:
            raise _NotYet
        events = 0
        for topic in {topic for topic, _ in behind}:
            ends = {partition: end for (other, partition), end in behind.items() if other == topic}
            for place, records in self._batches(topic, {p: mine.get((topic, p)) for p in ends}, ends):
                try:
                    events += projecting.apply_within(connection, records)
                except Failed:
                    raise _NotYet from None  # a pass finds the record at fault, and goes on without it
                after = records[-1].offset + 1
                if not advance(connection, name, now.building, place, mine.get(place), after):
                    raise Moved("another rebuild moves its positions")
                mine[place] = after
        return events

    def _positions(self, number: int) -> dict[Place, int]:
        with self._engine.connect() as connection:
            return positions(connection, self._projection.name, number)

    def _patiently(self, step: Callable[[], T]) -> T:
        """A database that is busy or away for a moment is waited for."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return step()
            except Exception as error:
                if not is_outage(error) or time.monotonic() > deadline:
                    raise
                log.debug("projection %s: again: %s", self._projection.name, error)
                time.sleep(AGAIN_S)


class _NotYet(Exception):
    """Too much is left for the swap."""


@dataclass
class PartitionStatus:
    """Where one partition stands: the next event of the live tables, that of those being built, and the topic's end."""

    topic: str
    partition: int
    position: int | None
    building: int | None
    end: int

    @property
    def lag(self) -> int:
        return max(0, self.end - (self.position or 0))


def status(projection: Projection, engine: Engine, admin: Admin) -> tuple[Standing | None, str, list[PartitionStatus]]:
    """How a projection stands, whether its tables are the code's, and where each partition is.

    Raises:
        BrokerUnavailable, KafkaError, sqlalchemy.exc.SQLAlchemyError: Something is away.
    """
    prepare(engine)
    with engine.connect() as connection:
        now = standing(connection, projection.name)
        live = positions(connection, projection.name, now.live) if now else {}
        building = positions(connection, projection.name, now.building) if now and now.building else {}
    ends = admin.end_offsets(projection.topics)
    rows = [PartitionStatus(*place, live.get(place), building.get(place), end) for place, end in sorted(ends.items())]
    return now, projection.form(engine.dialect), rows
