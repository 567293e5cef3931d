from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla import ConfigurationError, per_key, per_partition, unordered
from ottla.kafka.record import Message
from ottla.listeners.lanes import Lanes


@dataclass(frozen=True)
class _Record:
    number: int
    record_key: bytes | None

    def key(self) -> bytes | None:
        return self.record_key


def _records(*keys: bytes | None) -> list[Message]:
    return [cast(Message, _Record(number, key)) for number, key in enumerate(keys)]


def test_records_of_a_key_wait_for_the_one_in_hand() -> None:
    lanes = Lanes(by_key=True)
    first, second, other = _records(b"a", b"a", b"b")
    lanes.add([first, second, other])
    assert [lanes.take(), lanes.take(), lanes.take()] == [first, other, None]
    lanes.done(first)
    assert lanes.take() == second


def test_records_without_a_key_wait_for_nobody() -> None:
    lanes = Lanes(by_key=True)
    records = _records(None, None, None)
    lanes.add(records)
    assert [lanes.take() for _ in records] == records


def test_without_an_order_keys_do_not_matter() -> None:
    lanes = Lanes(by_key=False)
    records = _records(b"a", b"a")
    lanes.add(records)
    assert [lanes.take() for _ in records] == records


@given(st.lists(st.sampled_from([b"a", b"b", b"c", None])), st.randoms(use_true_random=False))
def test_every_record_comes_once_and_each_key_in_its_order(keys: list[bytes | None], random: Any) -> None:
    lanes = Lanes(by_key=True)
    waiting, in_hand, came = _records(*keys), [], []
    while waiting or lanes.ready or in_hand:
        step = random.randrange(3)
        if step == 0 and waiting:
            count = random.randint(1, len(waiting))
            lanes.add(waiting[:count])
            del waiting[:count]
        elif step == 1 and (record := lanes.take()) is not None:
            in_hand.append(record)
            came.append(record)
            held = [one.key() for one in in_hand if one.key() is not None]
            assert len(held) == len(set(held))
        elif in_hand:
            lanes.done(in_hand.pop(random.randrange(len(in_hand))))
    for key in {b"a", b"b", b"c"}:
        assert [one for one in came if one.key() == key] == [one for one in _records(*keys) if one.key() == key]
    assert sorted(one.number for one in cast(Any, came)) == list(range(len(keys)))
    assert not lanes._held, "nothing is kept of keys that have passed"


@pytest.mark.parametrize("make", [per_key, unordered])
@pytest.mark.parametrize("parallel", [0, -1, 10_001, True, "4"])
def test_how_many_at_once_is_checked(make: Any, parallel: Any) -> None:
    with pytest.raises(ConfigurationError, match="1 to 10000"):
        make(parallel)


def test_orders_are_named_as_they_are_written() -> None:
    assert [str(per_partition), str(per_key(4)), str(unordered(2)), str(per_key(1))] == [
        "per_partition",
        "per_key(4)",
        "unordered(2)",
        "per_key(1)",
    ]
