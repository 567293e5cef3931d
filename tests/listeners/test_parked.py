"""The order of keys over retry topics: the argument in `ottla.listeners.parked`, put to the test step by step.

A model of one partition and its two retry topics: any interleaving of reading, committing (late, and of one topic
without another), crashing, and of a former owner that still writes. The rules are the real ones; an independent checker
looks at each call of the handler.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla import Retry, RetryTopics
from ottla.listeners.agreement import RetryPlan
from ottla.listeners.parked import ParkedKeys, Spot, Stale
from ottla.listeners.parking import Parking
from ottla.listeners.ticket import Original, Ticket, original

RETRY = Retry(attempts=1, topics=RetryTopics([1.0, 2.0], keep_key_order=True))
TOPICS = ("orders", "orders-retry-1", "orders-retry-2")
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
        self.levels = {"orders-retry-1": ("orders", 1), "orders-retry-2": ("orders", 2)}


class _Kafka:
    """The logs, and what is committed."""

    def __init__(self, keys: list[bytes | None]) -> None:
        self.logs: dict[str, list[Any]] = {topic: [] for topic in TOPICS}
        self.logs["orders"] = [_Message("orders", number, key) for number, key in enumerate(keys)]
        self.committed = dict.fromkeys(TOPICS, 0)

    def send(self, copy: Any, message: Any, tracker: Any) -> None:
        log = self.logs[copy.topic]
        log.append(_Message(copy.topic, len(log), message.key(), copy.headers))
        tracker.finished(message.offset())


class _Owner:
    """Whoever has the partition; also its trackers, of which it needs `parked` and `finished`."""

    def __init__(self, kafka: _Kafka, check: _Checker) -> None:
        self.kafka, self.check = kafka, check
        self.positions = dict(kafka.committed)
        self.parked = ParkedKeys()
        self.parking = Parking(
            _Plan(),
            group="g",
            copies=cast(Any, kafka),
            observer=cast(Any, _Ignored()),
            log=logging.getLogger("test"),
            now=lambda: 0.0,
        )
        for level, topic in enumerate(TOPICS[1:], 1):
            for message in kafka.logs[topic][self.positions[topic] :]:
                ticket = Ticket.of(message)
                if ticket is not None and message.key() is not None:
                    self.parked.moved(message.key(), ticket.origin[2], Spot(level, ticket.moves, ticket.due_ms))

    def finished(self, offset: int) -> None: ...

    def can(self, topic: str) -> bool:
        return self.positions[topic] < len(self.kafka.logs[topic])

    def step(self, topic: str) -> None:
        """Handles the next record of a topic, as `record` does."""
        message = self.kafka.logs[topic][self.positions[topic]]
        source = self.parking.source(message)
        assert source is not None
        if self._goes(self.parking.admit(message, source, cast(Any, self), "handler")):
            attempt = source.ticket.attempts + 1 if isinstance(source, Original) else 1
            error = self.check.called(source.key(), source.offset(), attempt)
            park = self.parking.park(message, source, cast(Any, self), error or ValueError(), RETRY, "handler", attempt)
            if error is None or not self._goes(park):
                self.check.done(source.key(), source.offset())
                self.parking.settled(message, source, cast(Any, self))
        self.positions[topic] += 1

    @staticmethod
    def _goes(way: Any) -> bool:
        """What a way that needs no waiting returns."""
        try:
            next(way)
        except StopIteration as end:
            return bool(end.value)
        raise AssertionError("nothing here waits")

    def commit(self, topic: str) -> None:
        self.kafka.committed[topic] = self.positions[topic]


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
    st.randoms(use_true_random=False),
)
def test_each_key_keeps_its_order_and_nothing_is_lost_whatever_happens(
    keys: list[bytes | None], failures: dict[int, int], crashes: bool, random: Random
) -> None:
    kafka, check = _Kafka(keys), _Checker(keys, failures)
    owner, former, left = _Owner(kafka, check), None, 6 if crashes else 0
    for _ in range(5000):
        able = [topic for topic in TOPICS if owner.can(topic)]
        if not able:
            break
        owner.step(random.choice(able))
        if random.random() < 0.3:
            owner.commit(random.choice(TOPICS))
        if left and random.random() < 0.15:
            left -= 1
            former, owner = owner, _Owner(kafka, check)
        elif former is not None:
            # It does not know yet, and goes on; what it calls is not looked at: nobody can stop it.
            former.check = _Checker(keys, failures)
            former.check.over = set(range(len(keys)))
            if (may := [topic for topic in TOPICS if former.can(topic)]) and random.random() < 0.5:
                former.step(random.choice(may))
            else:
                former = None
    assert not [topic for topic in TOPICS if owner.can(topic)], "it never comes to an end"
    assert check.over == set(range(len(keys)))
    if not crashes:
        assert len(owner.parked) == 0, "nothing is kept of records that have passed"
        expected = {number: min(failures.get(number, 0) + 1, LAST_ATTEMPT) for number in range(len(keys))}
        assert check.calls == expected


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
    parked.moved(b"a", 5, Spot(2, 3, 0))
    parked.moved(b"a", 5, Spot(1, 2, 0))
    parked.moved(b"a", 2, Spot(1, 1, 0))
    assert len(parked) == 2
    assert isinstance(parked.admit(b"a", 5, 2), Stale)
    assert parked.admit(b"a", 5, 3) == Spot(1, 1, 0)
    assert parked.admit(b"a", 2, 1) is None
    assert isinstance(parked.admit(b"a", 2, 0), Stale)
    assert parked.admit(b"b", 9, 0) is None
    assert isinstance(parked.admit(b"b", 9, 1), Stale)
    parked.settled(b"a", 2)
    parked.settled(b"a", 2)
    assert parked.admit(b"a", 5, 3) is None
    assert len(parked) == 1
