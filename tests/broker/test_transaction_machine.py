"""The transaction coordinator, with real logs, groups and journals, against a simple model, on a virtual clock.

Any order of requests, of late requests by fenced producers, of timeouts, and of crashes, also between the markers of
one decision: what is committed, aborted, open and held back has to be what the model says, and nothing else.
"""

from __future__ import annotations

import heapq
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ottla.broker.broker import Broker
from ottla.broker.config import BrokerConfig
from ottla.broker.groups.coordinator import Committed
from ottla.broker.log import producers
from ottla.broker.log.batch import CRC_FROM, TRANSACTIONAL, read_header
from ottla.broker.log.control import CONTROL_BATCH_SIZE, Marker, marker_of
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.transactions.admission import IMPLICIT_SINCE, admit
from ottla.broker.transactions.markers import BrokerMarkers
from ottla.broker.transactions.transaction import TV2, Refused
from ottla.broker.wire.errors import ErrorCode
from tests.broker.batches import batch

EXAMPLES = int(os.environ.get("OTTLA_TRANSACTION_STATES", "40"))
TOPIC, GROUP, PARTITIONS = "t", "g", 3
IDS = ("a", "b")
TIMEOUT_MS = 10_000
CHECK_MS = 1_000
ids = st.sampled_from(IDS)
partitions = st.integers(0, PARTITIONS - 1)
both = st.booleans()


class VirtualLoop:
    """A loop whose time passes when a test says so."""

    def __init__(self, start: float) -> None:
        self.time = start
        self._timers: list[tuple[float, int, VirtualTimer]] = []
        self._count = itertools.count()
        self._posted: list[Callable[[], None]] = []

    def now(self) -> float:
        return self.time

    def now_ms(self) -> int:
        return int(self.time * 1000)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> VirtualTimer:
        timer = VirtualTimer(callback)
        heapq.heappush(self._timers, (self.time + seconds, next(self._count), timer))
        return timer

    def post(self, callback: Callable[[], None]) -> None:
        self._posted.append(callback)

    def run(self) -> None:
        """Everything that is due now."""
        while self._posted:
            self._posted.pop(0)()

    def advance(self, seconds: float) -> None:
        end = self.time + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self.time = max(self.time, due)
            timer.fire()
            self.run()
        self.time = end


class VirtualTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        if self._callback is not None:
            self._callback()


class Crash(Exception):
    """The process is gone."""


class DiskFull(OSError):
    """There is no room for a marker."""


@dataclass
class Producer:
    """Who asks: what InitProducerId or EndTxn has told it."""

    producer_id: int
    epoch: int
    sequences: dict[int, int] = field(default_factory=dict)


@dataclass
class Model:
    """What a transactional id should be like. `open` holds the records of the open transaction by partition."""

    producer: Producer | None = None
    fenced: list[Producer] = field(default_factory=list)
    ongoing: bool = False
    started: float = 0.0
    added: set[int] = field(default_factory=set)
    with_group: bool = False
    open: dict[int, list[bytes]] = field(default_factory=dict)
    offset: int | None = None

    def close(self) -> None:
        self.ongoing, self.with_group, self.offset = False, False, None
        self.added, self.open = set(), {}


class TransactionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ottla-transactions-"))
        self.loop = VirtualLoop(1_000_000.0)
        self.values = (b"%d" % n for n in itertools.count())
        self.models = {name: Model() for name in IDS}
        self.committed: dict[int, list[bytes]] = {n: [] for n in range(PARTITIONS)}
        self.aborted = 0
        self.offset = -1
        self.given: set[tuple[int, int]] = set()
        self.broker = self.opened()
        self.broker.catalog.create(TOPIC, PARTITIONS, {})

    def opened(self) -> Broker:
        config = BrokerConfig(
            data_dir=self.folder,
            flush="none",
            transaction_abort_check_interval_ms=CHECK_MS,
            retention_check_interval_ms=1 << 40,
            checkpoint_interval_ms=3_600_000,
        )
        loop: Any = self.loop
        with mock.patch("ottla.broker.broker.now_ms", self.loop.now_ms):
            return Broker(config, self.folder, loop, lambda error: None)

    def teardown(self) -> None:
        self.broker.flusher.close()
        self.broker.close()
        shutil.rmtree(self.folder)

    @initialize()
    def begins(self) -> None:
        for name in IDS:
            self.begin(name)

    # What producers do

    @rule(name=ids)
    def begin(self, name: str) -> None:
        """A producer begins, if need be after the open transaction of the one before."""
        model = self.models[name]
        told: list[Producer] = []

        def ask() -> ErrorCode | None:
            try:
                self.broker.transactions.initialise(name, TIMEOUT_MS, None, lambda i, e: told.append(Producer(i, e)))
            except Refused as refused:
                return refused.code
            finally:
                self.loop.run()
            return None

        if model.ongoing:
            assert ask() is ErrorCode.CONCURRENT_TRANSACTIONS
            self.ended(model, commit=False)
        assert ask() is None
        self.renewed(model, told[0])

    def renewed(self, model: Model, producer: Producer) -> None:
        identity = producer.producer_id, producer.epoch
        assert identity not in self.given, "no producer id and epoch is given twice"
        self.given.add(identity)
        if model.producer is not None:
            model.fenced.append(model.producer)
        model.producer = producer

    @rule(name=ids, partition=partitions, implicit=both, count=st.integers(1, 3))
    def write(self, name: str, partition: int, implicit: bool, count: int) -> None:
        model = self.models[name]
        assert model.producer is not None
        values = [next(self.values) for _ in range(count)]
        refused = self.try_to_write(name, model.producer, partition, values, implicit=implicit)
        if implicit or partition in model.added:
            assert refused is None
            self.grown(model)
            model.added.add(partition)
            model.open.setdefault(partition, []).extend(values)
        else:
            assert refused is ErrorCode.INVALID_TXN_STATE

    def try_to_write(
        self, name: str, producer: Producer, partition: int, values: list[bytes], *, implicit: bool
    ) -> ErrorCode | None:
        log = self.log(partition)
        sequence = producer.sequences.get(partition, 0)
        data = batch(values, attributes=TRANSACTIONAL, producer_id=producer.producer_id, epoch=producer.epoch,
                     sequence=sequence)  # fmt: skip
        header = read_header(data)
        version = IMPLICIT_SINCE if implicit else IMPLICIT_SINCE - 3
        try:
            admit(self.broker.transactions, name, header, log, (TOPIC, partition), version)
            assert log.duplicate_of(header) is None
        except producers.Refused as refused:
            return refused.code
        log.append(header, data[CRC_FROM:], stamp=False, segment_bytes=1 << 30, segment_ms=1 << 40)
        self.broker.appended(log, lambda: None)
        producer.sequences[partition] = sequence + len(values)
        return None

    def grown(self, model: Model) -> None:
        if not model.ongoing:
            model.ongoing, model.started = True, self.loop.time

    @rule(name=ids, chosen=st.sets(partitions, min_size=1))
    def add(self, name: str, chosen: set[int]) -> None:
        model = self.models[name]
        assert model.producer is not None
        one = self.broker.transactions.find(name, model.producer.producer_id)
        self.broker.transactions.add(one, model.producer.epoch, {(TOPIC, n) for n in chosen}, set(), 0)
        self.grown(model)
        model.added |= chosen

    @rule(name=ids, offset=st.integers(0, 1000))
    def commit_offset(self, name: str, offset: int) -> None:
        model = self.models[name]
        assert model.producer is not None
        if any(other.offset is not None for other in self.models.values() if other is not model):
            return  # two transactions with offsets of one partition: no service does that
        one = self.broker.transactions.find(name, model.producer.producer_id)
        self.broker.transactions.add(one, model.producer.epoch, set(), {GROUP}, TV2)
        held = {(TOPIC, 0): Committed(offset, -1, "", 0)}
        self.broker.coordinator.hold(GROUP, one.producer_id, one.epoch, held, lambda: None)
        self.grown(model)
        model.with_group, model.offset = True, offset

    @rule(
        name=ids,
        commit=both,
        new=both,
        failure=st.sampled_from([None, Crash, DiskFull]),
        after=st.integers(0, PARTITIONS),
    )
    def end(self, name: str, commit: bool, new: bool, failure: type[Exception] | None, after: int) -> None:
        """An end; with a failure the process is gone, or the disk full for a while, after so many markers."""
        model = self.models[name]
        assert model.producer is not None
        told: list[tuple[int, int]] = []
        before, version = model.producer, TV2 if new else 0
        refused = None
        with self.failing(failure, after), suppress(Crash):
            try:
                self.ask_end(name, before, commit=commit, version=version, told=told)
            except Refused as refusal:
                refused = refusal.code
            self.loop.run()
        if not model.ongoing and (commit or not new):
            assert refused is ErrorCode.INVALID_TXN_STATE or not new
            return
        assert refused is None
        self.ended(model, commit=commit)
        if failure is Crash:
            self.restart()
        elif failure is DiskFull:
            self.time_passes(1.1)  # when the coordinator tries again
        one = self.broker.transactions.register.by_id[name]
        now = (one.producer_id, one.epoch) if new else (-1, -1)
        if new:
            self.renewed(model, Producer(one.producer_id, one.epoch))
        assert told == [now] or failure is Crash
        again: list[tuple[int, int]] = []
        self.ask_end(name, before, commit=commit, version=version, told=again)  # as if the answer had been lost
        assert again == [now]

    def ask_end(
        self, name: str, producer: Producer, *, commit: bool, version: int, told: list[tuple[int, int]]
    ) -> None:
        def done(code: ErrorCode, producer_id: int, epoch: int) -> None:
            assert code is ErrorCode.NONE
            told.append((producer_id, epoch))

        marker = Marker.COMMIT if commit else Marker.ABORT
        self.broker.transactions.end(name, producer.producer_id, producer.epoch, marker, version, done)

    def ended(self, model: Model, *, commit: bool) -> None:
        if commit:
            for partition, values in model.open.items():
                self.committed[partition] += values
            if model.offset is not None:
                self.offset = model.offset
        else:
            self.aborted += len(model.open)
        model.close()

    # What should have no effect

    @precondition(lambda self: any(model.fenced for model in self.models.values()))
    @rule(data=st.data(), partition=partitions, implicit=both, commit=both)
    def a_fenced_producer_tries(self, data: st.DataObject, partition: int, implicit: bool, commit: bool) -> None:
        name = data.draw(st.sampled_from([name for name in IDS if self.models[name].fenced]))
        producer = data.draw(st.sampled_from(self.models[name].fenced))
        refused = self.try_to_write(name, producer, partition, [b"fenced"], implicit=implicit)
        assert refused in (ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        with suppress(Refused):
            # With version 2 the end of the transaction before is answered again, but ends nothing.
            self.ask_end(name, producer, commit=commit, version=TV2 if implicit else 0, told=[])
        self.loop.run()

    # Time and crashes

    @rule(seconds=st.sampled_from([0.5, 3.0, 12.0]))
    def time_passes(self, seconds: float) -> None:
        with mock.patch("ottla.broker.broker.now_ms", self.loop.now_ms):
            self.loop.advance(seconds)
        for name, model in self.models.items():
            if model.ongoing and model.started + TIMEOUT_MS / 1000 <= self.loop.time - CHECK_MS / 1000:
                assert self.broker.transactions.register.by_id[name].state.value == "CompleteAbort"
            if model.ongoing and self.broker.transactions.register.by_id[name].state.value == "CompleteAbort":
                assert model.started + TIMEOUT_MS / 1000 <= self.loop.time, "not before its time"
                self.ended(model, commit=False)
                assert model.producer is not None
                model.fenced.append(model.producer)
                one = self.broker.transactions.register.by_id[name]
                model.producer = Producer(one.producer_id, one.epoch)
                self.given.add((one.producer_id, one.epoch))
                self.begin(name)

    @rule()
    def restart(self) -> None:
        """kill -9: what was written stays, what was going to happen does not."""
        self.broker.flusher.close()
        self.broker.close()
        self.loop = VirtualLoop(self.loop.time)
        self.broker = self.opened()
        self.loop.run()

    def failing(self, failure: type[Exception] | None, after: int) -> Any:
        """Lets the writing of markers fail, `after` so many."""
        left = iter(range(after))
        original = BrokerMarkers._mark_partition

        def mark(*arguments: Any) -> None:
            if failure is not None and next(left, None) is None:
                raise failure
            original(*arguments)

        return mock.patch.object(BrokerMarkers, "_mark_partition", mark)

    # What must hold

    @invariant()
    def logs_say_what_the_model_says(self) -> None:
        opened = {n: {m.producer.producer_id for m in self.models.values() if m.producer and n in m.open}
                  for n in range(PARTITIONS)}  # fmt: skip
        aborted = 0
        for partition in range(PARTITIONS):
            log = self.log(partition)
            found = replay(log)
            assert found.committed == self.committed[partition]
            assert set(found.open) == opened[partition]
            assert log.transactions.open == found.open
            assert log.last_stable_offset == min(found.open.values(), default=log.next_offset)
            stated = [(one.producer_id, one.first_offset, one.last_offset) for one in log.transactions.aborted]
            assert stated == found.aborted
            aborted += len(found.aborted)
        assert aborted == self.aborted

    @invariant()
    def the_group_says_what_the_model_says(self) -> None:
        stored = self.broker.coordinator.offsets.get(GROUP, {}).get((TOPIC, 0))
        assert (stored.offset if stored else -1) == self.offset
        held = any(model.offset is not None for model in self.models.values())
        assert ((TOPIC, 0) in self.broker.coordinator.pending.partitions(GROUP)) == held

    @invariant()
    def the_coordinator_says_what_the_model_says(self) -> None:
        for name, model in self.models.items():
            if model.producer is None:
                continue
            one = self.broker.transactions.register.by_id[name]
            assert (one.state.value == "Ongoing") == model.ongoing
            assert (one.producer_id, one.epoch) == (model.producer.producer_id, model.producer.epoch)
            assert one.partitions == {(TOPIC, n) for n in model.added}

    def log(self, partition: int) -> PartitionLog:
        return self.broker.catalog.topics[TOPIC].partitions[partition]


@dataclass
class Replayed:
    committed: list[bytes]
    open: dict[int, int]
    aborted: list[tuple[int, int, int]]


def replay(log: PartitionLog) -> Replayed:
    """What a log's batches and markers say, read from its files in the plainest way."""
    pending: dict[int, list[tuple[int, bytes]]] = {}
    committed: list[tuple[int, bytes]] = []
    aborted: list[tuple[int, int, int]] = []
    for segment in log.segments:
        for position, header in segment.headers():
            if header.is_control:
                marker, _ = marker_of(segment.read(position, CONTROL_BATCH_SIZE))
                written = pending.pop(header.producer_id, [])
                if marker is Marker.COMMIT:
                    committed += written
                elif written:
                    aborted.append((header.producer_id, written[0][0], header.base_offset))
            else:
                data = segment.read(position, header.size)[61:]
                pending.setdefault(header.producer_id, []).extend(
                    (header.base_offset + n, value) for n, value in enumerate(values_of(data))
                )
    opened = sorted((written[0][0], producer_id) for producer_id, written in pending.items())
    # Ordered by the transaction's first record, as the client sees them.
    return Replayed([v for _, v in committed], {producer: first for first, producer in opened}, aborted)


def values_of(data: bytes) -> list[bytes]:
    """The values of small records with the key b"key", as `batch` makes them."""
    values, at = [], 0
    while at < len(data):
        size = data[at] >> 1
        body = data[at + 1 : at + 1 + size]
        at += 1 + size
        rest = body[3 + 1 + 3 :]
        values.append(rest[1 : 1 + (rest[0] >> 1)])
    return values


TestTransactions = TransactionMachine.TestCase
TestTransactions.settings = settings(max_examples=EXAMPLES, stateful_step_count=25, deadline=None)
