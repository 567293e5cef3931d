"""Contract: the new consumer group protocol (KIP-848) step by step, with requests made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka.admin import NewPartitions

from ottla.testing import Broker
from tests.contracts.clients import admin, create_topic, wait_until
from tests.contracts.consumer_groups import (
    FENCED_INSTANCE_ID,
    FENCED_MEMBER_EPOCH,
    GROUP_ID_NOT_FOUND,
    INVALID_REGULAR_EXPRESSION,
    INVALID_REQUEST,
    NONE,
    UNKNOWN_MEMBER_ID,
    UNRELEASED_INSTANCE_ID,
    UNSUPPORTED_ASSIGNOR,
    Group,
    asking,
    group,
    made,
    moved_on,
    topic,
    topic_of_3,
)

__all__ = ["asking", "group", "topic", "topic_of_3"]


# --- joining ---


def test_the_first_member_is_given_everything(group: Group, topic_of_3: str) -> None:
    joined = group.join("a", topic_of_3)
    assert (joined.error, joined.member, joined.partitions) == (NONE, "a", {0, 1, 2})
    assert joined.epoch == 2


def test_without_a_change_a_heartbeat_says_nothing_of_partitions(group: Group, topic_of_3: str) -> None:
    joined = group.join("a", topic_of_3)
    again = group.own("a", joined.epoch, 0, 1, 2)
    assert (again.error, again.epoch, again.partitions) == (NONE, joined.epoch, None)


def test_a_heartbeat_that_says_everything_is_told_everything(group: Group, topic_of_3: str) -> None:
    joined = group.join("a", topic_of_3)
    fields = {"rebalance_timeout_ms": 1000, "subscribed_topic_names": [topic_of_3]}
    assert group.own("a", joined.epoch, 0, 1, 2, **fields).partitions == {0, 1, 2}


def test_the_interval_of_heartbeats_is_told(group: Group, topic: str) -> None:
    assert group.join("a", topic).interval_ms == 200


def test_version_0_gives_an_id_to_a_member_without_one(group: Group, topic: str) -> None:
    joined = group.join("", topic, version=0)
    assert joined.error == NONE
    assert joined.member
    assert group.beat(joined.member, joined.epoch, version=0).error == NONE


def test_no_topic_is_a_subscription(group: Group) -> None:
    joined = group.join("a", subscribed_topic_names=[])
    assert (joined.error, joined.epoch, joined.partitions) == (NONE, 1, set())


def test_a_topic_that_does_not_exist_is_no_error(group: Group, topic_name: str) -> None:
    joined = group.join("a", topic_name)
    assert (joined.error, joined.partitions) == (NONE, set())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"instance_id": ""}, "InstanceId can't be empty."),
        ({"rack_id": ""}, "RackId can't be empty."),
        ({"rebalance_timeout_ms": -1}, "RebalanceTimeoutMs must be provided in first request."),
        ({"topic_partitions": None}, "TopicPartitions must be empty when (re-)joining."),
        (
            {"subscribed_topic_names": None},
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ),
        ({"group": ""}, "GroupId can't be empty."),
    ],
)
def test_a_first_heartbeat_must_make_sense(group: Group, topic: str, fields: dict[str, Any], message: str) -> None:
    refused = group.join("a", topic, **fields)
    assert (refused.error, refused.message) == (INVALID_REQUEST, message)


@pytest.mark.parametrize(
    ("member", "epoch", "message"),
    [
        ("a", -3, "MemberEpoch is invalid."),
        ("a", -2, "InstanceId can't be null."),
        ("", -1, "MemberId can't be empty."),
        ("", 1, "MemberId can't be empty."),
    ],
)
def test_a_heartbeat_must_make_sense(group: Group, member: str, epoch: int, message: str) -> None:
    refused = group.beat(member, epoch)
    assert (refused.error, refused.message) == (INVALID_REQUEST, message)


def test_from_version_1_a_member_chooses_its_id(group: Group, topic: str) -> None:
    assert group.join("", topic).error == INVALID_REQUEST


def test_a_group_that_does_not_exist_has_no_members(group: Group) -> None:
    assert group.beat("a", 1).error == GROUP_ID_NOT_FOUND
    assert group.beat("a", -1).error == GROUP_ID_NOT_FOUND


def test_a_member_that_never_joined_is_unknown(group: Group, topic: str) -> None:
    group.join("a", topic)
    assert group.beat("b", 1).error == UNKNOWN_MEMBER_ID
    assert group.beat("b", -1).error == UNKNOWN_MEMBER_ID


def test_an_assignor_that_the_broker_does_not_have_is_refused(group: Group, topic: str) -> None:
    refused = group.join("a", topic, server_assignor="sticky")
    assert refused.error == UNSUPPORTED_ASSIGNOR
    assert refused.message == "ServerAssignor sticky is not supported. Supported assignors: uniform, range."


# --- epochs ---


def test_an_epoch_ahead_of_the_brokers_is_fenced(group: Group, topic: str) -> None:
    joined = group.join("a", topic)
    refused = group.beat("a", joined.epoch + 3)
    assert refused.error == FENCED_MEMBER_EPOCH
    assert refused.message == (
        f"The consumer group member has a greater member epoch ({joined.epoch + 3}) than the one known by the group "
        f"coordinator ({joined.epoch}). The member must abandon all its partitions and rejoin."
    )


def test_an_epoch_behind_is_accepted_of_a_member_whose_answer_was_lost(group: Group, topic_of_3: str) -> None:
    before, after = moved_on(group, topic_of_3)
    repeated = group.own("a", before, 0)
    assert (repeated.error, repeated.epoch) == (NONE, after)


def test_an_epoch_behind_is_fenced_if_the_member_owns_what_is_no_longer_its_own(group: Group, topic_of_3: str) -> None:
    before, _ = moved_on(group, topic_of_3)
    assert group.own("a", before, 2).error == FENCED_MEMBER_EPOCH
    assert group.beat("a", before).error == FENCED_MEMBER_EPOCH


def test_a_member_may_join_again_with_its_id(group: Group, topic_of_3: str) -> None:
    _, after = moved_on(group, topic_of_3)
    again = group.join("a", topic_of_3)
    assert (again.error, again.epoch, again.partitions) == (NONE, after, {0, 1})


# --- reconciliation ---


def test_a_partition_is_given_to_its_new_owner_only_when_the_old_one_has_let_go(group: Group, topic_of_3: str) -> None:
    first = group.join("a", topic_of_3)
    second = group.join("b", topic_of_3)
    assert (second.epoch, second.partitions) == (first.epoch + 1, set())
    told = group.beat("a", first.epoch)
    assert (told.epoch, told.partitions) == (first.epoch, {0, 1})
    assert group.beat("b", second.epoch).partitions is None, "a still owns it"
    assert group.own("a", first.epoch, 0, 1, 2).epoch == first.epoch, "a says it does"
    assert group.beat("b", second.epoch).partitions is None
    assert group.own("a", first.epoch, 0, 1).epoch == second.epoch
    assert group.beat("b", second.epoch).partitions == {2}


def test_a_member_that_leaves_makes_room_for_the_others(group: Group, topic_of_3: str) -> None:
    _, epoch = moved_on(group, topic_of_3)
    left = group.beat("a", -1)
    assert (left.error, left.member, left.epoch) == (NONE, "a", -1)
    assert group.until_given("b", epoch) == {0, 1, 2}


def test_a_member_that_does_not_let_go_in_time_is_put_out(group: Group, topic_of_3: str) -> None:
    first = group.join("a", topic_of_3, rebalance_timeout_ms=300)
    second = group.join("b", topic_of_3)
    assert group.beat("a", first.epoch).partitions == {0, 1}
    assert group.until_given("b", second.epoch) == {0, 1, 2}
    assert group.beat("a", first.epoch).error == UNKNOWN_MEMBER_ID


def test_a_subscription_may_change(group: Group, broker: Broker, topic_of_3: str) -> None:
    other = made(group, broker, f"{topic_of_3}-other", 5)
    first = group.join("a", topic_of_3)
    told = group.beat("a", first.epoch, subscribed_topic_names=[topic_of_3, other])
    assert (told.epoch, told.partitions) == (first.epoch + 1, {0, 1, 2, 3, 4})
    (member,) = group.described()["members"]
    assert sorted(member["subscribed_topic_names"]) == sorted([topic_of_3, other])


# --- assignors ---


def final(group: Group, topics: list[str], *members: str, assignor: str | None) -> dict[str, list[tuple[str, int]]]:
    """The target assignment after all members have joined, by topic name."""
    for member in members:
        group.join(member, *topics, server_assignor=assignor)
    described = group.described()
    assert described["assignor_name"] == (assignor or "uniform")
    return {
        member["member_id"]: [
            (topic["topic_name"], index)
            for topic in member["target_assignment"]["topic_partitions"]
            for index in topic["partitions"]
        ]
        for member in described["members"]
    }


def test_range_gives_ranges_of_each_topic_in_the_order_of_ids(group: Group, broker: Broker, topic_of_3: str) -> None:
    other = made(group, broker, f"{topic_of_3}-other", 4)
    shares = final(group, [topic_of_3, other], "b", "a", "c", assignor="range")
    assert {name: set(share) for name, share in shares.items()} == {
        "a": {(topic_of_3, 0), (other, 0), (other, 1)},
        "b": {(topic_of_3, 1), (other, 2)},
        "c": {(topic_of_3, 2), (other, 3)},
    }


def test_uniform_gives_everybody_as_much(group: Group, broker: Broker, topic_of_3: str) -> None:
    other = made(group, broker, f"{topic_of_3}-other", 4)
    shares = final(group, [topic_of_3, other], "a", "b", "c", assignor="uniform")
    assert sorted(map(len, shares.values())) == [2, 2, 3]
    assert len({partition for share in shares.values() for partition in share}) == 7


def test_uniform_moves_no_more_than_it_has_to(group: Group, broker: Broker, topic_name: str) -> None:
    topic = made(group, broker, topic_name, 6)
    before = final(group, [topic], "a", "b", assignor="uniform")
    after = final(group, [topic], "c", assignor="uniform")
    assert sorted(map(len, after.values())) == [2, 2, 2]
    assert set(after["a"]) < set(before["a"])
    assert set(after["b"]) < set(before["b"])


def test_uniform_is_fair_to_members_with_different_subscriptions(group: Group, broker: Broker, topic_of_3: str) -> None:
    other = made(group, broker, f"{topic_of_3}-other", 3)
    group.join("a", topic_of_3, other)
    group.join("b", topic_of_3)
    shares = final(group, [topic_of_3, other], "c", assignor=None)
    assert sorted(map(len, shares.values())) == [2, 2, 2]
    assert all(name == topic_of_3 for name, _ in shares["b"])


# --- patterns ---


def test_a_pattern_subscribes_to_what_matches_all_of_it(group: Group, broker: Broker, topic_name: str) -> None:
    made(group, broker, f"{topic_name}.orders", 2)
    made(group, broker, f"{topic_name}.orders-dlq", 4)
    joined = group.join("a", subscribed_topic_regex=f"{topic_name}\\.(orders|payments)")
    assert joined.error == NONE
    assert (joined.partitions or group.until_given("a", joined.epoch)) == {0, 1}
    (member,) = group.described()["members"]
    assert member["subscribed_topic_regex"] == f"{topic_name}\\.(orders|payments)"


def test_patterns_mean_what_they_mean_to_re2(group: Group, broker: Broker, topic_name: str) -> None:
    endings = ["orders", "Orders", "orders.v1", "orders-10", "stock_a"]
    for partitions, ending in enumerate(endings, start=1):
        create_topic(broker, f"{topic_name}-{ending}", partitions)
    expected = {
        "(?i)ORDERS": {"orders", "Orders"},
        r"orders\.v\d": {"orders.v1"},
        "orders.v1|stock_[[:alpha:]]": {"orders.v1", "stock_a"},
        r"orders-\p{Nd}{2}": {"orders-10"},
        r"\Qorders.\E.*": {"orders.v1"},
        "[^o].*": {"Orders", "stock_a"},
        r"\w+": {"orders", "Orders", "stock_a"},
        r"(?P<what>orders)(\b.*)?": {"orders", "orders.v1", "orders-10"},
        "order": set(),
    }
    for number, (pattern, matching) in enumerate(expected.items()):
        one = Group(group.asking, f"{group.name}-{number}")
        joined = one.join("a", subscribed_topic_regex=f"{topic_name}-(?:{pattern})")
        wanted = {index for ending in matching for index in range(endings.index(ending) + 1)}
        found = joined.partitions
        if wanted and not found:
            found = one.until_given("a", joined.epoch)
        assert len(one.ids) == len(matching), pattern
        assert found == wanted, pattern


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("a[", "missing closing ]"),
        ("(a", "missing closing )"),
        ("*a", "missing argument to repetition operator"),
        ("a**", "invalid nested repetition operator"),
        ("a{2,1}", "invalid repeat count"),
        ("a{1001}", "invalid repeat count"),
        ("\\8", "invalid escape sequence"),
        ("(?=a)", "invalid or unsupported Perl syntax"),
        ("[b-a]", "invalid character class range"),
        ("a\\", "trailing backslash at end of expression"),
    ],
)
def test_a_pattern_that_is_none_is_refused(group: Group, pattern: str, why: str) -> None:
    refused = group.join("a", subscribed_topic_regex=pattern)
    assert refused.error == INVALID_REGULAR_EXPRESSION
    assert refused.message is not None
    assert refused.message.startswith(f"SubscribedTopicRegex `{pattern}` is not a valid regular expression: {why}")


# --- static membership ---


def test_the_place_of_a_static_member_is_its_own(group: Group, topic_of_3: str) -> None:
    joined = group.join("a", topic_of_3, instance_id="i")
    refused = group.join("b", topic_of_3, instance_id="i")
    assert refused.error == UNRELEASED_INSTANCE_ID
    assert group.beat("b", joined.epoch, instance_id="i").error == FENCED_INSTANCE_ID
    assert group.beat("b", joined.epoch, instance_id="other").error == UNKNOWN_MEMBER_ID


def test_a_static_member_that_left_for_a_while_comes_back_to_what_it_had(group: Group, topic_of_3: str) -> None:
    joined = group.join("a", topic_of_3, instance_id="i")
    left = group.beat("a", -2, instance_id="i")
    assert (left.error, left.epoch) == (NONE, -2)
    assert group.beat("a", joined.epoch, instance_id="i").error == FENCED_MEMBER_EPOCH
    (away,) = group.described()["members"]
    assert (away["member_epoch"], away["instance_id"]) == (-2, "i")
    back = group.join("b", topic_of_3, instance_id="i")
    assert (back.error, back.epoch, back.partitions) == (NONE, joined.epoch, {0, 1, 2})
    assert group.beat("a", joined.epoch, instance_id="i").error == FENCED_INSTANCE_ID


def test_nobody_gets_what_a_static_member_that_is_away_had(group: Group, topic_of_3: str) -> None:
    group.join("a", topic_of_3, instance_id="i")
    group.beat("a", -2, instance_id="i")
    other = group.join("b", topic_of_3)
    assert other.partitions == set()
    assert group.beat("b", other.epoch).partitions is None


def test_a_static_member_that_leaves_for_good_is_gone(group: Group, topic_of_3: str) -> None:
    group.join("a", topic_of_3, instance_id="i")
    assert group.beat("a", -1, instance_id="i").error == NONE
    assert group.join("b", topic_of_3, instance_id="i").partitions == {0, 1, 2}


# --- topics ---


def test_new_partitions_are_noticed(group: Group, broker: Broker, topic: str) -> None:
    joined = group.join("a", topic)
    client = admin(broker)
    client.create_partitions([NewPartitions(topic, 3)])[topic].result(30)
    assert group.until_given("a", joined.epoch) == {0, 1, 2}


def test_a_topic_that_comes_later_is_noticed(group: Group, broker: Broker, topic_name: str) -> None:
    joined = group.join("a", topic_name)
    create_topic(broker, topic_name, partitions=2)
    assert group.until_given("a", joined.epoch) == {0, 1}


def test_a_topic_that_is_deleted_is_taken_away(group: Group, broker: Broker, topic_of_3: str) -> None:
    joined = group.join("a", topic_of_3)
    client = admin(broker)
    client.delete_topics([topic_of_3])[topic_of_3].result(30)
    told = wait_until(lambda: (beat := group.beat("a", joined.epoch)).partitions is not None and beat, what="news")
    assert told.partitions == set()
    after = group.beat("a", told.epoch, topic_partitions=[])
    assert (after.error, after.epoch) == (NONE, joined.epoch + 1)
