"""The order of keys over retry topics: the argument in `ottla.listeners.parked`, put to the test step by step.

A model of one partition, its two retry topics and the one for records that wait: any interleaving of reading,
committing (late, and of one topic without another), crashing with writes on their way of which some arrive, of
waiting records that are moved on, and of a former owner that still writes. The rules are the real ones; an
independent checker looks at each call of the handler.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict, deque
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla import Retry, RetryTopics
from ottla.listeners import gaps
from ottla.listeners.agreement import RetryPlan
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.parked import ParkedKeys, Verdict
from ottla.listeners.parking import Parking
from ottla.listeners.ticket import WAITING, Original, Ticket, original

RETRY = Retry(attempts=1, topics=RetryTopics([1.0, 2.0], keep_key_order=True))
WAITS = "orders-retry-waiting"
TOPICS = ("orders", WAITS, "orders-retry-1", "orders-retry-2")
LAST_ATTEMPT = 3


class _Message:
    def __init__(self, topic: str, offset: int, key: bytes | None, headers: Any = None) -> None:
        self._topic, self._offset, self._key, self._headers = topic, offset, key, headers

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return b""

    def headers(self) -> Any:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, 0


class _Ignored:
    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


class _Plan(RetryPlan):
    def __init__(self) -> None:
        super().__init__(())
        assert RETRY.topics is not None
        self.topics = {"orders": RETRY.topics}
        self.levels = {WAITS: ("orders", WAITING), "orders-retry-1": ("orders", 1), "orders-retry-2": ("orders", 2)}


class _Kafka:
    """The logs, and what is committed: offset and metadata."""

    def __init__(self, keys: list[bytes | None]) -> None:
        self.logs: dict[str, list[Any]] = {topic: [] for topic in TOPICS}
        self.logs["orders"] = [_Message("orders", number, key) for number, key in enumerate(keys)]
        self.committed: dict[str, tuple[int, str]] = dict.fromkeys(TOPICS, (0, ""))
        self.written: Counter[int] = Counter()

    def write(self, copy: Any, message: Any) -> None:
        log = self.logs[copy.topic]
        log.append(_Message(copy.topic, len(log), message.key(), copy.headers))
        self.written[original(log[-1]).offset()] += 1


class _Owner:
    """Whoever has the partition."""

    def __init__(self, kafka: _Kafka, check: _Checker) -> None:
        self.kafka, self.check = kafka, check
        self.positions = {topic: offset for topic, (offset, _) in kafka.committed.items()}
        self.trackers = {topic: OffsetTracker(remember=topic == WAITS) for topic in TOPICS}
        self.parked = ParkedKeys()
        self.on_the_way: dict[str, deque[Any]] = {topic: deque() for topic in TOPICS}
        self.woken: list[Any] = []
        self.parked.wake = self.woken.extend
        self.parking = Parking(
            _Plan(),
            group="g",
            copies=cast(Any, self),
            observer=cast(Any, _Ignored()),
            log=logging.getLogger("test"),
            now=lambda: 0.0,
        )
        for topic in TOPICS:
            position, metadata = kafka.committed[topic]
            finished = gaps.decode(position, metadata)
            self.trackers[topic].parked = self.parked
            self.trackers[topic].restore(position, metadata)
            for message in kafka.logs[topic][position:] if topic != "orders" else ():
                ticket = Ticket.of(message)
                if ticket is not None and message.key() is not None and message.offset() not in finished:
                    number = ticket.origin[2]
                    unsure = number >= kafka.committed["orders"][0]
                    self.parked.found(message.key(), number, ticket.moves, unsure=unsure)

    def send(self, copy: Any, message: Any, tracker: Any) -> None:
        """As `Copies` does: the record is finished when its copy has arrived."""
        self.on_the_way[copy.topic].append((copy, message, tracker))

    def arrive(self, random: Random) -> bool:
        """The next write to some topic arrives; False if there is none."""
        if not (topics := [topic for topic, writes in self.on_the_way.items() if writes]):
            return False
        copy, message, tracker = self.on_the_way[random.choice(topics)].popleft()
        self.kafka.write(copy, message)
        tracker.finished(message.offset())
        return True

    def can(self, topic: str) -> bool:
        return self.positions[topic] < len(self.kafka.logs[topic]) or (topic == WAITS and bool(self.woken))

    def step(self, topic: str, random: Random) -> None:
        """Handles a record: the next one of a topic, or one that waited and has its turn."""
        if topic == WAITS and self.woken and (random.random() < 0.5 or self._at_end(topic)):
            self._handle(self.woken.pop(random.randrange(len(self.woken))))
            return
        message = self.kafka.logs[topic][self.positions[topic]]
        self.positions[topic] += 1
        if not self.trackers[topic].received([message.offset()]):
            self._handle(message)
        if (position := self.trackers["orders"].position) is not None and random.random() < 0.3:
            self.parked.passed(position)

    def _at_end(self, topic: str) -> bool:
        return self.positions[topic] == len(self.kafka.logs[topic])

    def _handle(self, message: Any) -> None:
        """As `record` does."""
        source, tracker = self.parking.source(message), self.trackers[message.topic()]
        assert source is not None
        if self._goes(self.parking.admit(message, source, tracker, "handler")):
            attempt = source.ticket.attempts + 1 if isinstance(source, Original) else 1
            error = self.check.called(source.key(), source.offset(), attempt)
            park = self.parking.park(message, source, tracker, error or ValueError(), RETRY, "handler", attempt)
            if error is None or not self._goes(park):
                self.check.done(source.key(), source.offset())
                tracker.finished(message.offset())
                self.parking.settled(message, source, tracker)

    @staticmethod
    def _goes(way: Any) -> bool:
        """What a way that needs no waiting returns."""
        try:
            next(way)
        except StopIteration as end:
            return bool(end.value)
        raise AssertionError("nothing here waits")

    def commit(self, topic: str) -> None:
        progress = self.trackers[topic].to_commit()
        if progress is not None:
            self.kafka.committed[topic] = (progress.offset, progress.metadata)


class _Checker:
    """Knows nothing of topics: only which numbers a key has, and which calls there were."""

    def __init__(self, keys: list[bytes | None], failures: dict[int, int]) -> None:
        self._numbers: dict[bytes | None, list[int]] = defaultdict(list)
        for number, key in enumerate(keys):
            self._numbers[key].append(number)
        self._failures = failures
        self.calls: Counter[int] = Counter()
        self.over: set[int] = set()

    def called(self, key: bytes | None, number: int, attempt: int) -> Exception | None:
        self.calls[number] += 1
        if key is not None:
            open_ones = [one for one in self._numbers[key] if one < number and one not in self.over]
            assert not open_ones, f"{number} of key {key!r} was called before {open_ones}"
        return TimeoutError() if attempt <= self._failures.get(number, 0) else None

    def done(self, key: bytes | None, number: int) -> None:
        self.over.add(number)


@settings(max_examples=int(os.environ.get("OTTLA_EXAMPLES", "80")))
@given(
    st.lists(st.sampled_from([b"a", b"b", b"c", None]), min_size=1, max_size=14),
    st.dictionaries(st.integers(0, 13), st.integers(1, LAST_ATTEMPT), max_size=8),
    st.booleans(),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_each_key_keeps_its_order_and_nothing_is_lost_whatever_happens(
    keys: list[bytes | None], failures: dict[int, int], crashes: bool, moves_on: bool, random: Random
) -> None:
    kafka, check = _Kafka(keys), _Checker(keys, failures)
    owner, former, left = _Owner(kafka, check), None, 6 if crashes else 0
    for _ in range(5000):
        able = [topic for topic in TOPICS if owner.can(topic)]
        arrived = (not able or random.random() < 0.5) and owner.arrive(random)
        if not able and not arrived:
            break
        if able:
            owner.step(random.choice(able), random)
        if random.random() < 0.3:
            owner.commit(random.choice(TOPICS))
        if moves_on and random.random() < 0.1:
            owner.parked.move_on()
        if left and random.random() < 0.15:
            left -= 1
            while random.random() < 0.5 and owner.arrive(random):
                pass  # Nobody knows of these that they have.
            former, owner = owner, _Owner(kafka, check)
        elif former is not None:
            # It does not know yet, and goes on; what it calls is not looked at: nobody can stop it.
            former.check = _Checker(keys, failures)
            former.check.over = set(range(len(keys)))
            if random.random() < 0.3:
                former.arrive(random)
            if (may := [topic for topic in TOPICS if former.can(topic)]) and random.random() < 0.5:
                former.step(random.choice(may), random)
            else:
                former = None
    assert not [topic for topic in TOPICS if owner.can(topic)], "it never comes to an end"
    assert check.over == set(range(len(keys)))
    if not crashes:
        assert len(owner.parked) == 0, "nothing is kept of records that have passed"
        expected = {number: min(failures.get(number, 0) + 1, LAST_ATTEMPT) for number in range(len(keys))}
        assert check.calls == expected
        assert [owner.trackers[topic].unfinished for topic in TOPICS] == [0, 0, 0, 0]
    if not crashes and not moves_on:
        least = {number: min(failures.get(number, 0), LAST_ATTEMPT - 1) for number in range(len(keys))}
        assert all(kafka.written[number] <= failed + 1 for number, failed in least.items()), "once more, to wait"


def test_so_many_records_of_a_key_cost_two_writes_each_where_each_fails_once() -> None:
    count = 2_000
    kafka, check = _Kafka([b"a"] * count), _Checker([b"a"] * count, dict.fromkeys(range(count), 1))
    owner, random = _Owner(kafka, check), Random(3)
    while able := [topic for topic in TOPICS if owner.can(topic)]:
        owner.step(able[0], random)
        owner.arrive(random)
    assert len(check.over) == count
    assert sum(kafka.written.values()) == 2 * count - 1


def test_a_ticket_survives_its_headers_and_gives_the_record_back() -> None:
    ticket = Ticket(
        origin=("orders", 3, 2**40, 1_700_000_000_123, 1),
        group="g",
        handler="reserve",
        due_ms=1_700_000_001_000,
        attempts=2,
        parks=1,
        moves=4,
        first_failure="builtins.TimeoutError: späť",
        first_failed_ms=1_700_000_000_000,
        last_failure="builtins.ValueError: no",
    )
    message: Any = _Message("orders-retry-1", 7, b"k", [("ce_id", b"e-1"), *ticket.headers()])
    assert Ticket.of(message) == ticket
    source = original(message)
    assert (source.topic(), source.partition(), source.offset()) == ("orders", 3, 2**40)
    assert (source.key(), source.headers(), source.timestamp()) == (b"k", [("ce_id", b"e-1")], (1, 1_700_000_000_123))


@pytest.mark.parametrize("origin", [None, b"orders", b"orders/x/0/0/1", b"orders/0/0/0/1/9"])
def test_a_ticket_that_cannot_be_read_is_none(origin: bytes | None) -> None:
    good = Ticket(origin=("orders", 0, 0, 0, 1), group="g", handler="h", due_ms=0).headers()
    headers = [(name, origin if name.endswith("origin") else value) for name, value in good]
    assert Ticket.read(headers) is None
    assert Ticket.read(None) is None
    assert original(cast(Any, _Message("orders", 0, b"k", headers))).topic() == "orders"


def test_of_several_copies_the_one_that_was_moved_most_often_counts() -> None:
    parked = ParkedKeys()
    parked.moved(b"a", 5, 3)
    parked.moved(b"a", 5, 2)
    parked.moved(b"a", 2, 1)
    assert len(parked) == 2
    assert parked.admit(b"a", 5, 2) is Verdict.STALE
    assert parked.admit(b"a", 5, 3) is Verdict.WAITS
    assert parked.admit(b"a", 2, 1) is Verdict.MAY
    assert parked.admit(b"a", 2, 0) is Verdict.STALE
    assert parked.admit(b"b", 9, 0) is Verdict.MAY
    assert parked.admit(b"b", 9, 1) is Verdict.STALE
    parked.settled(b"a", 2)
    parked.settled(b"a", 2)
    assert parked.admit(b"a", 5, 3) is Verdict.MAY
    assert len(parked) == 1


def test_held_records_come_back_one_by_one_or_all_at_once_to_be_moved_on() -> None:
    parked, woken = ParkedKeys(), list[Any]()
    parked.wake = woken.extend
    copies: list[Any] = [_Message(WAITS, offset, b"a") for offset in range(4)]
    for number in range(4):
        parked.moved(b"a", number, 1)
    assert [parked.admit(b"a", number, 1, copies[number]) for number in (1, 2, 3)] == [Verdict.HELD] * 3
    assert (parked.held(), woken) == (3, [])
    parked.settled(b"a", 0)
    assert (parked.held(), woken) == (2, [copies[1]])
    parked.move_on()
    assert (parked.held(), woken) == (0, copies[1:])
    assert parked.admit(b"a", 2, 1, copies[2]) is Verdict.WAITS
    parked.moved(b"a", 2, 2)
    assert parked.admit(b"a", 2, 2, copies[2]) is Verdict.HELD, "at the end of the topic it is held again"
    parked.settled(b"a", 1)
    assert parked.admit(b"a", 2, 2, copies[2]) is Verdict.MAY


def test_a_partition_is_full_by_records_or_by_the_bytes_that_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ottla.listeners.parked.HELD_BYTES_MAX", 3)
    parked = ParkedKeys()
    parked.moved(b"a", 0, 1)
    assert (parked.is_full(2), parked.is_full(1)) == (False, True)
    parked.moved(b"a", 1, 1)
    for number in (2, 3, 4):
        parked.moved(b"a", number, 1)
        parked.admit(b"a", number, 1, cast(Any, _Message(WAITS, number, b"a")))
    assert parked.is_full(100)
    parked.settled(b"a", 0)
    parked.settled(b"a", 1)
    assert not parked.is_full(100)


def test_what_was_found_after_the_topics_committed_position_waits_for_the_topic() -> None:
    parked, woken = ParkedKeys(), list[Any]()
    parked.wake = woken.extend
    copies: list[Any] = [_Message(WAITS, offset, b"a") for offset in range(9)]
    parked.found(b"a", 4, 1, unsure=False)
    parked.found(b"a", 6, 1, unsure=True)
    parked.found(b"a", 8, 1, unsure=True)
    assert parked.admit(b"a", 4, 1) is Verdict.MAY
    parked.settled(b"a", 4)
    assert parked.admit(b"a", 6, 1, copies[6]) is Verdict.HELD, "5 may be its key's, and its copy be lost"
    assert parked.admit(b"a", 8, 1, copies[8]) is Verdict.HELD
    assert parked.admit(b"a", 5, 0) is Verdict.MAY
    assert (parked.admit(b"a", 6, 0), woken) == (Verdict.STALE, [copies[6]])
    parked.settled(b"a", 6)
    assert woken == [copies[6]], "7 is not read"
    parked.passed(8)
    assert woken == [copies[6]]
    parked.passed(9)
    assert woken == [copies[6], copies[8]]
    assert not parked.is_full(2)
