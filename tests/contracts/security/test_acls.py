"""Contract: who may do what. Every test has a user of its own, a token's subject, who may do nothing at first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.broker.batches import batch
from tests.broker.running import Client
from tests.contracts.clients import wait_until
from tests.contracts.security.acls import CLUSTER, acl, filter_of, find, grant, revoke
from tests.contracts.security.secured import World

TOPIC_DENIED, GROUP_DENIED, CLUSTER_DENIED, TRANSACTION_DENIED = 29, 30, 31, 53
UNKNOWN_TOPIC, INVALID_REQUEST = 3, 42
NO_UUID = bytes(16)


def connect_as(world: World, user: str) -> Client:
    client = world.connect("SASL")
    client.ask("SaslHandshake", 1, mechanism="OAUTHBEARER")
    said = f"n,,\x01auth=Bearer {world.issuer.token(user)}\x01\x01".encode()
    answer = client.ask("SaslAuthenticate", 2, auth_bytes=said)
    assert (answer["error_code"], bytes(answer["auth_bytes"])) == (0, b"")
    return client


@pytest.fixture
def client(world: World, user: str) -> Iterator[Client]:
    """Somebody who is known, and may do nothing."""
    connected = connect_as(world, user)
    yield connected
    connected.close()


@pytest.fixture
def topic(world: World, topic_name: str) -> str:
    """A topic that is there."""
    client = world.connect()
    wanted = {"name": topic_name, "num_partitions": 1, "replication_factor": 1}
    assert client.ask("CreateTopics", 4, topics=[wanted])["topics"][0]["error_code"] == 0
    wait_until(lambda: end_offset(client, topic_name)["error_code"] == 0, what="the partition is served")
    client.close()
    return topic_name


# --- one request each, as short as can be ---


def produce(client: Client, topic: str) -> int:
    code: int = client.produce(topic, batch([b"v"]))["error_code"]
    return code


def fetch(client: Client, topic: str) -> int:
    code: int = client.fetch(topic, 0)["error_code"]
    return code


def end_offset(client: Client, topic: str) -> dict[str, Any]:
    wanted = [{"name": topic, "partitions": [{"partition_index": 0, "timestamp": -1}]}]
    answer: dict[str, Any] = client.ask("ListOffsets", 5, replica_id=-1, topics=wanted)["topics"][0]["partitions"][0]
    return answer


def metadata(client: Client, topic: str | None = None, **more: Any) -> dict[str, Any]:
    topics = None if topic is None else [{"name": topic}]
    answer: dict[str, Any] = client.ask("Metadata", 9, topics=topics, allow_auto_topic_creation=False, **more)
    return answer


def described(client: Client, topic: str) -> int:
    code: int = metadata(client, topic)["topics"][0]["error_code"]
    return code


def topics_seen(client: Client) -> set[str]:
    return {one["name"] for one in metadata(client)["topics"]}


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


def create(client: Client, name: str, version: int = 5) -> dict[str, Any]:
    wanted = {"name": name, "num_partitions": 1, "replication_factor": 1}
    answer: dict[str, Any] = client.ask("CreateTopics", version, topics=[wanted])["topics"][0]
    return answer


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


# --- groups ---


def commit(client: Client, group: str, topic: str) -> int:
    parts = [{"partition_index": 0, "committed_offset": 0, "committed_metadata": ""}]
    body = {"generation_id_or_member_epoch": -1, "member_id": "", "topics": [{"name": topic, "partitions": parts}]}
    answer = client.ask("OffsetCommit", 8, group_id=group, **body)
    code: int = answer["topics"][0]["partitions"][0]["error_code"]
    return code


def test_a_groups_requests_need_read_on_the_group(world: World, client: Client, user: str, group_name: str) -> None:
    member = {"group_id": group_name, "member_id": "m"}

    def codes() -> list[int]:
        protocols = [{"name": "range", "metadata": b""}]
        join = {"session_timeout_ms": 10000, "rebalance_timeout_ms": 10000, "protocol_type": "consumer"}
        return [
            client.ask("JoinGroup", 5, **member, **join, protocols=protocols)["error_code"],
            client.ask("SyncGroup", 3, **member, generation_id=1)["error_code"],
            client.ask("Heartbeat", 3, **member, generation_id=1)["error_code"],
            client.ask("LeaveGroup", 2, **member)["error_code"],
        ]

    assert codes() == [GROUP_DENIED] * 4
    grant(world, acl(user, "read", "group", group_name))
    assert codes() == [25] * 4, "allowed, and then refused as an unknown member"


def test_committing_needs_read_on_group_and_topic(
    world: World, client: Client, user: str, group_name: str, topic: str
) -> None:
    assert commit(client, group_name, topic) == GROUP_DENIED
    grant(world, acl(user, "read", "group", group_name))
    assert commit(client, group_name, topic) == TOPIC_DENIED
    assert commit(client, group_name, "no-such-topic") == TOPIC_DENIED
    grant(world, acl(user, "read", "topic", topic))
    assert commit(client, group_name, topic) == 0


@pytest.mark.parametrize("version", [1, 7])
def test_committed_offsets_need_describe_on_group_and_topic(
    world: World, client: Client, user: str, group_name: str, topic: str, version: int
) -> None:
    assert commit(world.connect(), group_name, topic) == 0
    topics = [{"name": topic, "partition_indexes": [0]}]

    def asked(topics: list[dict[str, Any]] | None = topics) -> dict[str, Any]:
        answer: dict[str, Any] = client.ask("OffsetFetch", version, group_id=group_name, topics=topics)
        return answer

    if version > 1:
        assert asked()["error_code"] == GROUP_DENIED
    else:
        assert asked()["topics"][0]["partitions"][0]["error_code"] == GROUP_DENIED
    grant(world, acl(user, "describe", "group", group_name))
    assert asked()["topics"][0]["partitions"][0]["error_code"] == TOPIC_DENIED
    if version > 1:
        assert asked(None)["topics"] == []
    grant(world, acl(user, "describe", "topic", topic))
    assert asked()["topics"][0]["partitions"][0]["committed_offset"] == 0
    if version > 1:
        assert [one["name"] for one in asked(None)["topics"]] == [topic]


def test_coordinators_are_found_by_those_who_may_describe(
    world: World, client: Client, user: str, group_name: str
) -> None:
    def codes(kind: int) -> dict[str, int]:
        answer = client.ask("FindCoordinator", 4, key_type=kind, coordinator_keys=[group_name, "secret"])
        return {one["key"]: one["error_code"] for one in answer["coordinators"]}

    assert codes(0) == {group_name: GROUP_DENIED, "secret": GROUP_DENIED}
    assert codes(1) == {group_name: TRANSACTION_DENIED, "secret": TRANSACTION_DENIED}
    grant(world, acl(user, "describe", "group", group_name), acl(user, "write", "transactional_id", group_name))
    wait_until(lambda: codes(0)[group_name] == 0, what="Kafka makes its offsets topic at the first question")
    wait_until(lambda: codes(1)[group_name] == 0, what="Kafka makes its transactions topic at the first question")
    assert codes(0)["secret"] == GROUP_DENIED


def test_groups_are_listed_described_and_deleted_as_far_as_allowed(
    world: World, client: Client, user: str, group_name: str, topic: str
) -> None:
    assert commit(world.connect(), group_name, topic) == 0

    def listed() -> set[str]:
        return {one["group_id"] for one in client.ask("ListGroups", 3)["groups"]}

    def codes() -> list[int]:
        described = client.ask("DescribeGroups", 4, groups=[group_name])["groups"][0]["error_code"]
        parts = [{"name": topic, "partitions": [{"partition_index": 0}]}]
        offsets = client.ask("OffsetDelete", 0, group_id=group_name, topics=parts)
        part = offsets["topics"][0]["partitions"][0]["error_code"] if offsets["topics"] else 0
        return [described, offsets["error_code"], part]

    def deleted() -> int:
        code: int = client.ask("DeleteGroups", 1, groups_names=[group_name])["results"][0]["error_code"]
        return code

    assert (listed(), codes(), deleted()) == (set(), [GROUP_DENIED, GROUP_DENIED, 0], GROUP_DENIED)
    grant(world, acl(user, "describe", "group", group_name))
    assert (listed(), codes(), deleted()) == ({group_name}, [0, GROUP_DENIED, 0], GROUP_DENIED)
    grant(world, acl(user, "delete", "group", group_name))
    assert (listed(), codes()) == ({group_name}, [0, 0, TOPIC_DENIED])
    assert deleted() == 0


def test_who_may_describe_the_cluster_sees_all_groups(
    world: World, client: Client, user: str, group_name: str, topic: str
) -> None:
    assert commit(world.connect(), group_name, topic) == 0
    grant(world, acl(user, "describe", "cluster"))
    assert group_name in {one["group_id"] for one in client.ask("ListGroups", 3)["groups"]}


def test_the_new_consumer_protocol_needs_read_on_the_group_and_describe_on_topics(
    world: World, client: Client, user: str, group_name: str, topic: str
) -> None:
    beat = {"group_id": group_name, "member_id": "0" * 22, "member_epoch": 0, "rebalance_timeout_ms": 5000}

    def code() -> int:
        answer = client.ask("ConsumerGroupHeartbeat", 1, **beat, subscribed_topic_names=[topic], topic_partitions=[])
        found: int = answer["error_code"]
        return found

    assert code() == GROUP_DENIED
    grant(world, acl(user, "read", "group", group_name))
    assert code() == TOPIC_DENIED
    grant(world, acl(user, "describe", "topic", topic))
    assert code() == 0
    other = connect_as(world, f"{user}-2")
    described = other.ask("ConsumerGroupDescribe", 0, group_ids=[group_name])["groups"][0]
    assert described["error_code"] == GROUP_DENIED
    grant(world, acl(f"{user}-2", "describe", "group", group_name))
    described = other.ask("ConsumerGroupDescribe", 0, group_ids=[group_name])["groups"][0]
    assert (described["error_code"], described["members"]) == (TOPIC_DENIED, [])


def test_a_pattern_gives_nothing_of_topics_that_must_not_be_known(
    world: World, client: Client, user: str, group_name: str
) -> None:
    admin = world.connect()
    names = [f"{user}-seen", f"{user}-secret"]
    for name in names:
        assert create(admin, name)["error_code"] == 0
    wait_until(lambda: all(described(admin, name) == 0 for name in names), what="both topics are known")
    (known,) = admin.ask("Metadata", 12, topics=[{"name": names[0]}])["topics"]
    grant(world, acl(user, "read", "group", group_name), acl(user, "describe", "topic", names[0]))
    member = {"group_id": group_name, "member_id": "1" * 22}
    wanted = {"rebalance_timeout_ms": 5000, "subscribed_topic_regex": f"{user}-.*", "topic_partitions": []}
    answer = client.ask("ConsumerGroupHeartbeat", 1, **member, member_epoch=0, **wanted)
    given: set[bytes] = set()

    def beat() -> bool:
        """Whether something is given; Apache Kafka finds a pattern's topics a moment later."""
        nonlocal answer
        if answer["assignment"]:
            given.update(bytes(part["topic_id"]) for part in answer["assignment"]["topic_partitions"])
        epoch = answer["member_epoch"]
        answer = client.ask("ConsumerGroupHeartbeat", 1, **member, member_epoch=epoch, rebalance_timeout_ms=-1)
        assert answer["error_code"] == 0
        return bool(given)

    wait_until(beat, what="partitions are assigned")
    assert given == {bytes(known["topic_id"])}


# --- producers and transactions ---


def test_an_idempotent_producer_needs_write_on_any_topic(world: World, client: Client, user: str, topic: str) -> None:
    def code() -> int:
        found: int = client.ask("InitProducerId", 1, transactional_id=None, transaction_timeout_ms=1000)["error_code"]
        return found

    assert code() == CLUSTER_DENIED
    grant(world, acl(user, "write", "topic", topic))
    wait_until(lambda: code() != 14, what="Kafka has a block of ids")
    assert code() == 0


def test_or_idempotent_write_on_the_cluster(world: World, client: Client, user: str) -> None:
    grant(world, acl(user, "idempotent_write", "cluster"))
    answer = client.ask("InitProducerId", 1, transactional_id=None, transaction_timeout_ms=1000)
    assert answer["error_code"] == 0


def test_writing_nowhere_is_no_writing(world: World, client: Client, user: str) -> None:
    """An allowed prefix that is denied as a whole opens no topic."""
    grant(
        world,
        acl(user, "write", "topic", f"{user}-a-b", prefixed=True),
        acl(user, "write", "topic", f"{user}-a", prefixed=True, deny=True),
    )
    answer = client.ask("InitProducerId", 1, transactional_id=None, transaction_timeout_ms=1000)
    assert answer["error_code"] == CLUSTER_DENIED


def test_a_transaction_needs_write_on_its_id(
    world: World, client: Client, user: str, group_name: str, topic: str
) -> None:
    ours = {"transactional_id": user, "producer_id": 4, "producer_epoch": 0}

    def codes() -> list[int]:
        parts = [{"partition_index": 0, "committed_offset": 0, "committed_metadata": ""}]
        added = client.ask("AddPartitionsToTxn", 3, **ours, topics=[{"name": topic, "partitions": [0]}])
        offsets = client.ask("AddOffsetsToTxn", 2, **ours, group_id=group_name)
        committed = client.ask(
            "TxnOffsetCommit", 2, **ours, group_id=group_name, topics=[{"name": topic, "partitions": parts}]
        )
        return [
            client.ask("InitProducerId", 2, transactional_id=user, transaction_timeout_ms=1000)["error_code"],
            added["results_by_topic"][0]["results_by_partition"][0]["partition_error_code"],
            offsets["error_code"],
            committed["topics"][0]["partitions"][0]["error_code"],
            client.ask("EndTxn", 2, **ours, committed=True)["error_code"],
        ]

    assert codes() == [TRANSACTION_DENIED] * 5
    grant(world, acl(user, "write", "transactional_id", user))
    wait_until(lambda: codes()[0] == 0, what="Kafka's coordinator is there")
    _, added, offsets, committed, ended = codes()
    assert (added, offsets, committed) == (TOPIC_DENIED, GROUP_DENIED, GROUP_DENIED)
    assert ended not in (0, TRANSACTION_DENIED), "allowed, and then refused for its producer id"


def test_a_transactional_batch_needs_write_on_the_id_as_well(
    world: World, client: Client, user: str, topic: str
) -> None:
    grant(world, acl(user, "write", "topic", topic))
    transactional = batch([b"v"], attributes=0x10, producer_id=1, epoch=0, sequence=0)
    data = [{"name": topic, "partition_data": [{"index": 0, "records": transactional}]}]
    answer = client.ask("Produce", 9, transactional_id=user, acks=-1, timeout_ms=1000, topic_data=data)
    assert answer["responses"][0]["partition_responses"][0]["error_code"] == TRANSACTION_DENIED


def test_transactions_are_listed_and_described_as_far_as_allowed(world: World, client: Client, user: str) -> None:
    admin = world.connect()
    wait_until(
        lambda: admin.ask("InitProducerId", 2, transactional_id=user, transaction_timeout_ms=1000)["error_code"] == 0,
        what="a transactional id",
    )

    def listed() -> list[str]:
        answer = client.ask("ListTransactions", 0, state_filters=[], producer_id_filters=[])
        return [one["transactional_id"] for one in answer["transaction_states"]]

    def code() -> int:
        found: int = client.ask("DescribeTransactions", 0, transactional_ids=[user])["transaction_states"][0][
            "error_code"
        ]
        return found

    assert (listed(), code()) == ([], TRANSACTION_DENIED)
    grant(world, acl(user, "describe", "transactional_id", user))
    assert (listed(), code()) == ([user], 0)


def test_producers_are_described_to_those_who_may_read(world: World, client: Client, user: str, topic: str) -> None:
    def code() -> int:
        answer = client.ask("DescribeProducers", 0, topics=[{"name": topic, "partition_indexes": [0]}])
        found: int = answer["topics"][0]["partitions"][0]["error_code"]
        return found

    assert code() == TOPIC_DENIED
    grant(world, acl(user, "read", "topic", topic))
    assert code() == 0


def test_only_the_cluster_writes_markers(world: World, client: Client, user: str, topic: str) -> None:
    topics = [{"name": topic, "partition_indexes": [0]}]
    marker = {
        "producer_id": 1,
        "producer_epoch": 0,
        "transaction_result": False,
        "topics": topics,
        "coordinator_epoch": 0,
    }
    answer = client.ask("WriteTxnMarkers", 1, markers=[marker])
    if answer["markers"]:
        assert answer["markers"][0]["topics"][0]["partitions"][0]["error_code"] == CLUSTER_DENIED


# --- what one may do, as a bit field ---


def bits(*operations: int) -> int:
    return sum(1 << operation for operation in operations)


def test_authorized_operations_are_those_allowed(
    world: World, client: Client, user: str, group_name: str, topic: str
) -> None:
    grant(world, acl(user, "read", "topic", topic), acl(user, "describe", "group", group_name))
    answer = metadata(
        client, topic, include_topic_authorized_operations=True, include_cluster_authorized_operations=True
    )
    assert answer["topics"][0]["topic_authorized_operations"] == bits(3, 8)
    assert answer["cluster_authorized_operations"] == 0
    group = client.ask("DescribeGroups", 4, groups=[group_name], include_authorized_operations=True)["groups"][0]
    assert group["authorized_operations"] == bits(8)
    grant(world, acl(user, "alter", "cluster"))
    answer = client.ask("DescribeCluster", 0, include_cluster_authorized_operations=True)
    assert answer["cluster_authorized_operations"] == bits(7, 8)


def test_a_super_user_may_do_all_there_is(world: World, group_name: str, topic: str) -> None:
    client = world.connect()
    answer = metadata(
        client, topic, include_topic_authorized_operations=True, include_cluster_authorized_operations=True
    )
    assert answer["topics"][0]["topic_authorized_operations"] == bits(3, 4, 5, 6, 7, 8, 10, 11)
    assert answer["cluster_authorized_operations"] == bits(5, 7, 8, 9, 10, 11, 12)
    assert commit(client, group_name, topic) == 0
    group = client.ask("DescribeGroups", 4, groups=[group_name], include_authorized_operations=True)["groups"][0]
    assert group["authorized_operations"] == bits(3, 6, 8, 10, 11)


def test_operations_are_not_told_unless_asked_for(world: World, topic: str) -> None:
    answer = metadata(world.connect(), topic)
    assert answer["topics"][0]["topic_authorized_operations"] == -(1 << 31)
    assert answer["cluster_authorized_operations"] == -(1 << 31)


# --- the ACL APIs themselves ---


def test_acls_are_for_those_who_may_alter_the_cluster(world: World, client: Client, user: str) -> None:
    one = acl(user, "read", "topic", f"{user}-x")

    def codes() -> list[int]:
        return [
            client.ask("CreateAcls", 3, creations=[one])["results"][0]["error_code"],
            client.ask("DescribeAcls", 3, **filter_of(one))["error_code"],
            client.ask("DeleteAcls", 3, filters=[filter_of(one)])["filter_results"][0]["error_code"],
            client.ask("DescribeUserScramCredentials", 0, users=[])["error_code"],
            client.ask("AlterUserScramCredentials", 0, deletions=[{"name": "x", "mechanism": 1}])["results"][0][
                "error_code"
            ],
        ]

    assert codes() == [CLUSTER_DENIED] * 5
    grant(world, acl(user, "describe", "cluster"))
    assert codes() == [CLUSTER_DENIED, 0, CLUSTER_DENIED, 0, CLUSTER_DENIED]
    grant(world, acl(user, "alter", "cluster"))
    assert codes() == [0, 0, 0, 0, 91]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_acl_is_described_as_it_was_made(world: World, user: str, version: int) -> None:
    client = world.connect()
    one = acl(user, "read", "topic", f"{user}-x", prefixed=True, host="10.0.0.1")
    for _ in range(2):
        assert client.ask("CreateAcls", version, creations=[one])["results"][0]["error_code"] == 0, (
            "also the second time"
        )
    wait_until(lambda: find(client, one), what="the ACL is in force")
    (resource,) = client.ask("DescribeAcls", version, **filter_of(one))["resources"]
    assert (resource["resource_type"], resource["resource_name"], resource["pattern_type"]) == (2, f"{user}-x", 4)
    (found,) = resource["acls"]
    assert found == {"principal": f"User:{user}", "host": "10.0.0.1", "operation": 3, "permission_type": 3}
    (result,) = client.ask("DeleteAcls", version, filters=[filter_of(one)])["filter_results"]
    (gone,) = result["matching_acls"]
    assert (gone["principal"], gone["pattern_type"], gone["error_code"]) == (f"User:{user}", 4, 0)


@pytest.mark.parametrize(
    "change",
    [{"resource_name": ""}, {"resource_type": 4}, {"operation": 1}, {"permission_type": 1},
     {"resource_pattern_type": 2}, {"resource_type": 1}, {"principal": "nobody"}],
    ids=["no name", "a cluster's name", "any operation", "any permission", "pattern match", "any type",
         "no kind of principal"],
)  # fmt: skip
def test_what_cannot_be_an_acl_is_refused(world: World, user: str, change: dict[str, Any]) -> None:
    one = acl(user, "read", "topic", f"{user}-x") | change
    (result,) = world.connect().ask("CreateAcls", 3, creations=[one])["results"]
    # Apache Kafka refuses most of these in the constructors of its classes, as UNKNOWN_SERVER_ERROR.
    assert result["error_code"] in (INVALID_REQUEST, -1)


def test_good_and_bad_acls_of_a_request_are_answered_one_by_one(world: World, user: str) -> None:
    wanted = [acl(user, "read", "topic", f"{user}-x"), acl(user, "read", "topic", "")]
    answer = world.connect().ask("CreateAcls", 3, creations=wanted)
    assert [result["error_code"] for result in answer["results"]] == [0, INVALID_REQUEST]


def test_a_match_filter_finds_all_that_concern_a_resource(world: World, user: str) -> None:
    client = world.connect()
    ours = [
        acl(user, "read", "topic", f"{user}-topic"),
        acl(user, "read", "topic", user, prefixed=True),
        acl(user, "read", "topic", "*"),
        acl(user, "read", "topic", f"{user}-other"),
        acl(user, "read", "group", f"{user}-topic"),
    ]
    grant(world, *ours)
    every = {"principal_filter": f"User:{user}", "operation": 1, "permission_type": 1}

    def names(kind: int, pattern: int, name: str | None) -> set[tuple[int, str]]:
        answer = client.ask(
            "DescribeAcls",
            3,
            resource_type_filter=kind,
            pattern_type_filter=pattern,
            resource_name_filter=name,
            **every,
        )
        return {(one["pattern_type"], one["resource_name"]) for one in answer["resources"]}

    assert names(2, 2, f"{user}-topic") == {(3, f"{user}-topic"), (4, user), (3, "*")}
    assert names(2, 3, f"{user}-topic") == {(3, f"{user}-topic")}
    assert names(2, 1, user) == {(4, user)}
    assert names(2, 4, None) == {(4, user)}
    assert len(names(1, 1, None)) == 4, "the topic and the group of one name are two resources"
    deleted = client.ask("DeleteAcls", 3, filters=[{"resource_type_filter": 1, "pattern_type_filter": 1, **every}])
    assert len(deleted["filter_results"][0]["matching_acls"]) == len(ours)
