"""The relay: publishes what is in the outbox. Any number of them may run, in services or by themselves.

One pass: claim lanes that have something to publish and that nobody has (a lease in the database, `outbox_tables.py`);
read their rows in order; hand them to the producer in that order; wait for the acknowledgements, renewing the lease
meanwhile; delete what was acknowledged and give the lanes back.

Why the order of a key holds, whatever crashes: a relay always publishes a lane's rows from the first that is not
deleted, and a row is deleted only when it has been acknowledged. If a lease runs out under a relay that is only slow,
another publishes the same rows from the first one on, so whichever copy of a row comes first comes after the first
copy of every row before it. Leases keep the copies few; the order does not depend on them, nor on anybody's clock.

What a broker refuses for what it is (too large) is put off, tried again, and said: it holds up no other rows, and later
rows of its key overtake it. Any other refusal (a topic that may not be written) says nothing of the row: its lane is
tried again from there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any, Protocol

from ottla.errors import KafkaError, PublishError
from ottla.kafka.producer import Producer
from ottla.kafka.topics import ServiceTopics
from ottla.listeners.hooks import Conditions, Observer
from ottla.patterns.database import Database, Worker
from ottla.patterns.notices import Notices
from ottla.patterns.outbox import Outbox
from ottla.patterns.outbox_tables import Row, row_of
from ottla.patterns.part import Surroundings

BATCH = 500
"""Rows of one pass."""

LANES_AT_ONCE = 32
"""Half of them: what one relay leaves, another takes."""

ACK_SLICE_S = 0.05
AGAIN_S = 1.0
LOOK_S = 5.0
"""Between two looks at how much is waiting."""

UNFIT = frozenset({"INVALID_RECORD", "INVALID_TIMESTAMP", "MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"})
"""Refusals (Kafka's names) that are the record's own fault."""

UNFIT_AGAIN_S = 30.0
"""What is refused for such a reason is put off for so long."""

STOP_S = 5.0
"""What a stop gives the acknowledgements that are still to come."""


class OutboxWatcher(Protocol):
    """Told how an outbox is. Called on the relay's thread."""

    def waiting(self, outbox: str, count: int, age_s: float) -> None:
        """So many events are due, and the oldest has been for so long."""

    def relayed(self, outbox: str, count: int) -> None:
        """So many were acknowledged and deleted."""


class Relay:
    """Publishes one outbox's events, on a thread of its own.

    Args:
        outbox: The outbox.
        database: Where it is.
        watcher: Told of its size and age.
        poll_s: Between two looks at the table where no notice comes (SQLite; PostgreSQL tells).
        lease_s: For so long a relay that died keeps its lanes.
        late_s: From this age of the oldest event on, the service is not ready.
    """

    def __init__(
        self,
        outbox: Outbox,
        database: Database,
        watcher: OutboxWatcher,
        *,
        poll_s: float = 0.5,
        lease_s: float = 10.0,
        late_s: float = 60.0,
    ) -> None:
        self._outbox = outbox
        self._tables = outbox.tables
        self._worker = Worker(database)
        self._watcher = watcher
        self._poll_s = poll_s
        self._lease_ms = int(lease_s * 1000)
        self._late_s = late_s
        self._name = self._tables.name
        self._condition = f"outbox {self._name}"
        self._owner = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._known_topics: set[str] = set()
        self._next_look = 0.0
        self._complaint = False
        # The last event that did not fit, and until when it counts as still being there.
        self._unfit = ("", 0.0)

    async def start(self, app: Surroundings) -> None:
        self._producer: Producer = app.producer
        self._topics: ServiceTopics = app.topics
        self._observer: Observer = app.observer
        self._conditions: Conditions = app.conditions
        self._log: logging.Logger = app.log
        self._owner = f"{app.service[:20]}-{uuid.uuid4()}"[:64]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"ottla-{self._name}", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 2 * STOP_S)
            self._thread = None
            self._conditions.clear_condition(self._condition)
        self._worker.close()

    def _run(self) -> None:
        notices = Notices(self._worker, self._name)
        while not self._stop.is_set():
            try:
                notices.listen()
                moved = self._pass()
                self._look()
                if not moved:
                    notices.wait(self._until_next(), self._stop)
            except Exception as error:
                self._failed(error)
                notices.close()
                self._stop.wait(AGAIN_S)
        notices.close()
        self._give_back()

    def _failed(self, error: Exception) -> None:
        expected = isinstance(error, KafkaError) or type(error).__module__.startswith("sqlalchemy")
        self._log.warning("the outbox %s waits: %s", self._name, error, exc_info=None if expected else error)
        self._complain(f"the outbox {self._name} is not being published: {error}")

    def _pass(self) -> int:
        """Publishes up to BATCH events. Returns how many."""
        engine = self._worker.engine
        dialect = engine.dialect.name
        with engine.connect() as connection:
            if not connection.execute(self._tables.any_due(dialect)).scalar():
                return 0
        with engine.begin() as connection:
            claim = self._tables.claim(dialect, self._owner, self._lease_ms, LANES_AT_ONCE)
            lanes = list(connection.execute(claim).scalars())
        if not lanes:
            return 0
        with engine.connect() as connection:
            rows = [row_of(found) for found in connection.execute(self._tables.next_rows(dialect, lanes, BATCH))]
        delivered = self._publish(rows)
        with engine.begin() as connection:
            if delivered.acknowledged:
                connection.execute(self._tables.published(delivered.acknowledged))
            if delivered.unfit:
                put_off = self._tables.put_off(dialect, delivered.unfit, int(UNFIT_AGAIN_S * 1000))
                connection.execute(put_off)
            connection.execute(self._tables.release(connection.dialect.name, self._owner))
        self._watcher.relayed(self._name, len(delivered.acknowledged))
        if delivered.refusal is not None:
            raise PublishError(delivered.refusal)
        if delivered.unfit:
            self._unfit = (delivered.unfitness, time.monotonic() + 2 * UNFIT_AGAIN_S)
            self._log.error("the outbox %s: %s", self._name, delivered.unfitness)
            self._complain(delivered.unfitness)
        return len(rows)

    def _publish(self, rows: Sequence[Row]) -> _Deliveries:
        """Hands rows over and waits until each is acknowledged or refused (or the relay is stopped)."""
        new = {row.topic for row in rows} - self._known_topics
        if new:
            self._topics.ensure(new)
            self._known_topics |= new
        deliveries = _Deliveries(len(rows), self._observer)
        for row in rows:
            self._hand_over(row, deliveries.report(row))
        self._wait_for(deliveries)
        return deliveries

    def _hand_over(self, row: Row, report: Any) -> None:
        try:
            while not self._producer.try_send(
                row.topic, row.value, key=row.key, headers=row.headers, on_delivery=report
            ):
                time.sleep(ACK_SLICE_S)
        except PublishError as error:
            report(error, None)

    def _wait_for(self, deliveries: _Deliveries) -> None:
        renew_at = time.monotonic() + self._lease_ms / 3000
        late_at = time.monotonic() + self._lease_ms / 1000
        stop_at: float | None = None
        while not deliveries.done.wait(ACK_SLICE_S):
            now = time.monotonic()
            if self._stop.is_set():
                stop_at = stop_at or now + STOP_S
                if now > stop_at:
                    return  # They may still arrive; what is not deleted is published again.
            if now >= renew_at:
                with self._worker.engine.begin() as connection:
                    connection.execute(self._tables.renew(connection.dialect.name, self._owner, self._lease_ms))
                renew_at = now + self._lease_ms / 3000
            if now >= late_at:
                self._complain(f"the outbox {self._name}: no broker acknowledges what was sent")

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + (AGAIN_S if self._complaint else LOOK_S)
        with self._worker.engine.connect() as connection:
            count, age_ms = connection.execute(self._tables.waiting(connection.dialect.name)).one()
        age_s = max(0.0, float(age_ms or 0) / 1000)
        self._watcher.waiting(self._name, count, age_s)
        if age_s > self._late_s:
            self._complain(f"the outbox {self._name} is behind: {count} events, the oldest due for {age_s:.0f} s")
        elif now < self._unfit[1]:
            self._complain(self._unfit[0])
        else:
            self._complaint = False
            self._conditions.clear_condition(self._condition)

    def _complain(self, reason: str) -> None:
        self._complaint = True
        self._next_look = min(self._next_look, time.monotonic() + AGAIN_S)
        self._conditions.raise_condition(self._condition, reason)

    def _until_next(self) -> float:
        with self._worker.engine.connect() as connection:
            left_ms = connection.execute(self._tables.next_due(connection.dialect.name)).scalar()
        return self._poll_s if left_ms is None else min(self._poll_s, max(0.0, float(left_ms) / 1000))

    def _give_back(self) -> None:
        try:
            with self._worker.engine.begin() as connection:
                connection.execute(self._tables.release(connection.dialect.name, self._owner))
        except Exception as error:
            self._log.debug("the lanes of %s are given back when their lease ends: %s", self._name, error)


class _Deliveries:
    """Collects the delivery reports of one pass: from the producer's thread, and from the relay's where a record is
    refused at once."""

    def __init__(self, expected: int, observer: Observer) -> None:
        self._left = expected
        self._lock = threading.Lock()
        self._observer = observer
        self.acknowledged: list[int] = []
        self.unfit: list[int] = []
        self.unfitness = ""
        self.refusal: str | None = None
        self.done = threading.Event()
        if not expected:
            self.done.set()

    def report(self, row: Row) -> Any:
        def delivered(error: Any, _message: Any) -> None:
            if error is None:
                self.acknowledged.append(row.seq)
                self._observer.published(row.topic)
            else:
                self._observer.publish_failed(row.topic)
                self._refused(row, error)
            with self._lock:
                self._left -= 1
                if not self._left:
                    self.done.set()

        return delivered

    def _refused(self, row: Row, error: Any) -> None:
        reason = f"topic {row.topic}: event {row.event_id} was refused: {error}"
        cause = error.__cause__.args[0] if isinstance(error, PublishError) and error.__cause__ else error
        if getattr(cause, "name", str)() in UNFIT:
            self.unfit.append(row.seq)
            self.unfitness = f"{reason}. It stays in the outbox: cancel it, or let the topic take it"
        else:
            self.refusal = reason
