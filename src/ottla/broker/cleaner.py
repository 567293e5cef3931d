"""Log compaction: which partition is next, and how its compacted segments take their place.

A partition is due when the part that was not compacted yet is more than min.cleanable.dirty.ratio of it, or holds a
record older than max.compaction.lag.ms. Only sealed segments are compacted, only records whose transactions are
decided, and none younger than min.compaction.lag.ms. The reading and writing happens in a thread, slice by slice; the
event loop only exchanges the segments. See `log.swap` for why a crash at any point leaves the old segments or the new
ones.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ottla.broker.log import swap
from ottla.broker.log.compaction import Pace, Plan, Rewriter, Source, Stopped, Written, build_map, groups
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.recovery import now_ms
from ottla.broker.log.segment import Segment
from ottla.broker.metrics import Metrics
from ottla.broker.topic_configs import TopicConfig
from ottla.errors import CorruptLog

logger = logging.getLogger("ottla.broker")

BYTES_A_KEY = 24  # as Kafka counts; here a key takes some 150
LOAD_FACTOR = 0.9
TRY_AGAIN_S = 60.0  # after a failure, such as a full disk
Callback = Callable[[], None]


class Due(NamedTuple):
    """A partition that could be compacted: how much of it is dirty, and up to which segment (excluded) it may be."""

    ratio: float
    overdue: bool
    until: int


def due(config: TopicConfig, log: PartitionLog, now: int) -> Due | None:
    """What there is to compact in a log at `now` (ms since the epoch); None for nothing."""
    first_dirty = max(log.cleaned, log.start_offset)
    stable = log.last_stable_offset
    clean = dirty = until = 0
    overdue = False
    for number, segment in enumerate(log.segments[:-1]):
        end = log.segments[number + 1].base_offset
        young = config.min_compaction_lag_ms > 0 and segment.max_timestamp > now - config.min_compaction_lag_ms
        if end > stable or (young and end > first_dirty):
            break
        until = number + 1
        if end <= first_dirty:
            clean += segment.size
        else:
            dirty += segment.size
            overdue = overdue or 0 <= segment.first_timestamp < now - config.max_compaction_lag_ms
    return Due(dirty / (clean + dirty), overdue, until) if dirty else None


class Cleaner:
    """Compacts one partition after the other. Belongs to the event loop's thread; `_clean` runs in its own.

    Args:
        logs: Gives all logs with their topics' settings.
        post: Runs a function in the event loop's thread; callable from any thread.
        flush: Makes a log durable, then calls back in the event loop.
        failed: Called with the error when a folder could not be made durable in the middle of an exchange.
        metrics: Counts.
        keys_max: How many keys are remembered at once.
    """

    def __init__(
        self,
        logs: Callable[[], Iterable[tuple[TopicConfig, PartitionLog]]],
        post: Callable[[Callback], None],
        flush: Callable[[PartitionLog, Callback], None],
        failed: Callable[[OSError], None],
        metrics: Metrics,
        dedupe_buffer_bytes: int,
    ) -> None:
        self._logs = logs
        self._post = post
        self._flush = flush
        self._failed = failed
        self._metrics = metrics
        self._keys_max = max(1, int(dedupe_buffer_bytes / BYTES_A_KEY * LOAD_FACTOR))
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._stuck: dict[PartitionLog, float] = {}  # could not be compacted; to be tried again then

    def tick(self) -> None:
        """Begins with the partition that needs it most, if none is being compacted."""
        if self._thread is not None or self._stop.is_set():
            return
        now = now_ms()
        best: tuple[tuple[bool, float], TopicConfig, PartitionLog, Due] | None = None
        for config, log in self._logs():
            if (
                not config.compact
                or len(log.segments) < 2
                or log.damage
                or self._stuck.get(log, 0.0) > time.monotonic()
            ):
                continue
            found = due(config, log, now)
            if found is None or not (found.overdue or found.ratio > config.min_cleanable_ratio):
                continue
            rank = (found.overdue, found.ratio)
            if best is None or rank > best[0]:
                best = rank, config, log, found
        if best is not None:
            _, config, log, found = best
            self._begin(config, log, found.until, now)

    def _begin(self, config: TopicConfig, log: PartitionLog, until: int, now: int) -> None:
        log.cleaning = True
        plan = Plan(
            sources=[Source(s.base_offset, s.path, s.size) for s in log.segments[:until]],
            end=log.segments[until].base_offset,
            first_dirty=max(log.cleaned, log.start_offset),
            last_of_producers=log.producers.last_offsets(),
            aborted=list(log.transactions.aborted),
            now=now,
            delete_retention_ms=config.delete_retention_ms,
            segment_bytes=config.segment_bytes,
            keys_max=self._keys_max,
        )
        self._thread = threading.Thread(target=self._clean, args=(log, plan), name="cleaner", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Gives up what is under way; what was exchanged halfway is finished at the next start."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    # In the cleaner's thread

    def _clean(self, log: PartitionLog, plan: Plan) -> None:
        began = time.monotonic()
        cleaned, freed = -1, 0
        try:
            pace = Pace(self._stop)
            keys = build_map(plan, pace)
            if keys.latest >= plan.first_dirty:
                rewriter = Rewriter(plan, keys, pace)
                for group in groups(plan, keys.latest + 1):
                    freed += self._exchange(log, plan, group, rewriter)
                cleaned = keys.latest + 1
                if rewriter.unopened:
                    logger.warning(
                        "%s: %d batches are kept whole, this Python cannot open their codec (install zstandard)",
                        log.folder,
                        rewriter.unopened,
                    )
        except Stopped:
            pass
        except CorruptLog as damage:
            self._post(partial(log.note_damage, str(damage)))
        except OSError as error:
            if not log.deleted:
                logger.error("%s could not be compacted, it stays as it is: %s", log.folder, error)
        except Exception:
            logger.exception("%s could not be compacted, it stays as it is", log.folder)
        self._post(partial(self._ended, log, cleaned, freed, time.monotonic() - began))

    def _exchange(self, log: PartitionLog, plan: Plan, group: list[Source], rewriter: Rewriter) -> int:
        """Writes a group anew and puts it in place. Gives how many bytes that freed."""
        base = group[0].base_offset
        path = swap.cleaned_path(log.folder, base)
        written = rewriter.write(group, path)
        following = [source.base_offset for source in plan.sources if source.base_offset > group[-1].base_offset]
        end = following[0] if following else plan.end
        try:
            if log.deleted:
                raise Stopped
            committed = swap.commit(log.folder, base, end)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        try:
            old = self._in_loop(lambda: _replace(log, group, committed, written))
            swap.remove_replaced(log.folder, [source.base_offset for source in group])
            self._in_loop(lambda: self._finish(log, committed, base, old))
        except OSError as error:
            if not log.deleted:
                self._post(partial(self._failed, error))
            raise
        return sum(source.size for source in group) - written.size

    def _in_loop(self, action: Callable[[], list[Segment]]) -> list[Segment]:
        """Runs a function in the event loop and waits for it. Raises Stopped, or what it raises."""
        done = threading.Event()
        results: list[list[Segment]] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                if not self._stop.is_set():
                    results.append(action())
            except (OSError, Stopped) as error:
                errors.append(error)
            finally:
                done.set()

        self._post(run)
        while not done.wait(0.05):
            if self._stop.is_set():
                raise Stopped
        if errors:
            raise errors[0]
        if not results:
            raise Stopped
        return results[0]

    # In the event loop's thread

    def _finish(self, log: PartitionLog, committed: Path, base: int, old: list[Segment]) -> list[Segment]:
        if log.deleted:
            raise Stopped
        segment = next(segment for segment in log.segments if segment.base_offset == base)
        segment.path = swap.finish(committed)

        def close() -> None:
            for gone in old:
                gone.close()

        # Also makes the new name durable; a flusher's thread may be syncing the old files until then.
        self._flush(log, close)
        return []

    def _ended(self, log: PartitionLog, cleaned: int, freed: int, seconds: float) -> None:
        if self._stop.is_set():
            return
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        if cleaned < 0:
            self._stuck = {one: until for one, until in self._stuck.items() if not one.deleted}
            self._stuck[log] = time.monotonic() + TRY_AGAIN_S
        else:
            log.cleaned = cleaned
            self._metrics.compactions += 1
            self._metrics.compaction_seconds += seconds
            self._metrics.compaction_bytes_freed += freed
            logger.info("%s: compacted up to offset %d, %d bytes freed", log.folder, cleaned, freed)
        log.cleaning = False
        with suppress(Exception):
            self.tick()


def _replace(log: PartitionLog, group: list[Source], path: Path, written: Written) -> list[Segment]:
    """Puts the new segment in the place of those of the group, and gives these."""
    if log.deleted:
        raise Stopped
    bases = {source.base_offset for source in group}
    old = [segment for segment in log.segments if segment.base_offset in bases]
    segment = Segment(path, group[0].base_offset, old[0].created_at)
    segment.adopt(written.index, written.size, written.first_timestamp)
    log.replace(old, segment)
    return old
