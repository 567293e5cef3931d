"""Fetch (1), versions 4 to 18: reads record batches, with a long poll.

Whole batches from the one that contains the offset, up to the high watermark. max_bytes and partition_max_bytes are
kept, but for the first batch of the reply, which comes whole even if it is larger. If fewer than min_bytes are there,
the reply waits for appends, max_wait_ms at most; errors are answered at once. Topic ids from version 13.

No incremental sessions: session id 0 is always answered, which clients take as "send everything each time"; a request
with another id gets FETCH_SESSION_ID_NOT_FOUND.

With the isolation level read_committed nothing comes from the last stable offset on, where the first open transaction
begins; the reply names the aborted transactions among the records, which the client passes over; and a long poll waits
for what is decided, so a commit wakes it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.log.batch import read_header
from ottla.broker.log.partition_log import LEADER_EPOCH, PartitionLog
from ottla.broker.loop import Timer
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.fetch import FETCH
from ottla.broker.wire.schema import Message
from ottla.errors import CorruptLog

API = FETCH
READ_COMMITTED = 1
SESSION_SINCE, TOPIC_IDS_SINCE = 7, 13
FINAL_EPOCH = -1


def handle(broker: Broker, call: Call) -> Message | None:
    body = call.body
    if call.version >= SESSION_SINCE and body["session_id"] != 0:
        return {"error_code": ErrorCode.FETCH_SESSION_ID_NOT_FOUND}
    logs, faulty = _readable(broker, call)
    wanted = min(body["min_bytes"], body["max_bytes"])
    if faulty or body["max_wait_ms"] <= 0 or not logs:
        # An empty fetch waits as well, so that a client with nothing assigned does not spin.
        if not logs and not faulty and body["max_wait_ms"] > 0:
            broker.loop.call_later(body["max_wait_ms"] / 1000, lambda: call.reply(_read(broker, call)))
            return None
        return _read(broker, call)
    available = _available(logs, wanted, committed=body["isolation_level"] == READ_COMMITTED)
    if available >= wanted:
        return _read(broker, call)
    _LongPoll(broker, call, logs, wanted, wanted - available)
    return None


def _available(logs: list[tuple[PartitionLog, int]], wanted: int, *, committed: bool) -> int:
    """How many bytes could be read now; counts no further than `wanted`."""
    available = 0
    for log, offset in logs:
        end = log.last_stable_offset if committed else log.high_watermark
        if offset < end:
            # Counting takes a look into the file: not for min_bytes=1, which nearly every client asks for.
            available += 1 if wanted <= 1 else log.bytes_from(offset, end)
        if available >= wanted:
            break
    return available


class _LongPoll:
    """A fetch that waits for records: until enough bytes are there, or the client's patience is over."""

    __slots__ = ("broker", "call", "logs", "missing", "timer", "waiters", "wanted")

    def __init__(
        self, broker: Broker, call: Call, logs: list[tuple[PartitionLog, int]], wanted: int, missing: int
    ) -> None:
        self.broker = broker
        self.call = call
        self.logs = logs
        self.wanted = wanted
        self.missing = missing
        self.timer: Timer = broker.loop.call_later(call.body["max_wait_ms"] / 1000, self.finish)
        committed = call.body["isolation_level"] == READ_COMMITTED
        self.waiters: list[tuple[PartitionLog, Callable[[int], None]]] = [
            (log, partial(self.decided, log, offset) if committed else self.grown) for log, offset in logs
        ]
        for log, waiter in self.waiters:
            log.waiters.add(waiter)

    def grown(self, size: int) -> None:
        self.missing -= size
        if self.missing <= 0:
            self.finish()

    def decided(self, log: PartitionLog, offset: int, _: int) -> None:
        """For read_committed: what has come may be open still, and a marker of few bytes may set free many."""
        if not log.deleted:
            if log.last_stable_offset <= offset:
                return
            if self.wanted > 1 and _available(self.logs, self.wanted, committed=True) < self.wanted:
                return
        self.finish()

    def finish(self) -> None:
        self.timer.cancel()
        # A request may name a partition twice: its second waiter comes too late.
        waiters, self.waiters = self.waiters, []
        for log, waiter in waiters:
            log.waiters.discard(waiter)
        if waiters and not self.call.connection.closed:
            self.call.reply(_read(self.broker, self.call))


def _readable(broker: Broker, call: Call) -> tuple[list[tuple[PartitionLog, int]], bool]:
    """The logs a fetch can wait on, with its offsets, and whether something is wrong with any of them."""
    logs: list[tuple[PartitionLog, int]] = []
    faulty = False
    for wanted in call.body["topics"]:
        topic = broker.topic(wanted["topic"], wanted["topic_id"] if call.version >= TOPIC_IDS_SINCE else None)
        for part in wanted["partitions"]:
            log = topic.partition(part["partition"]) if topic else None
            if log is None or _fault(log, part):
                faulty = True
            else:
                logs.append((log, part["fetch_offset"]))
    return logs, faulty


def _fault(log: PartitionLog, part: Message) -> ErrorCode | None:
    epoch = part["current_leader_epoch"]
    if epoch > LEADER_EPOCH:
        return ErrorCode.UNKNOWN_LEADER_EPOCH
    if FINAL_EPOCH < epoch < LEADER_EPOCH:
        return ErrorCode.FENCED_LEADER_EPOCH
    if not log.start_offset <= part["fetch_offset"] <= log.next_offset:
        return ErrorCode.OFFSET_OUT_OF_RANGE
    return None


def _read(broker: Broker, call: Call) -> Message:
    by_id = call.version >= TOPIC_IDS_SINCE
    left = call.body["max_bytes"]
    committed = call.body["isolation_level"] == READ_COMMITTED
    nothing_yet = True
    answers: list[Message] = []
    for wanted in call.body["topics"]:
        topic = broker.topic(wanted["topic"], wanted["topic_id"] if by_id else None)
        partitions: list[Message] = []
        for part in wanted["partitions"]:
            log = topic.partition(part["partition"]) if topic else None
            answer = _read_partition(log, part, left, nothing_yet, committed)
            if topic is None and by_id:
                answer["error_code"] = ErrorCode.UNKNOWN_TOPIC_ID
            size = len(answer["records"])
            left -= size
            broker.metrics.bytes_fetched += size
            nothing_yet = nothing_yet and not size
            partitions.append(answer)
        answers.append({"topic": wanted["topic"], "topic_id": wanted["topic_id"], "partitions": partitions})
    return {"responses": answers}


def _read_partition(log: PartitionLog | None, part: Message, left: int, nothing_yet: bool, committed: bool) -> Message:
    answer: dict[str, Any] = {"partition_index": part["partition"], "records": b"", "high_watermark": -1}
    if log is None:
        answer["error_code"] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return answer
    fault = _fault(log, part)
    if fault:
        answer["error_code"] = fault
        return answer
    limit = min(part["partition_max_bytes"], left)
    offset, stable = part["fetch_offset"], log.last_stable_offset
    if nothing_yet or limit > 0:
        try:
            answer["records"] = log.read(
                offset, max(limit, 0), at_least_one=nothing_yet, until=stable if committed else None
            )
        except CorruptLog:
            answer["error_code"] = ErrorCode.CORRUPT_MESSAGE
            return answer
    if committed:
        answer["aborted_transactions"] = _aborted(log, offset, stable, answer["records"])
    answer["high_watermark"] = log.high_watermark
    answer["last_stable_offset"] = stable
    answer["log_start_offset"] = log.start_offset
    return answer


def _aborted(log: PartitionLog, offset: int, stable: int, records: bytes | memoryview) -> list[Message]:
    """The aborted transactions that lie, wholly or in part, in the records."""
    if not len(records) or not log.transactions.aborted:
        return []
    found = log.transactions.aborted_in(offset, stable)
    if not found:
        return []
    end, position = offset, 0
    while position < len(records):
        header = read_header(records, position)
        end = header.last_offset + 1
        position += header.size
    return [
        {"producer_id": one.producer_id, "first_offset": one.first_offset} for one in found if one.first_offset < end
    ]
