"""What is due next."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from ottla.patterns.wheel import STALE_MIN, Wheel


def names(found: Sequence[tuple[bytes, Any]]) -> list[bytes]:
    return [name for name, _ in found]


def test_things_are_due_at_their_time_the_earliest_first() -> None:
    wheel: Wheel[str] = Wheel()
    assert wheel.next_due_ms() is None
    for name, due in ((b"c", 30), (b"a", 10), (b"b", 20)):
        wheel.put(name, due, "thing")
    assert wheel.next_due_ms() == 10
    assert wheel.due(9, 10) == []
    assert names(wheel.due(20, 10)) == [b"a", b"b"]
    assert names(wheel.due(30, 2)) == [b"a", b"b"]


def test_what_is_due_stays_until_it_is_removed() -> None:
    wheel: Wheel[str] = Wheel()
    wheel.put(b"a", 10, "thing")
    assert wheel.due(10, 1) == wheel.due(10, 1) == [(b"a", "thing")]
    wheel.remove(b"a")
    wheel.remove(b"a")
    assert (wheel.due(10, 1), wheel.next_due_ms(), len(wheel)) == ([], None, 0)


def test_a_thing_of_the_same_name_takes_the_place_of_the_other() -> None:
    wheel: Wheel[str] = Wheel()
    wheel.put(b"a", 10, "old")
    wheel.put(b"a", 20, "new")
    assert (wheel.next_due_ms(), len(wheel)) == (20, 1)
    assert wheel.due(20, 10) == [(b"a", "new")]


def test_things_put_in_and_taken_out_leave_nothing_behind() -> None:
    wheel: Wheel[int] = Wheel()
    for n in range(20 * STALE_MIN):
        wheel.put(b"%d" % n, 10_000_000 - n, n)
        wheel.remove(b"%d" % n)
    assert len(wheel._heap) <= STALE_MIN + 1


def test_it_gives_what_a_sorted_list_gives() -> None:
    chance, wheel, there = random.Random(3), Wheel[int](), dict[bytes, int]()
    for step in range(5000):
        name = b"%d" % chance.randrange(300)
        if chance.random() < 0.6:
            due = chance.randrange(1000)
            wheel.put(name, due, step)
            there[name] = due
        else:
            wheel.remove(name)
            there.pop(name, None)
        if step % 50 == 0:
            now = chance.randrange(1000)
            expected = sorted((due, name) for name, due in there.items() if due <= now)
            assert sorted((there[name], name) for name in names(wheel.due(now, 10_000))) == expected
            assert [there[name] for name in names(wheel.due(now, 10))] == [due for due, _ in expected[:10]]
