"""Contract: the new consumer group protocol (KIP-848) step by step, with requests made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka.admin import NewPartitions

from ottla.broker.wire.messages.consumer_group_describe import CONSUMER_GROUP_DESCRIBE
from ottla.broker.wire.messages.consumer_group_heartbeat import CONSUMER_GROUP_HEARTBEAT
from ottla.broker.wire.messages.delete_groups import DELETE_GROUPS
from ottla.broker.wire.messages.describe_configs import DESCRIBE_CONFIGS
from ottla.broker.wire.messages.describe_groups import DESCRIBE_GROUPS
from ottla.broker.wire.messages.find_coordinator import FIND_COORDINATOR
from ottla.broker.wire.messages.incremental_alter_configs import INCREMENTAL_ALTER_CONFIGS
from ottla.broker.wire.messages.list_groups import LIST_GROUPS
from ottla.broker.wire.messages.offset_commit import OFFSET_COMMIT
from ottla.broker.wire.messages.offset_delete import OFFSET_DELETE
from ottla.broker.wire.messages.offset_fetch import OFFSET_FETCH
from ottla.testing import Broker
from tests.contracts.asking import Asking
from tests.contracts.clients import admin, create_topic, wait_until

NONE, INVALID_GROUP_ID, UNKNOWN_MEMBER_ID, UNSUPPORTED_VERSION, INVALID_CONFIG, INVALID_REQUEST = 0, 24, 25, 35, 40, 42
NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, FENCED_INSTANCE_ID, GROUP_SUBSCRIBED_TO_TOPIC = 68, 69, 82, 86
FENCED_MEMBER_EPOCH, UNRELEASED_INSTANCE_ID, UNSUPPORTED_ASSIGNOR, STALE_MEMBER_EPOCH = 110, 111, 112, 113
ILLEGAL_GENERATION, INVALID_REGULAR_EXPRESSION = 22, 128
GROUP_RESOURCE = 32
COORDINATOR_IS_COMING = (14, 15, 16)
REBALANCE_TIMEOUT_MS = 30_000


@dataclass(frozen=True)
class Beat:
    """A heartbeat's answer. `partitions` is None if it said nothing of them."""

    error: int
    message: str | None
    member: str | None
    epoch: int
    interval_ms: int
    partitions: set[int] | None


class Group:
    """A group on a raw connection. Topics have their partitions in view by number only, whatever the topic."""

    def __init__(self, asking: Asking, name: str) -> None:
        self.asking = asking
        self.name = name
        self.ids: set[bytes] = set()

    def beat(self, member: str, epoch: int, *, version: int = 1, group: str | None = None, **fields: Any) -> Beat:
        name = self.name if group is None else group
        body = {"group_id": name, "member_id": member, "member_epoch": epoch, **fields}
        answer = self.asking.ask(CONSUMER_GROUP_HEARTBEAT, version, **body)
        partitions = None
        if answer["assignment"] is not None:
            topics = answer["assignment"]["topic_partitions"]
            self.ids |= {topic["topic_id"] for topic in topics}
            partitions = {index for topic in topics for index in topic["partitions"]}
        code, message = answer["error_code"], answer["error_message"]
        interval_ms = answer["heartbeat_interval_ms"]
        return Beat(code, message, answer["member_id"], answer["member_epoch"], interval_ms, partitions)

    def join(self, member: str, *topics: str, **fields: Any) -> Beat:
        asked: dict[str, Any] = {"rebalance_timeout_ms": REBALANCE_TIMEOUT_MS, "topic_partitions": []}
        if topics:
            asked["subscribed_topic_names"] = list(topics)
        return self.beat(member, 0, **{**asked, **fields})

    def own(self, member: str, epoch: int, *partitions: int, **fields: Any) -> Beat:
        """A heartbeat that says what the member owns of the one topic."""
        (topic_id,) = self.ids
        owned = [{"topic_id": topic_id, "partitions": list(partitions)}] if partitions else []
        return self.beat(member, epoch, topic_partitions=owned, **fields)

    def described(self) -> dict[str, Any]:
        (group,) = self.asking.ask(CONSUMER_GROUP_DESCRIBE, 1, group_ids=[self.name])["groups"]
        return dict(group)

    def commit(self, topic: str, member: str, epoch: int, *, partition: int = 0, version: int = 9) -> int:
        committed = [{"partition_index": partition, "committed_offset": 5, "committed_metadata": ""}]
        body: dict[str, Any] = {
            "group_id": self.name,
            "member_id": member,
            "generation_id_or_member_epoch": epoch,
            "topics": [{"name": topic, "partitions": committed}],
        }
        answer = self.asking.ask(OFFSET_COMMIT, version, **body)
        return int(answer["topics"][0]["partitions"][0]["error_code"])

    def fetch(self, topic: str, member: str | None, epoch: int) -> tuple[int, int | None]:
        wanted = {
            "group_id": self.name,
            "member_id": member,
            "member_epoch": epoch,
            "topics": [{"name": topic, "partition_indexes": [0]}],
        }
        (group,) = self.asking.ask(OFFSET_FETCH, 9, groups=[wanted])["groups"]
        offsets = [part["committed_offset"] for found in group["topics"] for part in found["partitions"]]
        return group["error_code"], offsets[0] if offsets else None

    def until_given(self, member: str, epoch: int) -> set[int]:
        """Heartbeats until partitions come."""
        return wait_until(lambda: self.beat(member, epoch).partitions, what="partitions")  # type: ignore[no-any-return]


@pytest.fixture
def asking(broker: Broker, group_name: str) -> Iterator[Asking]:
    """A connection to the group's coordinator, which may still be loading just after the broker's start."""
    with Asking(broker) as opened:

        def found() -> bool:
            opened.ask(FIND_COORDINATOR, 4, key_type=0, coordinator_keys=[group_name])
            code = opened.ask(CONSUMER_GROUP_HEARTBEAT, 1, group_id=group_name, member_id="m", member_epoch=1)
            return code["error_code"] not in COORDINATOR_IS_COMING

        wait_until(found, what="a coordinator")
        yield opened


@pytest.fixture
def group(asking: Asking, group_name: str) -> Group:
    return Group(asking, group_name)


def made(group: Group, broker: Broker, name: str, partitions: int) -> str:
    """Creates a topic, and waits until the groups' coordinator knows of it: in Apache Kafka later than the topic is."""
    create_topic(broker, name, partitions)
    scratch = Group(group.asking, f"{name}-scratch")

    def known() -> bool:
        return bool(scratch.join("a", name).partitions)

    wait_until(known, what=f"the coordinator knows {name}")
    scratch.beat("a", -1)
    return name


@pytest.fixture
def topic(group: Group, broker: Broker, topic_name: str) -> str:
    return made(group, broker, topic_name, 1)


@pytest.fixture
def topic_of_3(group: Group, broker: Broker, topic_name: str) -> str:
    return made(group, broker, topic_name, 3)


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


def moved_on(group: Group, topic: str) -> tuple[int, int]:
    """`a` has given partition 2 to `b`; gives a's epochs before and after."""
    first = group.join("a", topic).epoch
    group.join("b", topic)
    kept = group.beat("a", first)
    assert kept.partitions == {0, 1}
    assert kept.epoch == first
    after = group.own("a", first, 0, 1).epoch
    assert after == first + 1
    return first, after


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


# --- sessions ---


def test_a_silent_member_is_put_out_after_the_session_that_its_group_has(group: Group, topic_of_3: str) -> None:
    for name, value in (("consumer.heartbeat.interval.ms", "300"), ("consumer.session.timeout.ms", "1000")):
        assert alter(group, name, value) == (NONE, None)
    wait_until(lambda: described_config(group, "consumer.session.timeout.ms") == ("1000", 8), what="the setting")
    silent = group.join("a", topic_of_3)
    assert silent.interval_ms == 300
    other = group.join("b", topic_of_3)
    assert group.until_given("b", other.epoch) == {0, 1, 2}
    assert group.beat("a", silent.epoch).error == UNKNOWN_MEMBER_ID


def alter(group: Group, name: str, value: str | None, *, operation: int = 0, resource: str | None = None) -> Any:
    configs = [{"name": name, "config_operation": operation, "value": value}]
    on = {"resource_type": GROUP_RESOURCE, "resource_name": group.name if resource is None else resource}
    answer = group.asking.ask(INCREMENTAL_ALTER_CONFIGS, 1, resources=[{**on, "configs": configs}])["responses"][0]
    return answer["error_code"], answer["error_message"] or None


def described_config(group: Group, name: str) -> tuple[str, int]:
    on = {"resource_type": GROUP_RESOURCE, "resource_name": group.name, "configuration_keys": [name]}
    (answer,) = group.asking.ask(DESCRIBE_CONFIGS, 4, resources=[on], include_synonyms=True)["results"]
    (config,) = answer["configs"]
    return config["value"], config["config_source"]


@pytest.mark.parametrize(
    ("name", "value", "code", "message"),
    [
        (
            "consumer.session.timeout.ms",
            "900",
            INVALID_CONFIG,
            "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        (
            "consumer.session.timeout.ms",
            "60001",
            INVALID_CONFIG,
            "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms",
        ),
        (
            "consumer.session.timeout.ms",
            "soon",
            INVALID_CONFIG,
            "Invalid value soon for configuration consumer.session.timeout.ms: Not a number of type INT",
        ),
        (
            "consumer.heartbeat.interval.ms",
            "15001",
            INVALID_CONFIG,
            "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms",
        ),
        ("retention.ms", "1", INVALID_CONFIG, "Unknown group config name: retention.ms"),
    ],
)
def test_a_groups_settings_are_checked(group: Group, name: str, value: str, code: int, message: str) -> None:
    assert alter(group, name, value) == (code, message)


def test_a_setting_belongs_to_a_group(group: Group) -> None:
    refused = alter(group, "consumer.session.timeout.ms", "2000", resource="")
    assert refused == (INVALID_REQUEST, "Default group resources are not allowed.")


def test_a_groups_setting_is_given_up_again(group: Group) -> None:
    assert described_config(group, "consumer.session.timeout.ms") == ("45000", 5)
    alter(group, "consumer.session.timeout.ms", "2000")
    wait_until(lambda: described_config(group, "consumer.session.timeout.ms") == ("2000", 8), what="the setting")
    assert alter(group, "consumer.session.timeout.ms", None, operation=1) == (NONE, None)
    wait_until(lambda: described_config(group, "consumer.session.timeout.ms") == ("45000", 5), what="the default")


# --- offsets ---


def test_a_member_commits_with_its_epoch(group: Group, topic_of_3: str) -> None:
    joined = group.join("a", topic_of_3)
    assert group.commit(topic_of_3, "a", joined.epoch) == NONE
    assert group.fetch(topic_of_3, "a", joined.epoch) == (NONE, 5)
    assert group.fetch(topic_of_3, None, -1) == (NONE, 5)


def test_commits_of_others_are_refused(group: Group, topic_of_3: str) -> None:
    joined = group.join("a", topic_of_3)
    assert group.commit(topic_of_3, "a", joined.epoch + 1) == STALE_MEMBER_EPOCH
    assert group.commit(topic_of_3, "b", joined.epoch) == UNKNOWN_MEMBER_ID
    assert group.commit(topic_of_3, "", -1) == UNKNOWN_MEMBER_ID
    assert group.commit(topic_of_3, "a", joined.epoch, version=8) == UNSUPPORTED_VERSION
    assert group.fetch(topic_of_3, "a", joined.epoch + 1) == (STALE_MEMBER_EPOCH, None)
    assert group.fetch(topic_of_3, "b", joined.epoch) == (UNKNOWN_MEMBER_ID, None)


def test_a_commit_at_an_older_epoch_counts_for_what_the_member_has_had_since_then(
    group: Group, topic_of_3: str
) -> None:
    before, after = moved_on(group, topic_of_3)
    assert group.until_given("b", after) == {2}
    assert [group.commit(topic_of_3, "a", before, partition=index) for index in range(3)] == [
        NONE,
        NONE,
        STALE_MEMBER_EPOCH,
    ]
    assert group.commit(topic_of_3, "b", before, partition=2) == STALE_MEMBER_EPOCH
    assert group.commit(topic_of_3, "b", after, partition=2) == NONE


def test_anybody_may_commit_to_an_empty_group(group: Group, topic: str) -> None:
    group.join("a", topic)
    group.beat("a", -1)
    assert group.commit(topic, "", -1) == NONE
    assert group.commit(topic, "a", 2) == UNKNOWN_MEMBER_ID


def test_a_group_that_does_not_exist_is_made_by_a_commit_from_outside_only(group: Group, topic: str) -> None:
    assert group.commit(topic, "a", 1) == GROUP_ID_NOT_FOUND
    assert group.commit(topic, "a", 1, version=8) == ILLEGAL_GENERATION
    assert group.commit(topic, "", -1) == NONE
    assert group.join("a", topic).error == NONE
    assert group.fetch(topic, None, -1) == (NONE, 5)


def test_offsets_of_a_subscribed_topic_are_not_deleted(group: Group, topic: str) -> None:
    joined = group.join("a", topic)
    group.commit(topic, "a", joined.epoch)
    wanted = [{"name": topic, "partitions": [{"partition_index": 0}]}]
    answer = group.asking.ask(OFFSET_DELETE, 0, group_id=group.name, topics=wanted)
    assert answer["topics"][0]["partitions"][0]["error_code"] == GROUP_SUBSCRIBED_TO_TOPIC
    group.beat("a", -1)
    answer = group.asking.ask(OFFSET_DELETE, 0, group_id=group.name, topics=wanted)
    assert answer["topics"][0]["partitions"][0]["error_code"] == NONE
    assert group.fetch(topic, None, -1) == (NONE, -1)


# --- what others see ---


def test_a_group_is_described(group: Group, topic_of_3: str) -> None:
    joined = group.join("a", topic_of_3, rack_id="rack-1", server_assignor="range")
    found = group.described()
    assert found["error_code"] == NONE
    assert (found["group_state"], found["assignor_name"]) == ("Stable", "range")
    assert (found["group_epoch"], found["assignment_epoch"]) == (joined.epoch, joined.epoch)
    (member,) = found["members"]
    assert (member["member_id"], member["member_epoch"], member["member_type"]) == ("a", joined.epoch, 1)
    assert (member["client_id"], member["client_host"], member["rack_id"]) == ("contract", "/127.0.0.1", "rack-1")
    assert (member["subscribed_topic_names"], member["subscribed_topic_regex"]) == ([topic_of_3], "")
    for assignment in (member["assignment"], member["target_assignment"]):
        (assigned,) = assignment["topic_partitions"]
        assert (assigned["topic_name"], sorted(assigned["partitions"])) == (topic_of_3, [0, 1, 2])


def test_the_state_of_a_group_tells_how_far_it_is(group: Group, topic_of_3: str) -> None:
    first = group.join("a", topic_of_3)
    second = group.join("b", topic_of_3)
    assert group.described()["group_state"] == "Reconciling"
    group.beat("a", first.epoch)
    group.own("a", first.epoch, 0, 1)
    group.beat("b", second.epoch)
    assert group.described()["group_state"] == "Stable"
    group.beat("a", -1)
    group.beat("b", -1)
    empty = group.described()
    assert (empty["group_state"], empty["members"]) == ("Empty", [])
    assert empty["group_epoch"] > second.epoch


def test_groups_that_are_not_of_this_kind_are_not_found(group: Group, topic: str) -> None:
    asked = [group.name, "", f"{group.name}-x"]
    answers = {one["group_id"]: one for one in group.asking.ask(CONSUMER_GROUP_DESCRIBE, 1, group_ids=asked)["groups"]}
    assert (answers[group.name]["error_code"], answers[""]["error_code"]) == (GROUP_ID_NOT_FOUND, INVALID_GROUP_ID)
    assert answers[group.name]["error_message"] == f"Group {group.name} not found."
    group.commit(topic, "", -1)
    described = group.described()
    assert (described["error_code"], described["error_message"]) == (
        GROUP_ID_NOT_FOUND,
        f"Group {group.name} is not a consumer group.",
    )


def test_the_classic_description_does_not_know_it(group: Group, topic: str) -> None:
    group.join("a", topic)
    (old,) = group.asking.ask(DESCRIBE_GROUPS, 5, groups=[group.name])["groups"]
    assert (old["error_code"], old["group_state"]) == (NONE, "Dead")
    (new,) = group.asking.ask(DESCRIBE_GROUPS, 6, groups=[group.name])["groups"]
    assert (new["error_code"], new["error_message"]) == (
        GROUP_ID_NOT_FOUND,
        f"Group {group.name} is not a classic group.",
    )


def test_groups_are_listed_by_kind_and_state(group: Group, topic: str) -> None:
    group.join("a", topic)

    def listed(states: list[str], types: list[str]) -> list[tuple[str, str, str]]:
        answer = group.asking.ask(LIST_GROUPS, 5, states_filter=states, types_filter=types)
        assert answer["error_code"] == NONE
        return [
            (one["group_type"], one["protocol_type"], one["group_state"])
            for one in answer["groups"]
            if one["group_id"] == group.name
        ]

    assert listed([], []) == listed(["stable"], ["Consumer"]) == [("consumer", "consumer", "Stable")]
    assert listed([], ["classic"]) == listed(["Empty"], []) == listed([], ["nonsense"]) == []


def test_only_an_empty_group_is_deleted(group: Group, topic: str) -> None:
    def delete() -> int:
        return int(group.asking.ask(DELETE_GROUPS, 2, groups_names=[group.name])["results"][0]["error_code"])

    assert delete() == GROUP_ID_NOT_FOUND
    group.join("a", topic)
    assert delete() == NON_EMPTY_GROUP
    group.beat("a", -1)
    assert delete() == NONE
    assert group.described()["error_code"] == GROUP_ID_NOT_FOUND
    assert group.join("a", topic).epoch == 2
