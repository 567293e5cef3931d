"""Contract: who may do what with topics. Every test has a user of its own, who may do nothing at first."""

from __future__ import annotations

import pytest

from tests.broker.batches import batch
from tests.broker.running import Client
from tests.contracts.security.acls import CLUSTER, acl, grant, revoke
from tests.contracts.security.requests import (
    connect_as,
    create,
    described,
    end_offset,
    fetch,
    metadata,
    produce,
    topics_seen,
)
from tests.contracts.security.secured import World

TOPIC_DENIED, CLUSTER_DENIED = 29, 31
UNKNOWN_TOPIC = 3
NO_UUID = bytes(16)


# --- the authorizer's rules ---


def test_nothing_is_allowed_that_no_acl_allows(client: Client, topic: str) -> None:
    assert produce(client, topic) == TOPIC_DENIED
    assert fetch(client, topic) == TOPIC_DENIED
    assert end_offset(client, topic)["error_code"] == TOPIC_DENIED
    assert described(client, topic) == TOPIC_DENIED


def test_an_acl_allows_its_own_operation_only(world: World, client: Client, user: str, topic: str) -> None:
    grant(world, acl(user, "read", "topic", topic))
    assert fetch(client, topic) == 0
    assert produce(client, topic) == TOPIC_DENIED


@pytest.mark.parametrize("operation", ["read", "write", "delete", "alter", "describe", "all"])
def test_describe_is_implied_by(world: World, client: Client, user: str, topic: str, operation: str) -> None:
    grant(world, acl(user, operation, "topic", topic))
    assert described(client, topic) == 0


@pytest.mark.parametrize("operation", ["create", "describe_configs", "alter_configs"])
def test_describe_is_not_implied_by(world: World, client: Client, user: str, topic: str, operation: str) -> None:
    grant(world, acl(user, operation, "topic", topic))
    assert described(client, topic) == TOPIC_DENIED


def test_deny_wins_over_any_number_of_allows(world: World, client: Client, user: str, topic: str) -> None:
    grant(world, acl(user, "all", "topic", topic), acl("*", "all", "topic", topic[:4], prefixed=True))
    assert fetch(client, topic) == 0
    grant(world, acl(user, "read", "topic", topic, deny=True))
    assert fetch(client, topic) == TOPIC_DENIED
    assert produce(client, topic) == 0
    revoke(world, acl(user, "read", "topic", topic, deny=True), acl("*", "all", "topic", topic[:4], prefixed=True))


def test_a_denied_read_does_not_deny_to_describe(world: World, client: Client, user: str, topic: str) -> None:
    grant(world, acl(user, "describe", "topic", topic), acl(user, "read", "topic", topic, deny=True))
    assert described(client, topic) == 0


def test_denying_all_denies_everything(world: World, client: Client, user: str, topic: str) -> None:
    grant(world, acl(user, "read", "topic", topic), acl(user, "all", "topic", topic, deny=True))
    assert described(client, topic) == TOPIC_DENIED


def test_a_prefix_covers_what_begins_with_it(world: World, client: Client, user: str, topic: str) -> None:
    grant(world, acl(user, "read", "topic", topic[:-2], prefixed=True))
    assert fetch(client, topic) == 0
    assert described(client, topic[:-3] + "-else") == TOPIC_DENIED


def test_a_literal_name_is_no_prefix(world: World, client: Client, user: str, topic: str) -> None:
    grant(world, acl(user, "read", "topic", topic[:-1]))
    assert fetch(client, topic) == TOPIC_DENIED


def test_a_star_covers_every_topic(world: World, client: Client, user: str, topic: str) -> None:
    grant(world, acl(user, "read", "topic", "*"))
    assert fetch(client, topic) == 0


def test_a_star_with_the_prefixed_pattern_is_only_a_star(world: World, client: Client, user: str, topic: str) -> None:
    grant(world, acl(user, "read", "topic", "*", prefixed=True))
    assert fetch(client, topic) == TOPIC_DENIED


def test_an_acl_for_everybody_counts_for_each(world: World, client: Client, topic: str) -> None:
    grant(world, acl("*", "read", "topic", topic))
    assert fetch(client, topic) == 0
    revoke(world, acl("*", "read", "topic", topic))


def test_an_acl_counts_for_its_host_only(world: World, client: Client, user: str, topic: str) -> None:
    grant(world, acl(user, "read", "topic", topic, host="10.1.2.3"))
    assert fetch(client, topic) == TOPIC_DENIED
    grant(world, acl(user, "read", "topic", topic, host="127.0.0.1"))
    assert fetch(client, topic) == 0


def test_a_super_user_needs_no_acl(world: World, topic: str) -> None:
    grant(world, acl("admin", "all", "topic", topic, deny=True))
    assert fetch(connect_as(world, "admin"), topic) == 0


def test_what_is_revoked_is_denied_at_once(world: World, client: Client, user: str, topic: str) -> None:
    one = acl(user, "read", "topic", topic)
    grant(world, one)
    assert fetch(client, topic) == 0
    revoke(world, one)
    assert fetch(client, topic) == TOPIC_DENIED


# --- nobody learns what there is ---


def test_a_topic_that_does_not_exist_is_denied_like_one_that_does(client: Client, topic: str) -> None:
    for name in (topic, "no-such-topic"):
        (answer,) = metadata(client, name)["topics"]
        assert (answer["error_code"], answer["name"], answer["partitions"]) == (TOPIC_DENIED, name, [])
        assert produce(client, name) == fetch(client, name) == TOPIC_DENIED


def test_who_may_describe_is_told_that_a_topic_does_not_exist(world: World, client: Client, user: str) -> None:
    grant(world, acl(user, "describe", "topic", f"{user}-nothing"))
    assert described(client, f"{user}-nothing") == UNKNOWN_TOPIC


def test_a_list_of_all_topics_leaves_out_what_must_not_be_known(
    world: World, client: Client, user: str, topic: str
) -> None:
    assert topics_seen(client) == set()
    grant(world, acl(user, "describe", "topic", topic))
    assert topics_seen(client) == {topic}


def test_the_id_of_a_denied_topic_is_not_told(world: World, client: Client, user: str, topic: str) -> None:
    (answer,) = client.ask("Metadata", 12, topics=[{"name": topic}])["topics"]
    assert (answer["error_code"], answer["topic_id"]) == (TOPIC_DENIED, NO_UUID)


def test_a_denied_topic_asked_for_by_its_id_is_not_told_by_name(world: World, client: Client, topic: str) -> None:
    (known,) = world.connect().ask("Metadata", 12, topics=[{"name": topic}])["topics"]
    (answer,) = client.ask("Metadata", 12, topics=[{"name": None, "topic_id": known["topic_id"]}])["topics"]
    assert (answer["error_code"], answer["name"], answer["partitions"]) == (TOPIC_DENIED, None, [])
    assert answer["topic_id"] == known["topic_id"]


def test_denied_and_allowed_topics_are_answered_side_by_side(
    world: World, client: Client, user: str, topic: str
) -> None:
    grant(world, acl(user, "all", "topic", topic))
    wanted = [{"name": name, "partitions": [{"partition_index": 0, "timestamp": -1}]} for name in ("secret", topic)]
    answers = client.ask("ListOffsets", 5, replica_id=-1, topics=wanted)["topics"]
    assert {one["name"]: one["partitions"][0]["error_code"] for one in answers} == {"secret": TOPIC_DENIED, topic: 0}
    data = [{"name": name, "partition_data": [{"index": 0, "records": batch([b"v"])}]} for name in (topic, "secret")]
    answers = client.ask("Produce", 9, acks=-1, timeout_ms=1000, topic_data=data)["responses"]
    codes = {one["name"]: one["partition_responses"][0]["error_code"] for one in answers}
    assert codes == {topic: 0, "secret": TOPIC_DENIED}
    parts = [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1000}]
    topics = [{"topic": name, "partitions": parts} for name in ("secret", topic)]
    answers = client.ask("Fetch", 11, max_wait_ms=100, min_bytes=1 << 20, max_bytes=1 << 20, topics=topics)["responses"]
    assert {one["topic"]: one["partitions"][0]["error_code"] for one in answers} == {"secret": TOPIC_DENIED, topic: 0}


def test_a_refused_batch_without_acknowledgement_closes_the_connection(client: Client, topic: str) -> None:
    client.send_produce(topic, batch([b"v"]), acks=0)
    assert client.is_cut_off()


def test_topic_partitions_are_described_as_far_as_allowed(world: World, client: Client, user: str, topic: str) -> None:
    grant(world, acl(user, "describe", "topic", topic))
    answer = client.ask("DescribeTopicPartitions", 0, topics=[{"name": topic}, {"name": "secret"}])
    assert {one["name"]: one["error_code"] for one in answer["topics"]} == {topic: 0, "secret": TOPIC_DENIED}
    answer = client.ask("DescribeTopicPartitions", 0, topics=[])
    assert [one["name"] for one in answer["topics"]] == [topic]


# --- administration of topics ---


@pytest.mark.parametrize("kind", ["cluster", "topic"])
def test_creating_topics_is_allowed_for_all_or_for_one(world: World, client: Client, user: str, kind: str) -> None:
    name = f"{user}-new"
    assert create(client, name)["error_code"] == TOPIC_DENIED
    grant(world, acl(user, "create", kind, CLUSTER if kind == "cluster" else name))
    answer = create(client, name)
    assert (answer["error_code"], answer["topic_config_error_code"], answer["configs"]) == (0, TOPIC_DENIED, [])


def test_who_may_see_settings_is_told_them_with_the_new_topic(world: World, client: Client, user: str) -> None:
    grant(world, acl(user, "create", "cluster"), acl(user, "describe_configs", "topic", f"{user}-new"))
    answer = create(client, f"{user}-new")
    assert (answer["error_code"], answer["topic_config_error_code"], answer["num_partitions"]) == (0, 0, 1)
    assert answer["configs"]


def test_deleting_a_topic_needs_delete(world: World, client: Client, user: str, topic: str) -> None:
    def delete() -> int:
        code: int = client.ask("DeleteTopics", 5, topic_names=[topic], timeout_ms=5000)["responses"][0]["error_code"]
        return code

    assert delete() == TOPIC_DENIED
    grant(world, acl(user, "describe", "topic", topic))
    assert delete() == TOPIC_DENIED
    grant(world, acl(user, "delete", "topic", topic))
    assert delete() == 0


def test_deleting_by_id_does_not_tell_the_name(world: World, client: Client, user: str, topic: str) -> None:
    (known,) = world.connect().ask("Metadata", 12, topics=[{"name": topic}])["topics"]
    wanted = [{"name": None, "topic_id": known["topic_id"]}]
    (answer,) = client.ask("DeleteTopics", 6, topics=wanted, timeout_ms=5000)["responses"]
    assert (answer["error_code"], answer["name"]) == (TOPIC_DENIED, None)
    grant(world, acl(user, "describe", "topic", topic))
    (answer,) = client.ask("DeleteTopics", 6, topics=wanted, timeout_ms=5000)["responses"]
    assert (answer["error_code"], answer["name"]) == (TOPIC_DENIED, topic)


def test_partitions_records_and_settings_have_operations_of_their_own(
    world: World, client: Client, user: str, topic: str
) -> None:
    resource = {"resource_type": 2, "resource_name": topic}

    def codes() -> list[int]:
        grow = client.ask(
            "CreatePartitions", 1, topics=[{"name": topic, "count": 1, "assignments": None}], timeout_ms=5000
        )
        delete = [{"name": topic, "partitions": [{"partition_index": 0, "offset": 0}]}]
        cut = client.ask("DeleteRecords", 1, topics=delete, timeout_ms=5000)
        see = client.ask("DescribeConfigs", 2, resources=[{**resource, "configuration_keys": ["retention.ms"]}])
        config = {"name": "retention.ms", "config_operation": 0, "value": "86400000"}
        change = client.ask("IncrementalAlterConfigs", 0, resources=[{**resource, "configs": [config]}])
        return [
            grow["results"][0]["error_code"],
            cut["topics"][0]["partitions"][0]["error_code"],
            see["results"][0]["error_code"],
            change["responses"][0]["error_code"],
        ]

    assert codes() == [TOPIC_DENIED] * 4
    grant(world, acl(user, "alter_configs", "topic", topic))
    assert codes() == [TOPIC_DENIED, TOPIC_DENIED, 0, 0], "altering settings implies seeing them"
    grant(world, acl(user, "delete", "topic", topic))
    assert codes() == [TOPIC_DENIED, 0, 0, 0]
    grant(world, acl(user, "alter", "topic", topic))
    assert codes()[0] == 37, "allowed, and then refused for not growing"


def test_the_brokers_settings_belong_to_the_cluster(world: World, client: Client, user: str) -> None:
    wanted = [{"resource_type": 4, "resource_name": "1", "configuration_keys": ["node.id"]}]
    assert client.ask("DescribeConfigs", 2, resources=wanted)["results"][0]["error_code"] == CLUSTER_DENIED
    grant(world, acl(user, "describe_configs", "cluster"))
    assert client.ask("DescribeConfigs", 2, resources=wanted)["results"][0]["error_code"] == 0


def test_log_folders_are_for_those_who_may_describe_the_cluster(world: World, client: Client, user: str) -> None:
    answer = client.ask("DescribeLogDirs", 3, topics=None)
    assert (answer["error_code"], answer["results"]) == (CLUSTER_DENIED, [])
    grant(world, acl(user, "describe", "cluster"))
    assert client.ask("DescribeLogDirs", 3, topics=None)["error_code"] == 0


def test_leader_epochs_are_for_those_who_may_describe_the_topic(
    world: World, client: Client, user: str, topic: str
) -> None:
    wanted = [{"topic": topic, "partitions": [{"partition": 0, "current_leader_epoch": -1, "leader_epoch": 0}]}]

    def code() -> int:
        answer = client.ask("OffsetForLeaderEpoch", 3, replica_id=-1, topics=wanted)
        found: int = answer["topics"][0]["partitions"][0]["error_code"]
        return found

    assert code() == TOPIC_DENIED
    grant(world, acl(user, "describe", "topic", topic))
    assert code() == 0
