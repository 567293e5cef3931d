"""Contract: sessions, settings and offsets of groups of the new protocol (KIP-848), and what others see of them."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.broker.wire.messages.consumer_group_describe import CONSUMER_GROUP_DESCRIBE
from ottla.broker.wire.messages.delete_groups import DELETE_GROUPS
from ottla.broker.wire.messages.describe_configs import DESCRIBE_CONFIGS
from ottla.broker.wire.messages.describe_groups import DESCRIBE_GROUPS
from ottla.broker.wire.messages.incremental_alter_configs import INCREMENTAL_ALTER_CONFIGS
from ottla.broker.wire.messages.list_groups import LIST_GROUPS
from ottla.broker.wire.messages.offset_delete import OFFSET_DELETE
from tests.contracts.clients import wait_until
from tests.contracts.consumer_groups import (
    GROUP_ID_NOT_FOUND,
    GROUP_RESOURCE,
    GROUP_SUBSCRIBED_TO_TOPIC,
    ILLEGAL_GENERATION,
    INVALID_CONFIG,
    INVALID_GROUP_ID,
    INVALID_REQUEST,
    NON_EMPTY_GROUP,
    NONE,
    STALE_MEMBER_EPOCH,
    UNKNOWN_MEMBER_ID,
    UNSUPPORTED_VERSION,
    Group,
    asking,
    group,
    moved_on,
    topic,
    topic_of_3,
)

__all__ = ["asking", "group", "topic", "topic_of_3"]


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
