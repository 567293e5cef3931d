"""Server-side assignors: complete, fair, sticky, whatever is asked of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.broker.groups.consumer.assignors import ASSIGNORS, Assignor, Subscriber
from ottla.broker.groups.consumer.member import IdPartition

TOPICS = [bytes([number]) * 16 for number in range(4)]
counts = st.dictionaries(st.sampled_from(TOPICS), st.integers(0, 8))
wishes = st.lists(st.frozensets(st.sampled_from(TOPICS)), min_size=1, max_size=8)
Assigned = dict[str, frozenset[IdPartition]]


def assign(assignor: Assignor, wanted: list[frozenset[bytes]], sizes: dict[bytes, int], before: Assigned) -> Assigned:
    members = [
        Subscriber(f"m{n}", None, frozenset(topics & sizes.keys()), before.get(f"m{n}", frozenset()))
        for n, topics in enumerate(wanted)
    ]
    return assignor(members, sizes)


def check(wanted: list[frozenset[bytes]], sizes: dict[bytes, int], assigned: Assigned) -> None:
    everything = {(t, i) for topics in wanted for t in topics & sizes.keys() for i in range(sizes[t])}
    given_out = [partition for share in assigned.values() for partition in share]
    assert len(given_out) == len(set(given_out)), "nothing twice"
    assert set(given_out) == everything, "everything that anybody wants"
    for number, topics in enumerate(wanted):
        assert {topic for topic, _ in assigned.get(f"m{number}", frozenset())} <= topics


@settings(deadline=None)
@given(wishes, counts, st.sampled_from(sorted(ASSIGNORS)))
def test_everything_is_given_to_one_who_wants_it(
    wanted: list[frozenset[bytes]], sizes: dict[bytes, int], name: str
) -> None:
    assigned = assign(ASSIGNORS[name], wanted, sizes, {})
    check(wanted, sizes, assigned)
    check(wanted, sizes, assign(ASSIGNORS[name], wanted, sizes, assigned))


@settings(deadline=None)
@given(wishes, counts)
def test_uniform_leaves_nobody_with_two_more_than_whoever_could_take_one(
    wanted: list[frozenset[bytes]], sizes: dict[bytes, int]
) -> None:
    assigned = assign(ASSIGNORS["uniform"], wanted, sizes, {})
    load = {f"m{n}": len(assigned.get(f"m{n}", ())) for n in range(len(wanted))}
    for name, share in assigned.items():
        for topic, _ in share:
            for number, topics in enumerate(wanted):
                if topic in topics:
                    assert load[name] <= load[f"m{number}"] + 1


@settings(deadline=None)
@given(wishes, counts)
def test_uniform_changes_nothing_when_nothing_has_changed(
    wanted: list[frozenset[bytes]], sizes: dict[bytes, int]
) -> None:
    before = assign(ASSIGNORS["uniform"], wanted, sizes, {})
    assert assign(ASSIGNORS["uniform"], wanted, sizes, before) == before


@settings(deadline=None)
@given(st.integers(1, 8), counts)
def test_uniform_takes_from_the_old_only_what_the_newcomer_gets(members: int, sizes: dict[bytes, int]) -> None:
    wanted = [frozenset(sizes)] * members
    before = assign(ASSIGNORS["uniform"], wanted, sizes, {})
    after = assign(ASSIGNORS["uniform"], [*wanted, frozenset(sizes)], sizes, before)
    for name, share in before.items():
        assert after[name] <= share
