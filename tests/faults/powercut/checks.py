"""What must hold of a broker that was started on what a power cut left."""

from __future__ import annotations

from ottla.broker.log.batch import read_header
from ottla.broker.log.compression import open_records
from ottla.broker.log.rewriting import records_of
from ottla.broker.wire.primitives import read_varint
from ottla.broker.wire.schema import Message
from tests.broker.running import Client
from tests.faults.powercut.load import COMMITTED, DELETED, GROUP, KEYED, PLAIN, Promises, wait_until

Stored = dict[int, tuple[bytes | None, bytes]]  # offset: key, value
UNKNOWN_TOPIC = 3
EARLIEST = -2


class Checks:
    """Compares what a broker serves with what was promised before the journal was `at` bytes long."""

    def __init__(self, client: Client, promises: Promises, at: int) -> None:
        self._client = client
        self._promises = promises
        self._at = at
        self.start = 0  # of the log that was read last

    def run(self) -> None:
        """Raises AssertionError."""
        self.compare()
        self._check_that_it_goes_on()

    def compare(self) -> None:
        """Changes nothing. Raises AssertionError."""
        self._check_topics()
        self._check_plain()
        self._check_keyed()
        self._check_deleted()
        self._check_transactions()
        self._check_offsets()

    def _exists(self, topic: str) -> bool:
        return self._promises.created.get(topic, 1 << 62) <= self._at

    def _check_topics(self) -> None:
        listed = self.topics()
        for topic in self._promises.created:
            deleted = self._promises.gone.get(topic)
            if self._exists(topic) and deleted is None:
                assert topic in listed, f"{topic} was created and is not there"
            if deleted and deleted <= self._at:
                assert topic not in listed, f"{topic} was deleted and is there"

    def _check_plain(self) -> None:
        stored = self.read(PLAIN)
        values = [value for _, value in stored.values()]
        self._check_promised(PLAIN, stored)
        for at, offset, value in self._promises.seen:
            if at <= self._at:
                assert stored.get(offset, (None, b""))[1] == value, f"offset {offset}, seen by a consumer, is lost"
        assert sorted(stored) == list(range(len(stored))), "an offset is missing or twice"
        assert values == self._promises.sent.get(PLAIN, [])[: len(values)], "lost, doubled or out of order"

    def _check_promised(self, topic: str, stored: Stored, start: int = 0) -> None:
        for at, offset, key, value in self._promises.produced.get(topic, []):
            if at <= self._at and offset >= start:
                assert stored.get(offset) == (key, value), f"{topic}: the acknowledged record {offset} is lost"

    def _check_keyed(self) -> None:
        stored = self.read(KEYED)
        last: dict[bytes | None, int] = {}
        for at, offset, key, _ in self._promises.produced.get(KEYED, []):
            if at <= self._at:
                last[key] = max(offset, last.get(key, -1))
        known = {offset: (key, value) for _, offset, key, value in self._promises.produced.get(KEYED, [])}
        for offset, record in stored.items():
            assert known.get(offset, record) == record, f"{KEYED}: offset {offset} holds another record"
            assert record[1] in self._promises.sent[KEYED]
        for key, offset in last.items():
            found = [one for one, (stored_key, _) in stored.items() if stored_key == key]
            assert found, f"{KEYED}: nothing is left of {key!r}"
            assert max(found) >= offset, f"{KEYED}: the last acknowledged record of {key!r}, {offset}, is lost"

    def _check_deleted(self) -> None:
        stored = self.read(DELETED)
        promised = max((offset for at, offset in self._promises.starts if at <= self._at), default=0)
        if stored:
            assert min(stored) >= promised, "a deleted record is back"
        self._check_promised(DELETED, stored, max(promised, self._promises.asked_start))

    def _check_transactions(self) -> None:
        if not self._exists(COMMITTED):
            return
        decided = [one for one in self._promises.transactions if one[0] <= self._at]
        expected = [value for _, committed, values in decided if committed for value in values]

        def all_there() -> bool:
            self.visible = self.read_committed()
            return self.visible[: len(expected)] == expected

        wait_until(all_there, "committed transactions are visible, in their order")
        aborted = {value for _, committed, values in decided if not committed for value in values}
        assert not aborted & set(self.visible), "aborted records are visible"
        later = [values for at, committed, values in self._promises.transactions if at > self._at and committed]
        self._check_undecided(self.visible[len(expected) :], later)

    def _check_undecided(self, rest: list[bytes], later: list[list[bytes]]) -> None:
        """What is visible of transactions of which nobody had been told yet that they were committed."""
        assert rest in ([], *later[:1]), "part of a transaction is visible"

    def _check_offsets(self) -> None:
        promised = max((offset for at, offset in self._promises.committed_offsets if at <= self._at), default=None)
        if promised is not None:
            assert self.committed_offset() >= promised, "a committed offset is lost"

    def _check_that_it_goes_on(self) -> None:
        self._client.create("after-the-cut")

    # Reading

    def topics(self) -> set[str]:
        return {topic["name"] for topic in self._client.ask("Metadata", 4, topics=None)["topics"]}

    def committed_offset(self) -> int:
        """Of the group in PLAIN; -1 if there is none."""
        wanted = [{"name": PLAIN, "partition_indexes": [0]}]
        answer = self._client.ask("OffsetFetch", 5, group_id=GROUP, topics=wanted)
        offset: int = answer["topics"][0]["partitions"][0]["committed_offset"]
        return offset

    def _fetch(self, topic: str, offset: int, isolation: int) -> Message:
        part = {"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1 << 24, "current_leader_epoch": -1}
        answer = self._client.ask(
            "Fetch", 11, replica_id=-1, max_wait_ms=0, min_bytes=1, max_bytes=1 << 24, isolation_level=isolation,
            session_id=0, session_epoch=-1, topics=[{"topic": topic, "partitions": [part]}], forgotten_topics_data=[],
            rack_id="",
        )  # fmt: skip
        found: Message = answer["responses"][0]["partitions"][0]
        return found

    def _batches(self, topic: str, isolation: int = 0) -> tuple[list[bytes], list[Message]]:
        wanted = [{"name": topic, "partitions": [{"partition_index": 0, "timestamp": EARLIEST}]}]
        answer = self._client.ask("ListOffsets", 1, replica_id=-1, topics=wanted)
        (first,) = answer["topics"][0]["partitions"]
        if first["error_code"] == UNKNOWN_TOPIC:
            assert not self._exists(topic), f"{topic} was created and is not there"
            return [], []
        offset = self.start = first["offset"]
        batches: list[bytes] = []
        aborted: list[Message] = []
        while True:
            part = self._fetch(topic, offset, isolation)
            assert part["error_code"] == 0, f"{topic}, offset {offset}: error {part['error_code']}"
            aborted += part["aborted_transactions"] or []
            data = bytes(part["records"] or b"")
            if not data:
                return batches, aborted
            at = 0
            while at < len(data):
                header = read_header(data, at)
                batches.append(data[at : at + header.size])
                at += header.size
                offset = header.last_offset + 1

    def read(self, topic: str) -> Stored:
        stored: Stored = {}
        for data in self._batches(topic)[0]:
            if not read_header(data).is_control:
                stored |= _records(data)
        # The first batch comes whole, as Kafka sends it; clients leave out what is before the start.
        return {offset: record for offset, record in stored.items() if offset >= self.start}

    def read_committed(self) -> list[bytes]:
        batches, aborted = self._batches(COMMITTED, isolation=1)
        begun = {(one["producer_id"], one["first_offset"]) for one in aborted}
        open_aborts: set[int] = set()
        visible: list[bytes] = []
        for data in batches:
            header = read_header(data)
            if (header.producer_id, header.base_offset) in begun:
                open_aborts.add(header.producer_id)
            if header.is_control:
                open_aborts.discard(header.producer_id)
            elif header.producer_id not in open_aborts:
                visible += [value for _, value in _records(data).values()]
        return visible


class LooseChecks(Checks):
    """For flush policies that sync later: `at` is how long the journal was an interval before the cut.

    Several transactions may be there that are younger, and of the last of them a part: what a coordinator has decided
    and what the partition holds are synced one after the other.
    """

    def _check_undecided(self, rest: list[bytes], later: list[list[bytes]]) -> None:
        values = [value for transaction in later for value in transaction]
        assert rest == values[: len(rest)], "lost, doubled or out of order in transactions"
        aborted = {value for _, committed, values in self._promises.transactions if not committed for value in values}
        assert not aborted & set(self.visible), "aborted records are visible"


def _records(data: bytes) -> Stored:
    header = read_header(data)
    opened = open_records(header.codec, data[61:])
    return {record.offset: (record.key, _value(opened, record.after_time)) for record in records_of(opened, header)}


def _value(opened: bytes, position: int) -> bytes:
    _, at = read_varint(opened, position)
    size, at = read_varint(opened, at)
    size, at = read_varint(opened, at + max(size, 0))
    return opened[at : at + size]
