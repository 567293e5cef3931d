"""Contract: groups that have members of both protocols, and the classic protocol's finer points, by raw requests."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.broker.groups.consumer_protocol import read_assignment, write_assignment
from ottla.broker.wire.messages.consumer_group_describe import CONSUMER_GROUP_DESCRIBE
from ottla.broker.wire.messages.describe_groups import DESCRIBE_GROUPS
from ottla.broker.wire.messages.heartbeat import HEARTBEAT
from ottla.broker.wire.messages.join_group import JOIN_GROUP
from ottla.broker.wire.messages.leave_group import LEAVE_GROUP
from ottla.broker.wire.messages.offset_commit import OFFSET_COMMIT
from ottla.broker.wire.messages.offset_delete import OFFSET_DELETE
from ottla.broker.wire.messages.sync_group import SYNC_GROUP
from ottla.testing import Broker
from tests.broker.groups.subscriptions import write_subscription
from tests.contracts.asking import Asking
from tests.contracts.clients import wait_until
from tests.contracts.consumer_groups import (
    GROUP_ID_NOT_FOUND,
    GROUP_SUBSCRIBED_TO_TOPIC,
    ILLEGAL_GENERATION,
    NON_EMPTY_GROUP,
    NONE,
    UNKNOWN_MEMBER_ID,
    Group,
    asking,
    group,
    topic,
    topic_of_3,
)

__all__ = ["asking", "group", "topic", "topic_of_3"]

INCONSISTENT_GROUP_PROTOCOL, REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED, FENCED_INSTANCE_ID = 23, 27, 79, 82


class Old:
    """The classic protocol's requests to a group."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.asking = group.asking

    def body(self, member: str, topics: list[str], owned: dict[str, list[int]] | None = None, **more: Any) -> Any:
        metadata = write_subscription(topics, owned or {})
        names = more.pop("protocols", ["range"])
        standard: dict[str, Any] = {
            "group_id": self.group.name,
            "member_id": member,
            "session_timeout_ms": 10_000,
            "rebalance_timeout_ms": 10_000,
            "protocol_type": "consumer",
            "protocols": [{"name": name, "metadata": metadata} for name in names],
        }
        return {**standard, **more}

    def join(self, member: str, topics: list[str], owned: dict[str, list[int]] | None = None, **more: Any) -> Any:
        return self.asking.ask(JOIN_GROUP, 9, **self.body(member, topics, owned, **more))

    def enter(self, topics: list[str], **more: Any) -> Any:
        """Joins as a new dynamic member does: it is given an id first."""
        told = self.join("", topics, **more)
        assert told["error_code"] == MEMBER_ID_REQUIRED
        return self.join(told["member_id"], topics, **more)

    def sync(self, joined: Any, assignments: dict[str, bytes] | None = None, **more: Any) -> Any:
        given = [{"member_id": name, "assignment": data} for name, data in (assignments or {}).items()]
        standard = {
            "group_id": self.group.name,
            "member_id": joined["member_id"],
            "generation_id": joined["generation_id"],
            "protocol_type": "consumer",
            "protocol_name": joined["protocol_name"],
            "assignments": given,
        }
        return self.asking.ask(SYNC_GROUP, 5, **{**standard, **more})

    def heartbeat(self, member: str, generation: int, instance: str | None = None) -> int:
        who = {"member_id": member, "generation_id": generation, "group_instance_id": instance}
        return int(self.asking.ask(HEARTBEAT, 4, group_id=self.group.name, **who)["error_code"])

    def leave(self, *members: tuple[str, str | None]) -> list[int]:
        named = [{"member_id": member, "group_instance_id": instance} for member, instance in members]
        answer = self.asking.ask(LEAVE_GROUP, 5, group_id=self.group.name, members=named)
        assert answer["error_code"] == NONE
        return [one["error_code"] for one in answer["members"]]

    def described(self) -> Any:
        return self.asking.ask(DESCRIBE_GROUPS, 6, groups=[self.group.name])["groups"][0]


@pytest.fixture
def old(group: Group) -> Old:
    return Old(group)


# --- classic members in a group of the new protocol ---


def test_a_classic_member_is_assigned_partitions_by_the_broker(old: Old, group: Group, topic_of_3: str) -> None:
    first = group.join("a", topic_of_3)
    joined = old.enter([topic_of_3])
    assert (joined["error_code"], joined["leader"], joined["members"]) == (NONE, "", [])
    assert (joined["protocol_type"], joined["protocol_name"]) == ("consumer", "range")
    assert joined["generation_id"] == first.epoch + 1
    assert read_assignment(old.sync(joined)["assignment"]) == {}
    group.beat("a", first.epoch)
    (lost,) = {0, 1, 2} - group.beat("a", first.epoch, **everything(topic_of_3)).partitions  # type: ignore[operator]
    group.own("a", first.epoch, *({0, 1, 2} - {lost}))
    # What it waited for is free: it is told to join again, and then is given it.
    member = joined["member_id"]
    assert old.heartbeat(member, joined["generation_id"]) == REBALANCE_IN_PROGRESS
    again = old.join(member, [topic_of_3])
    assert read_assignment(old.sync(again)["assignment"]) == {topic_of_3: [lost]}
    assert old.heartbeat(member, again["generation_id"]) == NONE


def everything(topic: str) -> dict[str, Any]:
    return {"rebalance_timeout_ms": 30_000, "subscribed_topic_names": [topic], "topic_partitions": []}


def test_faults_of_classic_members_are_told_as_ever(old: Old, group: Group, topic_of_3: str) -> None:
    group.join("a", topic_of_3)
    joined = old.enter([topic_of_3])
    member, generation = joined["member_id"], joined["generation_id"]
    assert old.join("", [topic_of_3], protocols=["other"])["error_code"] == INCONSISTENT_GROUP_PROTOCOL
    assert old.join("", [topic_of_3], protocol_type="connect")["error_code"] == INCONSISTENT_GROUP_PROTOCOL
    assert old.sync(joined, generation_id=generation + 1)["error_code"] == ILLEGAL_GENERATION
    assert old.sync(joined, protocol_name="other")["error_code"] == INCONSISTENT_GROUP_PROTOCOL
    assert old.sync(joined, member_id="nobody")["error_code"] == UNKNOWN_MEMBER_ID
    assert old.heartbeat(member, generation + 1) == ILLEGAL_GENERATION
    assert old.heartbeat("nobody", generation) == UNKNOWN_MEMBER_ID
    assert old.heartbeat("a", generation) == UNKNOWN_MEMBER_ID, "it speaks the other protocol"
    assert old.leave(("nobody", None), (member, None)) == [UNKNOWN_MEMBER_ID, NONE]
    assert old.heartbeat(member, generation) == UNKNOWN_MEMBER_ID


def test_any_member_may_be_removed_by_the_classic_request(old: Old, group: Group, topic: str) -> None:
    joined = group.join("a", topic)
    group.join("b", topic, instance_id="i")
    assert old.leave(("a", None), ("a", None), ("", "i"), ("", "other")) == [NONE, NONE, NONE, UNKNOWN_MEMBER_ID]
    assert group.beat("a", joined.epoch).error == UNKNOWN_MEMBER_ID
    assert group.described()["group_state"] == "Empty"


def test_commits_of_classic_members_have_their_generation(old: Old, group: Group, topic_of_3: str) -> None:
    group.join("a", topic_of_3)
    joined = old.enter([topic_of_3])
    old.sync(joined)
    member, generation = joined["member_id"], joined["generation_id"]
    assert group.commit(topic_of_3, member, generation, version=8) == NONE
    assert group.commit(topic_of_3, member, generation + 1, version=8) == ILLEGAL_GENERATION


def test_a_description_tells_which_protocol_a_member_speaks(old: Old, group: Group, topic_of_3: str) -> None:
    group.join("a", topic_of_3)
    joined = old.enter([topic_of_3])
    kinds = {member["member_id"]: member["member_type"] for member in group.described()["members"]}
    assert kinds == {"a": 1, joined["member_id"]: 0}


def test_a_static_member_changes_its_protocol_and_keeps_its_place(old: Old, group: Group, topic_of_3: str) -> None:
    joined = old.join("", [topic_of_3], group_instance_id="i")
    old.sync(joined, {joined["member_id"]: write_assignment(1, {topic_of_3: [0, 1, 2]})})
    upgraded = group.join("a", topic_of_3, instance_id="i")
    assert (upgraded.error, upgraded.epoch) == (NONE, joined["generation_id"]), "it wants what it wanted before"
    assert upgraded.partitions == {0, 1, 2}
    assert old.heartbeat(joined["member_id"], joined["generation_id"], "i") == FENCED_INSTANCE_ID
    back = old.join("", [topic_of_3], group_instance_id="i")
    assert back["error_code"] == NONE
    assert old.described()["error_code"] == NONE, "the last one of the new protocol is gone: the group is classic again"


# --- from one kind to the other ---


def test_a_classic_group_becomes_a_consumer_group_with_its_members(old: Old, group: Group, topic_of_3: str) -> None:
    joined = old.enter([topic_of_3])
    old.sync(joined, {joined["member_id"]: b""})
    second = group.join("a", topic_of_3)
    assert second.epoch == joined["generation_id"] + 1
    assert old.heartbeat(joined["member_id"], joined["generation_id"]) == REBALANCE_IN_PROGRESS
    assert {member["member_id"] for member in group.described()["members"]} == {"a", joined["member_id"]}
    assert old.described()["error_code"] == GROUP_ID_NOT_FOUND


def test_a_group_of_other_clients_than_consumers_stays_classic(old: Old, group: Group, topic: str) -> None:
    joined = old.enter([topic], protocol_type="connect")
    old.sync(joined, {joined["member_id"]: b""}, protocol_type="connect")
    refused = group.join("a", topic)
    assert refused.error == GROUP_ID_NOT_FOUND
    assert refused.message == (
        f"Cannot upgrade classic group {group.name} to consumer group because the group does not use the consumer "
        f"embedded protocol."
    )
    assert old.heartbeat(joined["member_id"], joined["generation_id"]) == NONE


def test_only_joining_turns_a_classic_group(old: Old, group: Group, topic: str) -> None:
    old.enter([topic])
    refused = group.beat("a", 3)
    assert (refused.error, refused.message) == (GROUP_ID_NOT_FOUND, f"Group {group.name} is not a consumer group.")
    assert group.beat("a", -1).error == GROUP_ID_NOT_FOUND


def test_an_empty_group_becomes_what_its_next_member_speaks(old: Old, group: Group, topic: str) -> None:
    group.join("a", topic)
    group.commit(topic, "a", 2)
    group.beat("a", -1)
    joined = old.enter([topic])
    assert joined["generation_id"] == 1
    assert old.described()["error_code"] == NONE
    old.leave((joined["member_id"], None))
    assert group.join("a", topic).epoch == 2
    assert group.fetch(topic, None, -1) == (NONE, 5), "offsets stay"


def test_a_group_becomes_classic_when_the_last_one_of_the_new_protocol_goes(
    old: Old, group: Group, topic_of_3: str
) -> None:
    group.join("a", topic_of_3)
    joined = old.enter([topic_of_3])
    old.sync(joined)
    group.beat("a", -1)
    described = old.described()
    assert (described["error_code"], described["protocol_type"]) == (NONE, "consumer")
    (answer,) = group.asking.ask(CONSUMER_GROUP_DESCRIBE, 1, group_ids=[group.name])["groups"]
    assert answer["error_code"] == GROUP_ID_NOT_FOUND
    member, generation = joined["member_id"], joined["generation_id"]
    assert old.heartbeat(member, generation) == REBALANCE_IN_PROGRESS
    again = old.join(member, [topic_of_3])
    assert (again["error_code"], again["leader"]) == (NONE, member)
    assert again["generation_id"] > generation


# --- the classic protocol ---


def test_several_members_leave_at_once_and_each_is_answered(old: Old, broker: Broker, topic: str) -> None:
    first = old.join("", [topic], group_instance_id="i1")
    old.sync(first, {first["member_id"]: b""})
    codes = old.leave(("", "i1"), ("", "i2"), ("nobody", None), ("nobody", "i1"))
    assert codes == [NONE, UNKNOWN_MEMBER_ID, UNKNOWN_MEMBER_ID, UNKNOWN_MEMBER_ID]
    assert old.described()["group_state"] == "Empty"


def test_a_static_leader_that_comes_back_is_told_to_skip_the_assignment(old: Old, topic: str) -> None:
    first = old.join("", [topic], group_instance_id="i")
    old.sync(first, {first["member_id"]: b"mine"})
    again = old.join("", [topic, "another"], group_instance_id="i")
    assert (again["error_code"], again["generation_id"]) == (NONE, first["generation_id"])
    assert (again["leader"], again["skip_assignment"]) == (again["member_id"], True)
    assert old.sync(again)["assignment"] == b"mine"
    assert old.heartbeat(first["member_id"], first["generation_id"], "i") == FENCED_INSTANCE_ID


def test_a_member_may_not_give_up_the_only_assignor_that_the_group_knows(old: Old, topic: str) -> None:
    joined = old.enter([topic])
    assert old.join(joined["member_id"], [topic], protocols=["other"])["error_code"] == INCONSISTENT_GROUP_PROTOCOL
    assert old.join(joined["member_id"], [topic], protocols=["other", "range"])["error_code"] == NONE


def test_a_member_that_never_asks_for_its_assignment_is_put_out(old: Old, group: Group, topic: str) -> None:
    silent = old.enter([topic], rebalance_timeout_ms=500)
    assert old.heartbeat(silent["member_id"], silent["generation_id"]) == NONE

    def gone() -> bool:
        return old.heartbeat(silent["member_id"], silent["generation_id"]) == UNKNOWN_MEMBER_ID

    wait_until(gone, what="the member is put out")


def test_a_commit_between_join_and_sync_is_refused(old: Old, group: Group, topic: str) -> None:
    joined = old.enter([topic])
    assert group.commit(topic, joined["member_id"], joined["generation_id"]) == REBALANCE_IN_PROGRESS
    old.sync(joined, {joined["member_id"]: b""})
    assert group.commit(topic, joined["member_id"], joined["generation_id"]) == NONE


def delete_offsets(group: Group, topic: str) -> tuple[int, int | None]:
    wanted = [{"name": topic, "partitions": [{"partition_index": 0}]}]
    answer = group.asking.ask(OFFSET_DELETE, 0, group_id=group.name, topics=wanted)
    parts = [part["error_code"] for one in answer["topics"] for part in one["partitions"]]
    return answer["error_code"], parts[0] if parts else None


def test_offsets_of_what_a_classic_group_reads_are_not_deleted(
    old: Old, group: Group, topic: str, broker: Broker
) -> None:
    joined = old.enter([topic])
    old.sync(joined, {joined["member_id"]: b""})
    assert delete_offsets(group, topic) == (NONE, GROUP_SUBSCRIBED_TO_TOPIC)
    old.leave((joined["member_id"], None))
    assert delete_offsets(group, topic) == (NONE, NONE)


def test_offsets_of_groups_whose_topics_nobody_knows_are_not_deleted(old: Old, group: Group, topic: str) -> None:
    joined = old.enter([topic], protocol_type="connect")
    old.sync(joined, {joined["member_id"]: b""}, protocol_type="connect")
    assert delete_offsets(group, topic) == (NON_EMPTY_GROUP, None)


def test_a_commit_names_its_static_member(old: Old, group: Group, topic: str) -> None:
    first = old.join("", [topic], group_instance_id="i")
    old.sync(first, {first["member_id"]: b""})

    def commit(member: str, instance: str) -> int:
        committed = [{"partition_index": 0, "committed_offset": 5, "committed_metadata": ""}]
        answer = group.asking.ask(
            OFFSET_COMMIT,
            8,
            group_id=group.name,
            member_id=member,
            group_instance_id=instance,
            generation_id_or_member_epoch=first["generation_id"],
            topics=[{"name": topic, "partitions": committed}],
        )
        return int(answer["topics"][0]["partitions"][0]["error_code"])

    assert commit(first["member_id"], "i") == NONE
    assert commit("another", "i") == FENCED_INSTANCE_ID
    assert commit(first["member_id"], "other") == UNKNOWN_MEMBER_ID


def test_a_second_connection_is_answered_when_all_have_joined(
    old: Old, group: Group, broker: Broker, topic: str
) -> None:
    joined = old.enter([topic])
    old.sync(joined, {joined["member_id"]: b""})
    with Asking(broker) as other:
        told = other.ask(JOIN_GROUP, 9, **old.body("", [topic]))
        other.send(JOIN_GROUP, 9, **old.body(told["member_id"], [topic]))
        wait_until(
            lambda: old.heartbeat(joined["member_id"], joined["generation_id"]) == REBALANCE_IN_PROGRESS,
            what="a rebalance",
        )
        again = old.join(joined["member_id"], [topic])
        second = other.receive()
    assert again["generation_id"] == second["generation_id"] == joined["generation_id"] + 1
    assert again["leader"] == second["leader"] == joined["member_id"]
    assert {one["member_id"] for one in again["members"]} == {joined["member_id"], told["member_id"]}
    assert second["members"] == []
