"""Takes records from Kafka, feeds the partitions, commits what is finished.

Threads: one consumer thread owns the consumer (it polls, commits, pauses and answers rebalances) and feeds the
partitions; plain handlers run on a pool of threads, async ones on the event loop. The consumer thread never runs a
handler, so a slow one never costs the group membership.

A revoke, step by step: the group asks for a partition back while poll() is inside this thread's callback -> the
callback stops the partition and waits -> the record in hand finishes, its outputs are
acknowledged -> the position is committed synchronously -> the callback returns, and only then may another member start
there. A commit sent before the last acknowledgement would be below the position, never above it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from ottla.errors import BrokerUnavailable
from ottla.kafka.consumer import (
    TopicPartition,
    group_consumer,
    incremental_assign,
    incremental_unassign,
    speaks_new_protocol,
)
from ottla.kafka.producer import Producer
from ottla.kafka.reach import Reach
from ottla.kafka.record import Message
from ottla.listeners.acknowledgement import SyncCommits
from ottla.listeners.agreement import RetryPlan
from ottla.listeners.care import Care
from ottla.listeners.control import Control, PartitionsHook, Target
from ottla.listeners.declaration import Listener
from ottla.listeners.draining import drain
from ottla.listeners.exactly_once import ExactlyOnce, feed, read_committed
from ottla.listeners.flow import Sizes, by_place, steer
from ottla.listeners.hooks import Companion, Conditions, Observer
from ottla.listeners.making import make_partition
from ottla.listeners.partition import Partition
from ottla.listeners.rebuild import find_parked
from ottla.listeners.record import RecordProcessor
from ottla.listeners.renewal import Renewal
from ottla.listeners.retry_flow import RetryFlow
from ottla.listeners.seeking import seek
from ottla.listeners.standing import Standing, Standings
from ottla.listeners.threads import HandlerThreads
from ottla.listeners.topic_ways import TopicWays
from ottla.settings import Settings

POLL_S = 0.1
COMMIT_POLL_S = 0.002
POLL_MIN_S = 0.005
RESTING_POLL_S = 0.01
"""While a partition rests: it is to go on as soon as its handlers have caught up."""

LAG_INTERVAL_S = 1.0
LEAVE_S = 5.0
"""What a stop gives the last commit and the leaving of the group, beyond the drain timeout."""

Place = tuple[str, int]


class ListenerRunner:
    """Runs the listeners of one app as one member of its consumer group.

    Args:
        service: The app's name; also the group and the client id.
        settings: Kafka and listener settings.
        listeners: The handlers.
        processor: A record's way.
        producer: Flushed before positions are committed on a revoke.
        exactly_once: Commits the topics whose handlers want it so; None where there are none.
        transactional: The way of their records.
        retries: Which topics have retry topics.
        commits: Commits for handlers that want it before the next record.
        control: What it can be told while it runs.

    Raises:
        ConfigurationError: The handlers of a topic want it in different orders.
    """

    def __init__(
        self,
        *,
        service: str,
        settings: Settings,
        listeners: Iterable[Listener],
        processor: RecordProcessor,
        producer: Producer,
        observer: Observer,
        conditions: Conditions,
        exactly_once: ExactlyOnce | None = None,
        transactional: RecordProcessor | None = None,
        retries: RetryPlan | None = None,
        commits: SyncCommits | None = None,
        control: Control | None = None,
        companion: Companion | None = None,
    ) -> None:
        self._service = service
        self._settings = settings
        self._limits = settings.listener
        self._processor = processor
        self._producer = producer
        self._observer = observer
        self._conditions = conditions
        self._log = logging.getLogger(f"ottla.{service}")
        listeners = list(listeners)
        self._ways = TopicWays(listeners, retries)
        self._exactly_once = exactly_once
        self._transactional = transactional
        self._companion = companion
        self._control = control or Control()
        self._control.begin(settings.kafka.named, retries.levels if retries is not None else {})
        self._commits = commits or SyncCommits(conditions)
        self._retries = self._retry_flow(retries) if retries is not None and retries.levels else None
        # The old protocol counts from when a group became empty, and only for what it is subscribed to.
        of_new_protocol = speaks_new_protocol(settings.kafka)
        self._renewal = Renewal(
            lambda topic: of_new_protocol or self._ways.home(topic) != topic, self._ways.own_commits, self._log
        )
        self._feed_max = self._ways.feed_max(self._limits.batch_records)
        self._workers: dict[Place, Partition] = {}
        widest = max((one.order.parallel for one in listeners if not one.is_async), default=1)
        self._threads = HandlerThreads(service, self._limits.sync_threads, widest)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._consumer: Any = None
        self._care = Care(Reach(settings.kafka))
        self._next_commit = 0.0
        self._commit_at = self._limits.commit_records_max
        self._next_lag = 0.0
        # What is finished is committed on time also where no record comes.
        shortest = self._limits.commit_interval_s if exactly_once is None else self._limits.transaction_interval_s
        self._patience_s = max(POLL_MIN_S, min(POLL_S, shortest))
        self._standings = Standings()
        self._sizes = Sizes(self._limits.buffered_bytes_max)
        # What the watch looks at (listeners/watch.py); monotonic seconds.
        self.topics = self._ways.topics
        self.group = settings.kafka.named(service)
        self.round_at: float | None = None
        self.commit_asked_at: float | None = None
        self.unassigned_at: float | None = None
        self._broker_away = False
        self._uncommitted: set[Place] = set()
        self.died: str | None = None

    def _retry_flow(self, plan: RetryPlan) -> RetryFlow:
        kafka, group = self._settings.kafka, self._settings.kafka.named(self._service)
        flow = RetryFlow(
            plan,
            find=lambda places, committed: find_parked(kafka, plan, group, places, committed),
            committed=lambda places: read_committed(self._consumer, places),
            conditions=self._conditions,
            log=self._log,
            exact=self._ways.exact,
        )
        if self._exactly_once is not None:
            self._exactly_once.shelve = flow.again
        return flow

    def start(self) -> None:
        """Joins the group, on a thread of its own. Call it on the event loop that handlers are to run on."""
        self._loop = asyncio.get_running_loop()
        self._conditions.clear_condition("consumer")  # of a run before this one
        self._conditions.raise_condition("group", f"waiting to be assigned partitions of {', '.join(self.topics)}")
        self._thread = threading.Thread(target=self._run, name=f"{self._service}-consumer", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Stops fetching, finishes what is in hand (within the drain timeout), commits, leaves the group."""
        self._stop.set()
        if self._thread is not None:
            # A commit waits for a broker that hangs (one that is gone is noticed) for a minute and longer.
            await asyncio.to_thread(self._thread.join, self._limits.drain_timeout_s + LEAVE_S)
            if self._thread.is_alive():
                self._log.error(
                    "no broker answered the last commit; left without it, what was not committed is delivered again"
                )
        if self._retries is not None:
            await asyncio.to_thread(self._retries.close, LEAVE_S)
        self._control.end()
        self._processor.close()
        self._threads.close()

    def positions(self) -> dict[Place, Standing]:
        """(topic, partition) to how far it is, for the partitions this member has; at most a second old."""
        return self._standings.snapshot()

    # ------------------------------------------------------------------ the consumer thread

    def _run(self) -> None:
        try:
            self._open()
            if self._exactly_once is not None:
                self._exactly_once.open()
            self._subscribe()
            while not self._stop.is_set():
                self._control.serve(self._seek)
                self._poll()
                self._feed_due()
                steer(self._consumer, self._workers, self._buffered_max, self._held)
                if self._exactly_once is not None and self._exactly_once.due():
                    self._exactly_once.commit(self._workers, self._again)
                self._commits.send(self._consumer)
                now = self.round_at = time.monotonic()
                if now >= self._next_commit or self._finished() >= self._commit_at:
                    self._commit_finished()
                    self._next_commit = now + self._limits.commit_interval_s
                if now >= self._next_lag:
                    self._note_standings()
                    self._look_after_client()
                    self._renewal.renew(self._consumer, self._workers)
                    self._next_lag = now + LAG_INTERVAL_S
            self.round_at = None
            self._release(list(self._workers))
            self._consumer.close()
            if self._exactly_once is not None:
                self._exactly_once.close()
        except BaseException as error:
            self.died = f"the consumer thread ended: {type(error).__name__}: {error}"
            self._log.critical("%s", self.died, exc_info=error)
            self._conditions.raise_condition("consumer", self.died)
            self._leave()

    def _leave(self) -> None:
        """Hands the partitions to other members at once: a consumer that is only forgotten keeps them, and nobody
        handles their records, until the group notices."""
        try:
            if self._consumer is not None:
                self._release(list(self._workers))
                self._consumer.close()
        except Exception as error:
            self._log.warning("could not leave the group: %s", error)

    def _poll(self) -> None:
        # consume(n, timeout) waits out its timeout for a full batch; poll() returns with the first record, and
        # consume(n, 0) then takes what has arrived with it.
        patience = self._patience_s if self._retries is None else self._retries.wait_s(self._patience_s)
        if any(worker.paused for worker in self._workers.values()):
            patience = min(patience, RESTING_POLL_S)
        if self._ways.own_commits and any(worker.tracker.unfinished for worker in self._workers.values()):
            patience = min(patience, COMMIT_POLL_S)  # Somebody may wait for a commit to go on.
        first = self._consumer.poll(patience)
        if first is None:
            return
        taken = [first, *self._consumer.consume(self._feed_max - 1, 0)]
        for place, messages in by_place(taken, len(self._ways.orders) > 1, self._partition_error).items():
            if self._retries is not None:
                messages = self._retries.take(place, messages)
            self._feed(place, messages)

    def _feed(self, place: Place, messages: list[Message]) -> None:
        worker = self._workers.get(place)
        if worker is None or not messages:  # Revoked within this very batch: the next owner gets these.
            return
        if self._exactly_once is not None and self._exactly_once.knows(place):
            self._exactly_once.received(place, messages)
        feed(worker, messages)
        self._sizes.received(place, messages)
        self._standings.received(place, messages)
        if self._companion is not None:
            self._companion.received(messages)

    def _feed_due(self) -> None:
        """Gives their partitions the records of retry topics whose time has come."""
        if self._retries is not None:
            self._retries.search(self._workers)
            self._retries.move_on(self._workers)
            for place, messages in self._retries.due():
                self._feed(place, messages)

    def _held(self, place: Place) -> bool:
        return self._control.holds(place) or (self._retries is not None and self._retries.holds(place))

    def _seek(self, place: Place, to: Target) -> int:
        return seek(
            place,
            to,
            consumer=self._consumer,
            workers=self._workers,
            again=self._again,
            drain_s=self._limits.drain_timeout_s,
            flush=self._producer.flush,
            exactly_once=self._exactly_once,
            retries=self._retries,
        )

    def _tell(self, hooks: list[PartitionsHook], partitions: list[Any]) -> None:
        if hooks and self._loop is not None:
            places = [(one.topic, one.partition) for one in partitions]
            self._control.tell(hooks, places, self._loop, self._limits.drain_timeout_s, self._log)

    def _buffered_max(self, place: Place) -> int:
        return self._ways.in_hand_max(place[0], self._sizes.most(place, self._limits.buffered_records_max))

    def _finished(self) -> int:
        """The sum of all positions: by how much it grows, so many records were finished."""
        return sum(worker.tracker.position or 0 for worker in self._workers.values())

    def _commit_finished(self) -> None:
        self._commit_at = self._finished() + self._limits.commit_records_max
        if self.commit_asked_at is not None:
            # One at a time. A commit that fails is tried again within the client library: were a later one to succeed
            # meanwhile, the earlier offsets would be written over its own, and stay there while nothing new comes.
            return
        offsets = []
        for (topic, partition), worker in self._workers.items():
            if topic in self._ways.exact or topic in self._ways.own_commits:
                continue
            progress = worker.tracker.to_commit()
            if progress is not None:
                offsets.append(TopicPartition(topic, partition, progress.offset, progress.metadata))
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
            self.commit_asked_at = time.monotonic()
        except Exception as error:
            self._committed(error, offsets)

    def _note_standings(self) -> None:
        ends = {}
        for place in self._workers:
            _, end = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            ends[place] = max(0, end)
        resting = {
            place
            for place, worker in self._workers.items()
            if self._held(place) or (worker.tracker.held() and not worker.tracker.in_hand)
        }
        self._standings.note(self._workers, ends, resting)

    # ------------------------------------------------------------------ the client

    def _open(self) -> None:
        """Makes a client. What one that was given up says later is not listened to."""
        own: list[Any] = []

        def heard(listen: Callable[..., None]) -> Callable[..., None]:
            return lambda *said: listen(*said) if own == [self._consumer] else None

        self._consumer = group_consumer(
            self._settings.kafka,
            self._limits,
            group=self._service,
            client_id=self._service,
            on_commit=heard(self._committed),
            on_error=heard(self._client_error),
        )
        own.append(self._consumer)
        if self._exactly_once is not None:
            self._exactly_once.consumer = self._consumer

    def _subscribe(self) -> None:
        self._consumer.subscribe(
            self._ways.topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )

    def doubt(self, reason: str) -> None:
        """Tells that the client does not fetch what the brokers have for it. From any thread; again while it is so."""
        self._care.doubt(reason)

    def _look_after_client(self) -> None:
        """Sees whether a broker is there again (the client library tells when the last one goes, not when one comes
        back), and replaces a client that will never find out."""
        answered = self._care.answered(self._consumer, away=self._broker_away, busy=bool(self._workers))
        if answered is False:
            self._replace_client("the client has lost the brokers, which answer others", for_doubt=False)
        elif answered and self._broker_away:
            self._broker_away = False
            self._conditions.clear_condition("broker")
        elif not self._broker_away and (reason := self._care.doubted()) is not None:
            self._replace_client(reason, for_doubt=True)

    def _replace_client(self, reason: str, *, for_doubt: bool) -> None:
        """As if all partitions were given back; but where the client has lost the brokers, what is in hand is handled
        again: it cannot be committed."""
        self._log.warning("%s: a new client takes its place", reason)
        old, places = self._consumer, [TopicPartition(*place) for place in self._workers]
        if for_doubt:
            self._release(list(self._workers))
        else:
            drain(self._workers.values(), self._limits.drain_timeout_s, self._log)
            self._give_up(places)
        self._tell(self._control.revoked_hooks, [one for one in places if self._ways.home(one.topic) == one.topic])
        self._open()
        self.commit_asked_at = None
        self._commits.unanswered("the client was replaced")
        self._care.replaced(for_doubt=for_doubt)
        # Its group may be out of its reach as well: nobody waits for its farewell.
        threading.Thread(target=old.close, name=f"{self._service}-old-consumer", daemon=True).start()
        self._subscribe()

    def _again(self, place: Place) -> Partition:
        return self._partition(*place)

    def _partition(self, topic: str, partition: int) -> Partition:
        way = self._transactional if topic in self._ways.exact else self._processor
        assert way is not None, "where a topic is exactly-once, there is a way for its records"
        return make_partition(topic, partition, self._ways, way, self._loop, self._threads.of(self._ways.home(topic)))

    # ------------------------------------------------------------------ callbacks, inside poll() and close()

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        if consumer is not self._consumer:
            return
        given, partitions = partitions, self._with_retries(partitions)
        for one in partitions:
            worker = self._partition(one.topic, one.partition)
            self._workers[one.topic, one.partition] = worker
            if self._exactly_once is not None and one.topic in self._ways.exact:
                self._exactly_once.assigned((one.topic, one.partition))
            worker.start()
        self._restore(partitions)
        if self._retries is not None:
            self._retries.assigned((one.topic, one.partition) for one in given)
            incremental_assign(consumer, self._settings.kafka, partitions)
        if partitions:
            self._log.info("assigned %s", _places(partitions))
        self._tell(self._control.assigned_hooks, given)
        self._conditions.clear_condition("group")
        self.unassigned_at = None

    def _with_retries(self, partitions: list[Any]) -> list[Any]:
        """Some partitions, and those of retry topics that go with them."""
        if self._retries is None:
            return partitions
        more = self._retries.companions((one.topic, one.partition) for one in partitions)
        return [*partitions, *(TopicPartition(*place) for place in more)]

    def _restore(self, partitions: list[Any]) -> None:
        """Reads which records beyond the position were finished by whoever had these partitions before."""
        places = [
            (one.topic, one.partition)
            for one in partitions
            if self._workers[one.topic, one.partition].tracker.remembers and not self._ways.waits(one.topic)
        ]
        try:
            for place, (offset, metadata) in read_committed(self._consumer, places).items():
                self._workers[place].tracker.restore(offset, metadata)
        except BrokerUnavailable as error:
            if self._exactly_once is not None and any(self._exactly_once.knows(place) for place in places):
                self._exactly_once.distrust(error)
            self._log.warning(
                "records finished beyond the committed position may be handled again, unless exactly-once: %s", error
            )

    def _revoked(self, consumer: Any, partitions: list[Any]) -> None:
        if consumer is not self._consumer:
            return
        given, partitions = partitions, self._with_retries(partitions)
        if partitions:
            self._log.info("giving back %s", _places(partitions))
        self._release([(one.topic, one.partition) for one in partitions])
        self._tell(self._control.revoked_hooks, given)
        self._note_unassigned()
        if self._retries is not None:
            incremental_unassign(consumer, self._settings.kafka, partitions)

    def _lost(self, consumer: Any, partitions: list[Any]) -> None:
        """Another member may have these already: nothing of them may be committed."""
        if consumer is not self._consumer:
            return
        given, partitions = partitions, self._with_retries(partitions)
        self._log.warning(
            "lost %s; records in hand there will be handled again by their new owner", _places(partitions)
        )
        self._give_up(partitions)
        self._tell(self._control.revoked_hooks, given)
        if self._retries is not None:
            incremental_unassign(consumer, self._settings.kafka, partitions)

    def _give_up(self, partitions: list[Any]) -> None:
        """Forgets partitions and what is in hand of them."""
        places = {(one.topic, one.partition) for one in partitions}
        gone = {place: worker for place in places if (worker := self._workers.pop(place, None)) is not None}
        for place, worker in gone.items():
            worker.cancel()
            self._unpause(worker)
            self._forget(place)
        if self._exactly_once is not None:
            self._exactly_once.lost(gone, self._workers, self._again)
        self._commit_settled(places)
        self._note_unassigned()

    def _note_unassigned(self) -> None:
        if not self._workers:
            self.unassigned_at = time.monotonic()

    def _forget(self, place: Place) -> None:
        if self._retries is not None:
            self._retries.gone(place)

    def _release(self, places: list[Place]) -> None:
        """Stops the partitions, waits for what is in hand within the deadline, commits, forgets them."""
        workers = [(place, worker) for place in places if (worker := self._workers.get(place)) is not None]
        if not workers:
            return
        deadline = drain((worker for _, worker in workers), self._limits.drain_timeout_s, self._log)
        if not self._broker_away:
            # The outputs of finished handlers may be on their way still.
            self._producer.flush(max(0.0, deadline - time.monotonic()))
        if self._exactly_once is not None:
            self._exactly_once.leaving(dict(workers))
            self._exactly_once.commit(self._workers, self._again, leaving=places)
        offsets = []
        for place, worker in workers:
            progress = worker.tracker.progress
            if self._exactly_once is not None and self._exactly_once.knows(place):
                self._exactly_once.gone(place)
            elif progress is not None:
                offsets.append(TopicPartition(*place, progress.offset, progress.metadata))
            self._unpause(worker)
            self._forget(place)
            del self._workers[place]
        if offsets:
            self._commit_last(offsets)
        self._commit_settled(set(places))

    def _unpause(self, worker: Partition) -> None:
        """The client library keeps a pause beyond the assignment: were the partition to come back, its new worker would
        wait for records for ever."""
        if worker.paused:
            self._consumer.resume([TopicPartition(worker.topic, worker.partition)])
            worker.paused = False

    def _commit_last(self, offsets: list[Any]) -> None:
        """Commits partitions that are being given back. Where that fails, their last records are handled, but the
        group does not know: they are delivered again, which at-least-once allows. Nothing is lost."""
        failure: object = "no broker answers"
        if not self._broker_away:  # A commit would wait for one far beyond any deadline.
            try:
                answers = self._consumer.commit(offsets=offsets, asynchronous=False)
                failure = next((one.error for one in answers or () if one.error), None)
                if failure is None:
                    return
            except Exception as error:
                failure = error
        self._observer.commit_failed()
        self._log.warning("last offsets of %s could not be committed: %s", _places(offsets), failure)

    def _committed(self, error: Any, partitions: list[Any]) -> None:
        if self._ways.own_commits:
            self._commits.answered(error, [one for one in partitions if one.topic in self._ways.own_commits])
        asked_at = self.commit_asked_at
        if not partitions or any(one.topic not in self._ways.own_commits for one in partitions):
            self.commit_asked_at = None
        failure = error or next((one.error for one in partitions if one.error), None)
        if self._companion is not None:
            topics = sorted({one.topic for one in partitions})
            self._companion.committed(topics, time.monotonic() - asked_at if asked_at is not None else 0.0, failure)
        if failure is None:
            self._commit_settled({(one.topic, one.partition) for one in partitions})
            return
        self._observer.commit_failed()
        self._log.warning("offsets could not be committed, trying again: %s", failure)
        for one in partitions:
            worker = self._workers.get((one.topic, one.partition))
            if worker is not None:
                worker.tracker.commit_failed()
                self._uncommitted.add((one.topic, one.partition))
        if self._uncommitted:  # Not where all have been given back meanwhile: nothing would ever clear it.
            self._conditions.raise_condition("commit", f"offsets could not be committed: {failure}")

    def _commit_settled(self, places: set[Place]) -> None:
        """Committed, or not ours any more: either way nobody waits for a commit there."""
        if self._uncommitted:
            self._uncommitted -= places
            if not self._uncommitted:
                self._conditions.clear_condition("commit")

    def _client_error(self, error: Any) -> None:
        if error.name() == "_ALL_BROKERS_DOWN":
            self._broker_away = True
            self._conditions.raise_condition(
                "broker", f"no broker answers at {self._settings.kafka.bootstrap_servers}: {error.str()}"
            )
        self._log.debug("consumer: %s", error)

    def _partition_error(self, message: Any) -> None:
        error = message.error()
        if error.name() == "_PARTITION_EOF":
            self._standings.at_end(message)
            return
        if error.fatal() or error.name() == "_FATAL":
            raise RuntimeError(f"the consumer cannot go on: {error.str()}")
        self._log.warning("%s[%s]: %s", message.topic(), message.partition(), error.str())


def _places(partitions: list[Any]) -> str:
    return ", ".join(f"{one.topic}[{one.partition}]" for one in partitions)
