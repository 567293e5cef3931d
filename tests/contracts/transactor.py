"""A producer with a transactional id, spoken by hand: every request in any version, nothing done behind its back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ottla.broker.wire.messages.add_offsets_to_txn import ADD_OFFSETS_TO_TXN
from ottla.broker.wire.messages.add_partitions_to_txn import ADD_PARTITIONS_TO_TXN
from ottla.broker.wire.messages.describe_producers import DESCRIBE_PRODUCERS
from ottla.broker.wire.messages.describe_transactions import DESCRIBE_TRANSACTIONS
from ottla.broker.wire.messages.end_txn import END_TXN
from ottla.broker.wire.messages.fetch import FETCH
from ottla.broker.wire.messages.find_coordinator import FIND_COORDINATOR
from ottla.broker.wire.messages.init_producer_id import INIT_PRODUCER_ID
from ottla.broker.wire.messages.list_offsets import LIST_OFFSETS
from ottla.broker.wire.messages.offset_fetch import OFFSET_FETCH
from ottla.broker.wire.messages.produce import PRODUCE
from ottla.broker.wire.messages.txn_offset_commit import TXN_OFFSET_COMMIT
from ottla.broker.wire.schema import Message
from tests.broker.batches import batch, headers
from tests.contracts.asking import Asking
from tests.contracts.clients import PATIENCE_S, wait_until

NONE = 0
LOADING, NOT_AVAILABLE, NOT_COORDINATOR = 14, 15, 16
INVALID_TXN_STATE, INVALID_PRODUCER_ID_MAPPING, CONCURRENT = 48, 49, 51
FENCED, INVALID_EPOCH = 90, 47
TRANSACTIONAL, CONTROL = 0x10, 0x20
READ_UNCOMMITTED, READ_COMMITTED = 0, 1
_NOT_YET = (LOADING, NOT_AVAILABLE, NOT_COORDINATOR)


@dataclass(frozen=True)
class Fetched:
    """A partition's part of a Fetch answer. `batches`: base offset, and "data", "commit" or "abort"."""

    error: int
    high_watermark: int
    last_stable_offset: int
    aborted: list[tuple[int, int]] | None
    batches: list[tuple[int, str]]


class Transactor:
    """One transactional id on a connection. Requests use the producer id that `begin` got, unless told otherwise."""

    def __init__(self, asking: Asking, transactional_id: str) -> None:
        self.asking = asking
        self.id = transactional_id
        self.producer_id = -1
        self.epoch = -1
        self.sequences: dict[tuple[str, int], int] = {}

    def begin(self, version: int = 4, *, timeout_ms: int = 60_000) -> Transactor:
        """InitProducerId until it is granted, as clients do it."""
        # Apache Kafka makes its topics of offsets and transactions when somebody first asks for a coordinator.
        for kind in (0, 1):
            wait_until(partial(self._has_coordinator, kind), what="there is a coordinator")
        error, self.producer_id, self.epoch = self.patiently(lambda: self.initialise(version, timeout_ms=timeout_ms))
        assert error == NONE
        self.sequences.clear()
        return self

    def _has_coordinator(self, kind: int) -> bool:
        answer = self.asking.ask(FIND_COORDINATOR, 4, key_type=kind, coordinator_keys=[self.id])
        return bool(answer["coordinators"][0]["error_code"] == NONE)

    def initialise(
        self, version: int = 4, *, timeout_ms: int = 60_000, producer_id: int = -1, epoch: int = -1
    ) -> tuple[int, int, int]:
        """One InitProducerId: error, producer id, epoch."""
        answer = self.asking.ask(
            INIT_PRODUCER_ID,
            version,
            transactional_id=self.id,
            transaction_timeout_ms=timeout_ms,
            producer_id=producer_id,
            producer_epoch=epoch,
        )
        return answer["error_code"], answer["producer_id"], answer["producer_epoch"]

    def patiently(self, ask: Callable[[], tuple[int, int, int]]) -> tuple[int, int, int]:
        """Asks again while the answer is that the time is not ripe."""
        deadline = time.monotonic() + PATIENCE_S
        while (answer := ask())[0] in (*_NOT_YET, CONCURRENT):
            assert time.monotonic() < deadline, f"still {answer[0]}"
            time.sleep(0.02)
        return answer

    def add(self, topic: str, *partitions: int, version: int = 3, **other: object) -> list[int]:
        """AddPartitionsToTxn in its old form: the codes of the partitions, in their order."""
        body = {**self._who(other), "topics": [{"name": topic, "partitions": list(partitions)}]}
        answer = self.asking.ask(ADD_PARTITIONS_TO_TXN, version, **body)
        (of_topic,) = answer["results_by_topic"]
        codes = {one["partition_index"]: one["partition_error_code"] for one in of_topic["results_by_partition"]}
        return [codes[partition] for partition in partitions]

    def produce(
        self,
        topic: str,
        values: Sequence[bytes] = (b"v",),
        *,
        version: int = 9,
        partition: int = 0,
        sequence: int | None = None,
        transactional_id: str | None = "",
        transactional: bool = True,
        producer_id: int | None = None,
        epoch: int | None = None,
        timestamp_ms: int = 0,
    ) -> tuple[int, int]:
        """Produce of one batch: error and base offset. The sequence goes on from the last batch that was taken."""
        at = self.sequences.get((topic, partition), 0) if sequence is None else sequence
        records = batch(
            values,
            timestamps=[timestamp_ms or time.time_ns() // 1_000_000] * len(values),
            attributes=TRANSACTIONAL if transactional else 0,
            producer_id=self.producer_id if producer_id is None else producer_id,
            epoch=self.epoch if epoch is None else epoch,
            sequence=at,
        )
        answer = self.asking.ask(
            PRODUCE,
            version,
            transactional_id=self.id if transactional_id == "" else transactional_id,
            acks=-1,
            timeout_ms=10_000,
            topic_data=[{"name": topic, "partition_data": [{"index": partition, "records": records}]}],
        )
        part = answer["responses"][0]["partition_responses"][0]
        if part["error_code"] == NONE:
            self.sequences[topic, partition] = at + len(values)
        return part["error_code"], part["base_offset"]

    def add_offsets(self, group: str, version: int = 3, **other: object) -> int:
        body = {**self._who(other), "group_id": group}
        code: int = self.asking.ask(ADD_OFFSETS_TO_TXN, version, **body)["error_code"]
        return code

    def commit_offset(
        self,
        group: str,
        topic: str,
        offset: int,
        *,
        version: int = 3,
        partition: int = 0,
        metadata: str = "",
        **other: object,
    ) -> int:
        """TxnOffsetCommit of one partition. By `generation_id` and `member_id` it speaks as a member of the group."""
        part = {
            "partition_index": partition,
            "committed_offset": offset,
            "committed_leader_epoch": -1,
            "committed_metadata": metadata,
        }
        body: dict[str, object] = {
            "generation_id": -1,
            "member_id": "",
            "group_instance_id": None,
            **self._who(other),
            "group_id": group,
            "topics": [{"name": topic, "partitions": [part]}],
        }

        def ask() -> tuple[int, int, int]:
            answer = self.asking.ask(TXN_OFFSET_COMMIT, version, **body)
            return answer["topics"][0]["partitions"][0]["error_code"], -1, -1

        return self.patiently(ask)[0]

    def end(self, *, commit: bool, version: int = 3, **other: object) -> tuple[int, int, int]:
        """One EndTxn: error, and from version 5 the producer id and epoch from now on."""
        answer = self.asking.ask(END_TXN, version, **self._who(other), committed=commit)
        return answer["error_code"], answer["producer_id"], answer["producer_epoch"]

    def finish(self, *, commit: bool, version: int = 3) -> None:
        """Ends the transaction, takes up the new epoch of version 5, and waits until all markers are written."""
        error, producer_id, epoch = self.patiently(lambda: self.end(commit=commit, version=version))
        assert error == NONE
        if version >= 5:
            self.producer_id, self.epoch = producer_id, epoch
            self.sequences.clear()
        self.wait_for("CompleteCommit" if commit else "CompleteAbort")

    def describe(self) -> Message:
        (state,) = self.asking.ask(DESCRIBE_TRANSACTIONS, 0, transactional_ids=[self.id])["transaction_states"]
        return dict(state)

    def wait_for(self, state: str) -> None:
        wait_until(lambda: self.describe()["transaction_state"] == state, what=f"{self.id} is {state}")

    def _who(self, other: dict[str, object]) -> dict[str, object]:
        return {
            "transactional_id": self.id,
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
            **other,
        }


def fetch(
    asking: Asking,
    topic: str,
    offset: int = 0,
    *,
    isolation_level: int = READ_COMMITTED,
    partition: int = 0,
    max_wait_ms: int = 0,
    partition_max_bytes: int = 1 << 20,
) -> Fetched:
    """Fetch, version 11, of one partition."""
    send_fetch(
        asking, topic, offset, isolation_level=isolation_level, partition=partition, max_wait_ms=max_wait_ms,
        partition_max_bytes=partition_max_bytes,
    )  # fmt: skip
    return receive_fetch(asking)


def send_fetch(
    asking: Asking,
    topic: str,
    offset: int,
    *,
    isolation_level: int = READ_COMMITTED,
    partition: int = 0,
    max_wait_ms: int = 0,
    partition_max_bytes: int = 1 << 20,
) -> None:
    wanted = {"partition": partition, "fetch_offset": offset, "partition_max_bytes": partition_max_bytes}
    asking.send(
        FETCH,
        11,
        max_wait_ms=max_wait_ms,
        min_bytes=1,
        max_bytes=1 << 20,
        isolation_level=isolation_level,
        topics=[{"topic": topic, "partitions": [wanted]}],
    )


def receive_fetch(asking: Asking) -> Fetched:
    part = asking.receive()["responses"][0]["partitions"][0]
    aborted = part["aborted_transactions"]
    records = bytes(part["records"] or b"")
    batches, position = [], 0
    for header in headers(records):
        kind = "data"
        if header.attributes & CONTROL:
            # The type is in the key: after the header come five varints of one byte, and the key's version.
            kind = "commit" if records[position + 61 + 8] else "abort"
        batches.append((header.base_offset, kind))
        position += header.size
    return Fetched(
        part["error_code"],
        part["high_watermark"],
        part["last_stable_offset"],
        None if aborted is None else [(one["producer_id"], one["first_offset"]) for one in aborted],
        batches,
    )


def list_offset(asking: Asking, topic: str, timestamp: int, *, isolation_level: int = READ_COMMITTED) -> int:
    """ListOffsets, version 7, of partition 0."""
    part = {"partition_index": 0, "current_leader_epoch": -1, "timestamp": timestamp}
    topics = [{"name": topic, "partitions": [part]}]
    answer = asking.ask(LIST_OFFSETS, 7, replica_id=-1, isolation_level=isolation_level, topics=topics)
    found = answer["topics"][0]["partitions"][0]
    assert found["error_code"] == NONE
    offset: int = found["offset"]
    return offset


def committed(asking: Asking, group: str, topic: str, *, stable: bool = True, version: int = 7) -> tuple[int, int]:
    """OffsetFetch of partition 0 of a topic: error code and offset. `version` 7: one group; from 8: several."""

    def ask() -> Message:
        topics = [{"name": topic, "partition_indexes": [0]}]
        if version < 8:
            return asking.ask(OFFSET_FETCH, version, group_id=group, topics=topics, require_stable=stable)
        groups = [{"group_id": group, "topics": topics, "member_id": None, "member_epoch": -1}]
        return asking.ask(OFFSET_FETCH, version, groups=groups, require_stable=stable)["groups"][0]  # type: ignore[no-any-return]

    deadline = time.monotonic() + PATIENCE_S
    while (answer := ask())["error_code"] in _NOT_YET and time.monotonic() < deadline:
        time.sleep(0.05)
    assert answer["error_code"] == NONE
    part = answer["topics"][0]["partitions"][0]
    return part["error_code"], part["committed_offset"]


def producers(asking: Asking, topic: str, partition: int = 0) -> list[Message]:
    """DescribeProducers of one partition."""
    answer = asking.ask(DESCRIBE_PRODUCERS, 0, topics=[{"name": topic, "partition_indexes": [partition]}])
    part = answer["topics"][0]["partitions"][0]
    assert part["error_code"] == NONE
    active: list[Message] = part["active_producers"]
    return active
