"""Tasks, their numbers, and where copies go."""

from __future__ import annotations

from ottla.streams.partitioning import murmur2, partition_of
from ottla.streams.runtime.group_view import Member, Roster
from ottla.streams.runtime.plan import Plan, numbered, tasks_of
from ottla.streams.runtime.standbys import standby_places, wanted_standbys
from ottla.streams.task import TaskId
from tests.streams.runtime.totals import topology

PARTITIONS = {"in": 3, "out": 3, "app-words-repartition": 2, "app-totals-changelog": 2}
TOPOLOGY = topology("in", "out").named("app")
TASKS = tasks_of(TOPOLOGY, PARTITIONS)
PLAN = Plan(TOPOLOGY, PARTITIONS, tuple(TASKS))


def test_there_is_a_task_for_each_partition_of_each_sub_topology() -> None:
    assert [str(task) for task in TASKS] == ["0_0", "1_0", "0_1", "1_1", "0_2"]
    assert PLAN.sources(TaskId(1, 1)) == [("app-words-repartition", 1)]
    assert PLAN.changelog(TaskId(1, 1), PLAN.stores(TaskId(1, 1))[0]) == ("app-totals-changelog", 1)


def test_a_task_keeps_its_number_when_others_come_or_go() -> None:
    assert numbered(["0_0", "9_9", "1_0"], [TaskId(0, 0), TaskId(0, 1), TaskId(1, 0)]) == ["0_0", "9_9", "1_0", "0_1"]


def member(name: str, *tokens: int) -> Member:
    return Member(name, f"app-{name}", f"{name}:1", tokens)


def test_a_copy_is_kept_where_the_task_goes_when_its_instance_dies() -> None:
    members = [member("a", 0, 3), member("b", 1, 4), member("c", 2)]
    places = {str(task): [one.instance_id for one in where] for task, where in standby_places(PLAN, members, 1).items()}
    # c has fewest: it gets the first of a's tasks, then both have as many, and b comes before c.
    assert places[str(TASKS[0])] == ["c"]
    assert places[str(TASKS[3])] == ["b"]
    assert all(places[str(TASKS[token])] != [one.instance_id] for one in members for token in one.tokens)


def test_every_instance_finds_its_own_copies_and_all_together_are_all() -> None:
    members = [member("a", 0, 3), member("b", 1, 4), member("c", 2)]
    wanted = [task for one in members for task in wanted_standbys(PLAN, members, one.instance_id, 2)]
    assert sorted(wanted) == sorted(task for task in TASKS for _ in range(2))


def test_alone_there_is_nowhere_to_keep_a_copy() -> None:
    assert wanted_standbys(PLAN, [member("a", 0, 1, 2, 3, 4)], "a", 1) == []


def test_a_token_that_two_instances_claim_is_the_later_ones() -> None:
    import msgspec

    roster = Roster()
    roster.hear(b"instance:a", msgspec.json.encode(member("a", 0, 1)), 1_000)
    roster.hear(b"instance:b", msgspec.json.encode(member("b", 1, 2)), 2_000)
    roster.hear(b"topology", b"{}", 3_000)
    assert {one.instance_id: one.tokens for one in roster.members(3_000)} == {"a": (0,), "b": (1, 2)}
    assert [one.instance_id for one in roster.members(11_500)] == ["b"]  # nothing was heard of a for ten seconds
    roster.hear(b"instance:b", None, 4_000)
    assert [one.instance_id for one in roster.members(5_000)] == ["a"]


def test_keys_are_hashed_as_kafkas_own_clients_hash_them() -> None:
    # Expected values from org.apache.kafka.common.utils.UtilsTest, as signed numbers.
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    assert {key: murmur2(key) - (1 << 32 if murmur2(key) >> 31 else 0) for key in known} == known
    assert {partition_of(b"%d" % n, 3) for n in range(50)} == {0, 1, 2}
