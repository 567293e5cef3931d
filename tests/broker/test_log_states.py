"""A partition's log against a list, on a virtual clock: whatever is done to it, in any order, it holds the same."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ottla.broker import retention
from ottla.broker.cleaner import _replace, due
from ottla.broker.log import compaction, partition_log, recovery, swap
from ottla.broker.log.checkpointer import Checkpointer
from ottla.broker.log.compression import open_records
from ottla.broker.log.open_files import FILES
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.rewriting import records_of
from ottla.broker.topic_configs import TopicConfig
from tests.broker.batches import batch, headers, parts

SEGMENT_BYTES = 700
RETENTION_MS = 100_000
KEYS = [b"a", b"b", b"c"]


class Record:
    """What the model knows of a record. A compacted one may be there or not if a later one has its key."""

    def __init__(self, key: bytes, value: bytes, timestamp: int) -> None:
        self.key = key
        self.value = value
        self.timestamp = timestamp
        self.may_be_gone = False


class LogMachine(RuleBasedStateMachine):
    """Batches are appended, become durable, are read, deleted, compacted; the process stops, or crashes."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1_700_000_000_000
        self.patched = [(module, module.now_ms) for module in (retention, recovery, partition_log)]
        for module, _ in self.patched:
            module.now_ms = lambda: self.now  # type: ignore[attr-defined]
        self.model: list[Record] = []
        self.durable = 0  # records
        self.start = 0
        self.sequence = 0
        self.config = TopicConfig({"retention.ms": str(RETENTION_MS), "delete.retention.ms": "0"}, {})
        self.log = PartitionLog(self.folder / "log")
        self.log.recover(0)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.log.close()
            shutil.rmtree(self.folder)
            for module, original in self.patched:
                module.now_ms = original  # type: ignore[attr-defined]

    @rule(
        keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=4),
        size=st.integers(0, 200),
        later=st.integers(0, 30_000),
    )
    def append(self, keys: list[bytes], size: int, later: int) -> None:
        self.now += later
        for key in keys:
            value = b"%d:" % len(self.model) + bytes(size)
            data = batch([value], key=key, timestamps=[self.now], producer_id=9, epoch=0, sequence=self.sequence)
            header, body = parts(data)
            assert self.log.duplicate_of(header) is None
            appended = self.log.append(header, body, stamp=False, segment_bytes=SEGMENT_BYTES, segment_ms=1 << 40)
            assert appended.base_offset == len(self.model)
            self.model.append(Record(key, value, self.now))
            self.sequence += 1

    @precondition(lambda self: self.sequence > 0)
    @rule()
    def retry(self) -> None:
        """A retry of the last batch is known, with the offset that it has."""
        data = batch([b""], producer_id=9, epoch=0, sequence=self.sequence - 1)
        found = self.log.duplicate_of(parts(data)[0])
        assert found is not None
        assert found.base_offset == len(self.model) - 1

    @rule()
    def sync(self) -> None:
        mark = self.log.mark()
        self.log.sync()
        self.log.synced(mark)
        self.durable = len(self.model)

    @rule(share=st.floats(0, 1))
    def delete_records(self, share: float) -> None:
        offset = int(share * self.durable)
        if offset > self.start:
            self.start = offset
            self._remove(self.log.delete_until(offset))

    @rule(later=st.integers(0, 2 * RETENTION_MS))
    def retain(self, later: int) -> None:
        self.now += later
        before = self.log.start_offset
        self._remove(retention.apply(self.config, self.log))
        for record in self.model[before : self.log.start_offset]:
            assert record.timestamp < self.now - RETENTION_MS, "a young record was removed"
        self.start = max(self.start, self.log.start_offset)

    @staticmethod
    def _remove(segments: list[Any]) -> None:
        for segment in segments:
            segment.delete()
            segment.close()

    @rule(in_steps=st.booleans())
    def compact(self, in_steps: bool) -> None:
        found = due(self.config, self.log, self.now)
        if found is None:
            return
        log = self.log
        sources = [compaction.Source(s.base_offset, s.path, s.size) for s in log.segments[: found.until]]
        plan = compaction.Plan(
            sources=sources,
            end=log.segments[found.until].base_offset,
            first_dirty=max(log.cleaned, log.start_offset),
            last_of_producers=log.producers.last_offsets(),
            aborted=[],
            now=self.now,
            delete_retention_ms=0,
            segment_bytes=2 * SEGMENT_BYTES,
            keys_max=2 if in_steps else 1000,
        )
        pace = compaction.Pace(threading.Event(), rest=0)
        keys = compaction.build_map(plan, pace)
        rewriter = compaction.Rewriter(plan, keys, pace)
        for group in compaction.groups(plan, keys.latest + 1):
            base = group[0].base_offset
            following = [one.base_offset for one in sources if one.base_offset > group[-1].base_offset]
            written = rewriter.write(group, swap.cleaned_path(log.folder, base))
            path = swap.commit(log.folder, base, following[0] if following else plan.end)
            old = _replace(log, group, path, written)
            swap.remove_replaced(log.folder, [one.base_offset for one in group])
            new = next(segment for segment in log.segments if segment.base_offset == base)
            new.path = swap.finish(path)
            for segment in old:
                segment.close()
        log.cleaned = keys.latest + 1
        latest: dict[bytes, int] = {}
        for offset in range(self.start, keys.latest + 1):
            latest[self.model[offset].key] = offset
        for offset in range(keys.latest + 1):
            self.model[offset].may_be_gone |= offset < latest.get(self.model[offset].key, offset + 1)

    @rule()
    def save_a_checkpoint(self) -> None:
        self.sync()
        Checkpointer(lambda: [self.log], lambda _, done: done(), lambda _: None, 30.0).close()

    @rule()
    def stop_and_start(self) -> None:
        self.save_a_checkpoint()
        self._open_again()

    @rule(torn=st.integers(0, 90))
    def crash(self, torn: int) -> None:
        """As kill -9: what was written is there, but for the batch that was being written."""
        if self.log.segments:
            data = batch([b"never whole"], producer_id=9, epoch=0, sequence=self.sequence)
            with self.log.segments[-1].path.open("ab") as file:
                file.write(data[: min(torn, len(data) - 1)])
        self._open_again()

    def _open_again(self) -> None:
        self.log.close()
        cleaned = self.log.cleaned
        self.log = PartitionLog(self.folder / "log")
        self.log.recover(self.start)
        assert self.log.cleaned in (0, cleaned)
        self.durable = len(self.model)

    @rule(limit=st.integers(1, 3))
    def few_open_files(self, limit: int) -> None:
        kept, FILES.limit = FILES.limit, limit
        try:
            self._check_all()
        finally:
            FILES.limit = kept

    @invariant()
    def ends_are_right(self) -> None:
        if hasattr(self, "log"):
            assert self.log.next_offset == len(self.model)
            assert self.log.high_watermark <= len(self.model)
            assert self.log.high_watermark >= self.durable
            assert self.log.start_offset == self.start

    @rule()
    def read(self) -> None:
        self._check_all()

    def _check_all(self) -> None:
        found = self._stored()
        for offset in range(self.start, self.log.high_watermark):
            record = self.model[offset]
            if offset in found:
                assert found[offset] == (record.key, record.value, record.timestamp)
            else:
                assert record.may_be_gone, f"offset {offset} is lost"

    def _stored(self) -> dict[int, tuple[bytes, bytes, int]]:
        offset, found = self.start, {}
        while data := self.log.read(offset, 400, at_least_one=True):
            at = 0
            for header in headers(data):
                assert header.last_offset >= offset, "a batch that was asked for already"
                opened = open_records(header.codec, data[at + 61 : at + header.size])
                for record in records_of(opened, header):
                    value = opened[record.stop - 1 - len(self.model[record.offset].value) : record.stop - 1]
                    found[record.offset] = (record.key or b"", value, record.timestamp)
                at += header.size
                offset = header.last_offset + 1
        return found


TestLog = LogMachine.TestCase
TestLog.settings = settings(
    max_examples=int(os.environ.get("OTTLA_LOG_STATES", "40")), stateful_step_count=40, deadline=None
)
