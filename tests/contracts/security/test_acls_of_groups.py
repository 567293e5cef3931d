"""Contract: who may do what with groups, transactions and producers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.broker.batches import batch
from tests.broker.running import Client
from tests.contracts.clients import wait_until
from tests.contracts.security.acls import acl, grant
from tests.contracts.security.requests import (
    bits,
    commit,
    connect_as,
    create,
    described,
    metadata,
)
from tests.contracts.security.secured import World

TOPIC_DENIED, GROUP_DENIED, CLUSTER_DENIED, TRANSACTION_DENIED = 29, 30, 31, 53


# --- groups ---


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
