"""The stream thread: fetches, processes, commits, and follows what the group says.

One thread per process owns the member, the fetching consumer, the producer and all tasks. What could hold it up is
done elsewhere: restoration (`restoration.py`), looking at other instances (`group_view.py`), queries.

A commit, step by step: every task hands on what its caches hold -> the stores' changes go to their changelogs -> the
offsets join the transaction, with the group's generation -> the transaction is committed -> the changes and the
changelogs' new ends go into the stores. A crash before the last step leaves a store behind its changelog by one
commit, which restoration reads; a crash before the last but one undoes everything. Without transactions the offsets
follow when all else is acknowledged.

A rollback, step by step: the transaction is aborted (or, where nobody knows its outcome, a new producer settles it)
-> every task forgets what was not committed -> it is restored like one that has just come, from the group's offsets
and the changelogs' ends, which costs next to nothing where there is nothing to restore -> it fetches from there.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Protocol

from ottla.errors import BrokerUnavailable, KafkaError, OttlaError, RegistryUnavailable, TransactionAborted
from ottla.kafka.flow import resume
from ottla.kafka.stream_clients import (
    OFFSET_BEGINNING,
    OFFSET_END,
    PARTITION_EOF,
    Consumer,
    TopicPartition,
    fetch_also,
)
from ottla.settings import StreamsSettings
from ottla.streams.runtime.active_task import ActiveTask, MakeTask, State
from ottla.streams.runtime.collector import Collector
from ottla.streams.runtime.membership import Membership, Tokens
from ottla.streams.runtime.plan import Place, Plan
from ottla.streams.runtime.restoration import Restorer
from ottla.streams.runtime.stores import TaskStores

POLL_S = 0.1
FAILURE_WAIT_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
SETTLED_S = 5.0
REFRESH_S = 6 * 3600.0
"""The group forgets the offsets of topics nobody subscribes to a week after they were committed
(`offsets.retention.minutes`); and these nobody does."""


class Observer(Protocol):
    """Told of what happens. Called on the stream thread; must be quick and must not raise."""

    def committed(self, seconds: float) -> None:
        """A commit took so long."""

    def rolled_back(self) -> None:
        """What was not committed was undone, and is done again."""

    def raise_condition(self, name: str, reason: str) -> None:
        """Something is wrong: the application is not ready while it lasts."""

    def clear_condition(self, name: str) -> None:
        """It is right again."""


class StreamThread:
    """Runs the tasks of one instance.

    Args:
        plan: The application's tasks.
        settings: Streams settings.
        stores: Opens and closes tasks' stores.
        restorer: Restores them.
        collector: Takes outputs and commits.
        open_member, open_fetcher: Make the consumers.
        make_task: Makes a task's operators.
        observer: Told of what happens.
        tend: Called now and then, between batches: standbys, clean-up.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        settings: StreamsSettings,
        stores: TaskStores,
        restorer: Restorer,
        collector: Collector,
        open_member: Callable[[], Consumer],
        open_fetcher: Callable[[], Consumer],
        make_task: MakeTask,
        observer: Observer,
        tend: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._stores = stores
        self._restorer = restorer
        self._collector = collector
        self._open_member, self._open_fetcher = open_member, open_fetcher
        self._make_task = make_task
        self._observer = observer
        self._tend = tend
        self._exactly_once = settings.guarantee == "exactly_once"
        self._log = logging.getLogger("ottla.streams")
        self.tasks: dict[int, ActiveTask] = {}
        """By token. Changed by this thread only; others take a copy."""
        self._owners: dict[Place, ActiveTask] = {}
        self._fetcher: Any = None
        self._fetched: set[str] = set()
        self._member: Any = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ottla-streams", daemon=True)
        self._next_commit = 0.0
        self._first = 0
        self._failures = 0
        self._not_before = 0.0
        self._broker_away = False
        self.died: str | None = None
        self.ends: dict[Place, int] = {}
        """Where partitions end, as last seen."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to finish what is in hand, commit and leave."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Waits for the end; False if it still runs."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def member_id(self) -> str | None:
        """What the group calls this instance; None before it has joined."""
        return None if self._member is None else self._member.member_id

    @property
    def ended(self) -> bool:
        """Whether it has been asked to end, or has ended by itself."""
        return self._stop.is_set() or not self._thread.is_alive()

    def clients(self) -> dict[str, Any]:
        """The clients without which nothing goes on, by what they do. To be used by `tend` only."""
        if self._fetcher is None or self._member is None:
            return {}
        return {"fetches": self._fetcher, "is the member of the group": self._member.consumer}

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            if not self._open_producer_first():
                return
            self._fetcher = self._open_fetcher()
            self._member = Membership(
                self._open_member(),
                self._plan.tokens_topic,
                on_assigned=self._assigned,
                on_revoked=self._revoked,
                on_lost=self._lost,
            )
            self._member.join()
            while not self._stop.is_set():
                self._turn()
        except BaseException as error:
            self.died = f"the stream thread ended: {type(error).__name__}: {error}"
            self._log.critical("%s", self.died, exc_info=error)
            self._observer.raise_condition("streams", self.died)
            # Nothing of what failed may be committed on the way out.
            for task in self.tasks.values():
                task.halt()
        finally:
            self._leave()

    def _open_producer_first(self) -> bool:
        """Before anything is read of the group's offsets: a predecessor's open transaction would hold them back, and
        this ends it."""
        while not self._stop.is_set():
            try:
                self._collector.open()
                self._observer.clear_condition("transaction")
                return True
            except KafkaError as error:
                self._observer.raise_condition("transaction", f"no transactions yet: {error}")
                self._stop.wait(1.0)
        return False

    def _turn(self) -> None:
        self._member.poll()
        try:
            self._advance()
            self._fetch()
            self._process()
            if self._commit_is_due():
                self._commit(list(self.tasks.values()))
            elif self._failures:
                self._forget_failures()
        except KafkaError as error:
            self._roll_back(error)
        except RegistryUnavailable as error:
            # No record's fault: all of them wait.
            self._roll_back(TransactionAborted(str(error)))
        self._tend()

    # ------------------------------------------------------------------ tasks on their way to running

    def _advance(self) -> None:
        waiting = [task for task in self.tasks.values() if task.state is not State.RUNNING]
        if not waiting:
            return
        if time.monotonic() < self._not_before:
            return
        if not self._collector.is_open:
            self._collector.open()
        for task in waiting:
            if task.state is State.CLAIMING and (opened := self._stores.open(task.id)) is not None:
                task.open(opened, self._settings.store_cache_bytes)
            if task.state is State.OPEN:
                self._restorer.restore(task.restoring())
            elif task.state is State.RESTORING and task.restoration is not None and task.restoration.done.is_set():
                self._begin(task)
        self._tell_waiting()

    def _begin(self, task: ActiveTask) -> None:
        starts = task.run(self._make_task)
        resets = self._resets(task)
        self._owners.update(dict.fromkeys(starts, task))
        places = [
            TopicPartition(*place, resets[place[0]] if offset is None else offset) for place, offset in starts.items()
        ]
        fetch_also(self._fetcher, places, self._fetched)
        self._log.info("task %s runs", task.name)

    def _resets(self, task: ActiveTask) -> dict[str, int]:
        topology = self._plan.topology
        sub = topology.subtopologies[task.id.subtopology]
        return {
            topology.physical(topic): OFFSET_END if source.reset == "latest" else OFFSET_BEGINNING
            for source in sub.sources
            for topic in source.topics
        }

    def _tell_waiting(self) -> None:
        waiting = [task for task in self.tasks.values() if task.state is not State.RUNNING]
        if waiting:
            first = waiting[0]
            reason = self._restorer.trouble or f"task {first.name} waits for {first.state.value}"
            more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
            self._observer.raise_condition("restoring", reason + more)
        else:
            self._observer.clear_condition("restoring")

    # ------------------------------------------------------------------ records

    def _fetch(self) -> None:
        first = self._fetcher.poll(self._patience())
        if first is None:
            return
        # Thousands of records come into being here and are gone in a moment: nothing for the garbage collector, which
        # would look through all of them, again and again.
        collects = gc.isenabled()
        gc.disable()
        try:
            self._take_in(first)
        finally:
            if collects:
                gc.enable()

    def _take_in(self, first: Any) -> None:
        """Puts what has been fetched into the queues."""
        runs, ended = self._sorted([first, *self._fetcher.consume(self._settings.batch_records - 1, 0)])
        for place, messages in runs.items():
            owner = self._owners.get(place)
            if owner is None:
                continue
            queue = owner.queues.by_place[place]
            queue.add(messages)
            if not queue.paused and len(queue) >= self._settings.buffered_records_max:
                self._fetcher.pause([TopicPartition(*place)])
                queue.paused = True
        for place in ended:
            # Said once, and often in one breath with the last records: it holds behind them.
            if (owner := self._owners.get(place)) is not None:
                owner.queues.by_place[place].at_end = True

    def _sorted(self, fetched: list[Any]) -> tuple[dict[Place, list[Any]], set[Place]]:
        """Records by the partition they are of, and the partitions whose ends are behind them."""
        runs: dict[Place, list[Any]] = defaultdict(list)
        ended: set[Place] = set()
        kind: Any = type(fetched[0])
        errors = list(map(kind.error, fetched))
        places = zip(map(kind.topic, fetched), map(kind.partition, fetched), strict=True)
        if not any(errors):  # a KafkaError cannot be compared with None
            for place, message in zip(places, fetched, strict=True):
                runs[place].append(message)
            return runs, ended
        for place, message, error in zip(places, fetched, errors, strict=True):
            if error is None:
                runs[place].append(message)
                ended.discard(place)
            elif error.code() == PARTITION_EOF:
                self.ends[place] = message.offset()
                ended.add(place)
            else:
                self._faulty(place, error)
        return runs, ended

    def _patience(self) -> float:
        """How long to wait for records: not at all where there is something to do."""
        if any(task.held or (len(task.queues) and not task.queues.waiting) for task in self.tasks.values()):
            return 0.0
        if any(task.dirty for task in self.tasks.values()):
            return max(0.0, min(POLL_S, self._next_commit - time.monotonic()))
        if any(task.state is not State.RUNNING for task in self.tasks.values()):
            return 0.01
        return POLL_S if self.tasks else POLL_S / 5

    def _process(self) -> None:
        """Gives each task that has records some of them, in turn, until it is time to commit."""
        for task in self._in_turn():
            for _ in range(0 if task.held else len(task.places)):
                batch = task.queues.next(task.pace.limit)
                if batch is None:
                    break
                with task.pace.measured(len(batch)):
                    task.process(batch)
                queue = task.queues.by_place[batch.topic, batch.partition]
                if queue.paused and len(queue) <= self._settings.buffered_records_max // 2:
                    resume(self._fetcher, [TopicPartition(*queue.place)])
                    queue.paused = False
            if task.task is not None and task.task.punctuate():
                task.dirty = True
            if time.monotonic() >= self._next_commit and task.dirty:
                return

    def _in_turn(self) -> list[ActiveTask]:
        """The running tasks, another one first each time: none is always cut off by the commit."""
        running = [task for task in self.tasks.values() if task.state is State.RUNNING]
        self._first = (self._first + 1) % max(1, len(running))
        return running[self._first :] + running[: self._first]

    def _faulty(self, place: Place, error: Any) -> None:
        owner = self._owners.get(place)
        if error.name() == "_AUTO_OFFSET_RESET" and owner is not None:
            start = self._resets(owner)[place[0]]
            self._log.warning(
                "%s[%d]: the offset to go on from is not there any more (%s); going on from the %s",
                *place, error.str(), "end" if start == OFFSET_END else "beginning",
            )  # fmt: skip
            self._fetcher.incremental_unassign([TopicPartition(*place)])
            fetch_also(self._fetcher, [TopicPartition(*place, start)], self._fetched)
        elif error.fatal():
            raise OttlaError(f"the consumer cannot go on: {error.str()}")
        elif not error.retriable():
            self._log.warning("%s[%s]: %s", *place, error.str())

    # ------------------------------------------------------------------ commits

    def _commit_is_due(self) -> bool:
        now = time.monotonic()
        running = [task for task in self.tasks.values() if task.state is State.RUNNING]
        if self._collector.spoiled:
            return True
        if any(task.dirty for task in running):
            return now >= self._next_commit or (
                sum(task.uncommitted_bytes for task in running) >= self._settings.uncommitted_bytes_max
            )
        return any(task.positions and now - task.committed_at > REFRESH_S for task in running)

    def _commit(self, tasks: list[ActiveTask]) -> None:
        """Commits whatever tasks have done since the last time. Raises KafkaError; then roll back."""
        now = time.monotonic()
        mine = [
            task
            for task in tasks
            if task.state is State.RUNNING and (task.dirty or (task.positions and now - task.committed_at > REFRESH_S))
        ]
        self._next_commit = now + self._settings.commit_interval_s
        if not mine:
            return
        for task in mine:
            assert task.task is not None
            task.task.flush()
        logged = [
            (store, place)
            for task in mine
            for name, place in task.changelogs.items()
            if self._collector.log_changes(place, store := task.stores[name])
        ]
        offsets = [
            TopicPartition(*place, offset, metadata) for task in mine for place, offset, metadata in task.offsets()
        ]
        if self._exactly_once and not offsets:
            # Tasks that have read nothing yet, only timers ran: without some offset the group would not be asked
            # whether this instance still has them. A token's means nothing else.
            offsets = [TopicPartition(self._plan.tokens_topic, self._plan.token_of(mine[0].id), 0)]
        self._collector.commit(offsets, self._member.metadata)
        if not self._exactly_once and offsets:
            self._member.commit(offsets)
        ends = {id(store): self._collector.logged_up_to(place) for store, place in logged}
        for task in mine:
            task.was_committed(ends)
        self._observer.committed(time.monotonic() - now)
        if self._failures:
            self._failures = 0
            self._observer.clear_condition("transaction")

    def _forget_failures(self) -> None:
        """Where nothing is left to commit (the work has gone elsewhere), nothing would ever tell that all is well."""
        idle = all(task.state is State.RUNNING and not task.dirty for task in self.tasks.values())
        if idle and time.monotonic() > self._not_before + SETTLED_S:
            self._failures = 0
            self._observer.clear_condition("transaction")

    def _roll_back(self, error: KafkaError) -> None:
        """Undoes what is not committed, in all tasks: they share the transaction."""
        wait = FAILURE_WAIT_S[min(self._failures, len(FAILURE_WAIT_S) - 1)]
        self._failures += 1
        self._not_before = time.monotonic() + wait
        self._log.warning("what was not committed is undone and done again: %s", error)
        self._observer.rolled_back()
        if self._failures > 1 or isinstance(error, BrokerUnavailable):
            self._observer.raise_condition("transaction", f"nothing is committed: {error}")
        for task in self.tasks.values():
            self._halt(task)
        self._collector.roll_back(error)

    def _halt(self, task: ActiveTask) -> None:
        self._restorer.release(list(task.changelogs.values()))
        mine = [place for place in task.places if self._owners.pop(place, None) is not None]
        if mine:
            for queue in task.queues.by_place.values():
                if queue.paused:
                    # The client library keeps a pause beyond the assignment.
                    self._fetcher.resume([TopicPartition(*queue.place)])
            self._fetcher.incremental_unassign([TopicPartition(*place) for place in mine])
        task.halt()

    # ------------------------------------------------------------------ what the group says

    def _assigned(self, tokens: Tokens) -> None:
        for token in tokens:
            task_id = self._plan.task_of(token)
            if task_id is None:
                self._log.info("token %d stands for a task that this topology does not have", token)
                continue
            self._stores.expect(task_id)
            self.tasks[token] = ActiveTask(
                self._plan,
                task_id,
                max_idle_s=self._settings.max_task_idle_s,
                batch_records=self._settings.batch_records,
            )
        if tokens:
            self._log.info("assigned tasks %s", ", ".join(task.name for task in self.tasks.values()))
        self._tell_waiting()
        self._observer.clear_condition("group")

    def _revoked(self, tokens: Tokens) -> None:
        """What is processed is committed first: these, and with them all others, since they share the transaction."""
        try:
            self._commit(list(self.tasks.values()))
        except KafkaError as error:
            self._roll_back(error)
        except RegistryUnavailable as error:
            self._roll_back(TransactionAborted(str(error)))
        self._give_up(tokens)

    def _lost(self, tokens: Tokens) -> None:
        """Others may have these tasks already, so nothing of theirs may be committed."""
        self._log.warning("the group has given tasks of this instance to others; what is not committed is undone")
        if any(token in self.tasks for token in tokens):
            self._roll_back(KafkaError("the group has given tasks of this instance to others"))
        self._give_up(tokens)

    def _give_up(self, tokens: Tokens) -> None:
        for token in tokens:
            task = self.tasks.pop(token, None)
            if task is not None:
                self._halt(task)
                task.close()
                self._stores.release(task.id)
                self._log.info("gave back task %s", task.name)

    def _leave(self) -> None:
        """The last commit, then out of the group, so that others go on at once."""
        try:
            if self._member is not None:
                if self.died is not None:
                    for task in self.tasks.values():
                        self._halt(task)
                try:
                    self._member.leave()
                except Exception as error:
                    self._log.warning("could not leave the group in order: %s", error)
            self._give_up(list(self.tasks))
            if self._fetcher is not None:
                self._fetcher.close()
        except Exception as error:
            self._log.warning("could not leave in order: %s", error)
        finally:
            self._collector.close()
