"""When checkpoints and indexes are written: bit by bit while the broker runs, all that are due when it stops.

A checkpoint is taken in the event loop (a copy of what is known), waits until the records it stands for are on the
disk, and is written in a thread of its own. What it costs is bounded: a log that grew by 64 MiB or has changed half a
minute ago is due, and at most 32 logs a second.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from ottla.broker.log import checkpoint, index
from ottla.broker.log.checkpoint import Checkpoint
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.segment import Segment

logger = logging.getLogger("ottla.broker")

INTERVAL_S = 1.0
DUE_AFTER_BYTES = 64 << 20
AT_ONCE = 32
PRODUCERS_FOR_ONE = 2000  # to copy the state of so many takes some milliseconds
CLOSE_S = 0.4

Callback = Callable[[], None]


class _Job:
    """A checkpoint and the indexes beside it, on their way to the disk."""

    __slots__ = ("folder", "indexes", "saved", "state")

    def __init__(self, log: PartitionLog, state: Checkpoint) -> None:
        self.folder = log.folder
        self.state = state
        self.indexes: list[tuple[Path, bytes]] = []
        self.saved: list[tuple[Segment, int]] = []
        for segment in log.segments:
            unsaved = segment.unsaved_index(growing=segment is log.segments[-1])
            if unsaved:
                path, content, covered = unsaved
                self.indexes.append((path, content))
                self.saved.append((segment, covered))

    def write(self, *, durable: bool) -> None:
        """Raises OSError."""
        for path, content in self.indexes:
            index.write_index(path, content)
        checkpoint.write_checkpoint(self.folder, checkpoint.encode(self.state), durable=durable)

    def written(self) -> None:
        for segment, covered in self.saved:
            segment.index_saved(covered)


class Checkpointer:
    """Keeps the checkpoints of all logs recent. Belongs to the event loop's thread.

    Args:
        logs: Gives all logs there are.
        flush: Makes a log durable, then calls back in the event loop.
        post: Runs a function in the event loop's thread; callable from any thread.
        due_after_s: A log that has changed is due so long afterwards; later if it remembers very many producers.
        due_after_bytes: And when it has grown by so much.
    """

    def __init__(
        self,
        logs: Callable[[], Iterable[PartitionLog]],
        flush: Callable[[PartitionLog, Callback], None],
        post: Callable[[Callback], None],
        due_after_s: float,
        due_after_bytes: int = DUE_AFTER_BYTES,
    ) -> None:
        self._logs = logs
        self._flush = flush
        self._post = post
        self._due_after_s = due_after_s
        self._due_after_bytes = due_after_bytes
        self._dirty_since: dict[PartitionLog, tuple[float, int]] = {}
        self._jobs: queue.SimpleQueue[tuple[PartitionLog, _Job] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def tick(self, now: float) -> None:
        """Begins the checkpoints that are due at `now` (s, of a clock that never goes back)."""
        due: list[tuple[float, PartitionLog]] = []
        for log in self._logs():
            if log.cleaning or (log.next_offset == log.checkpointed and not log.checkpoint_wanted):
                continue
            since, size = self._dirty_since.setdefault(log, (now, log.size))
            grown = log.size - size
            due_after_s = self._due_after_s * (1 + len(log.producers.states) // PRODUCERS_FOR_ONE)
            if log.checkpoint_wanted or now - since >= due_after_s or grown >= self._due_after_bytes:
                due.append((grown, log))
        for log in [log for log in self._dirty_since if log.deleted]:
            del self._dirty_since[log]
        due.sort(key=lambda one: -one[0])
        for _, log in due[:AT_ONCE]:
            self.take(log)

    def take(self, log: PartitionLog) -> None:
        """Makes a checkpoint of a log now; it is written once what it stands for is durable."""
        self._dirty_since.pop(log, None)
        job = _Job(log, log.checkpoint())
        generation = log.generation
        self._flush(log, partial(self._durable, log, generation, job))

    def _durable(self, log: PartitionLog, generation: int, job: _Job) -> None:
        if log.deleted or log.generation != generation:
            return  # its segments are not those any more
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
            self._thread.start()
        self._jobs.put((log, job))

    def _run(self) -> None:
        while True:
            item = self._jobs.get()
            if item is None:
                return
            log, job = item
            try:
                job.write(durable=True)
            except OSError as error:
                if not log.deleted:
                    _could_not(log, error)
            else:
                self._post(job.written)

    def close(self) -> None:
        """Writes what is due, once the logs are durable; the last step before they are closed.

        Not forced to the disk: what power loss leaves of it is found out by its checksum, and the log is read instead.
        So it is with those for which there is no time left: a broker that is asked to stop is gone within a second,
        however many logs it has. Those that would take longest to read come first.
        """
        deadline = time.monotonic() + CLOSE_S
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
        due = [
            log
            for log in self._logs()
            if log.segments
            and not (log.deleted or log.cleaning)
            and (log.next_offset != log.checkpointed or log.checkpoint_wanted)
        ]
        due.sort(key=lambda log: self._dirty_since.get(log, (0, 0))[1] - log.size)
        for count, log in enumerate(due):
            if time.monotonic() > deadline:
                logger.info("%d of %d checkpoints were not written: no time left", len(due) - count, len(due))
                return
            try:
                content = checkpoint.encode(log.checkpoint())
                checkpoint.write_checkpoint(log.folder, content, durable=False)
            except OSError as error:
                _could_not(log, error)
        # Indexes are read when they are needed, and then made anew: they come last.
        for log in due:
            if time.monotonic() > deadline:
                return
            try:
                _write_indexes(log)
            except OSError as error:
                _could_not(log, error)


def _write_indexes(log: PartitionLog) -> None:
    for segment in log.segments:
        unsaved = segment.unsaved_index(growing=False)
        if unsaved:
            index.write_index(*unsaved[:2])


def _could_not(log: PartitionLog, error: OSError) -> None:
    logger.warning("%s: no checkpoint could be written, a start will take longer: %s", log.folder, error)
