"""Contract: committed offsets are kept per group and partition, with their metadata."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from ottla.testing import Broker
from tests.contracts.clients import PATIENCE_S, admin, consumer, error_code, produce, read


def committed(client: Consumer, topic: str, partition: int = 0) -> TopicPartition:
    (found,) = client.committed([TopicPartition(topic, partition)], timeout=PATIENCE_S)
    return found


def commit(client: Consumer, topic: str, offset: int, *, partition: int = 0, metadata: str = "") -> None:
    client.commit(offsets=[TopicPartition(topic, partition, offset, metadata)], asynchronous=False)


def test_a_new_group_has_committed_nothing(broker: Broker, topic: str, group_name: str) -> None:
    with consumer(broker, group_name) as client:
        found = committed(client, topic)
    assert found.error is None
    assert found.offset < 0


def test_a_commit_is_read_back(broker: Broker, topic: str, group_name: str) -> None:
    with consumer(broker, group_name) as client:
        commit(client, topic, 42)
        assert committed(client, topic).offset == 42


def test_a_commits_metadata_is_read_back(broker: Broker, topic: str, group_name: str) -> None:
    with consumer(broker, group_name) as client:
        commit(client, topic, 7, metadata="host-1/ünïcode")
        assert committed(client, topic).metadata == "host-1/ünïcode"


def test_metadata_of_more_than_4_kib_is_refused(broker: Broker, topic: str, group_name: str) -> None:
    with consumer(broker, group_name) as client:
        commit(client, topic, 1, metadata="x" * 4000)
        with pytest.raises(KafkaException) as failure:
            commit(client, topic, 2, metadata="x" * 5000)
        assert error_code(failure.value) == KafkaError.OFFSET_METADATA_TOO_LARGE
        assert committed(client, topic).offset == 1


def test_the_last_commit_counts_even_if_it_goes_back(broker: Broker, topic: str, group_name: str) -> None:
    with consumer(broker, group_name) as client:
        for offset in (10, 20, 5):
            commit(client, topic, offset)
        assert committed(client, topic).offset == 5


def test_partitions_are_committed_apart(broker: Broker, topic_of_3: str, group_name: str) -> None:
    with consumer(broker, group_name) as client:
        commit(client, topic_of_3, 5, partition=0)
        commit(client, topic_of_3, 9, partition=2)
        assert [committed(client, topic_of_3, partition).offset for partition in (0, 2)] == [5, 9]
        assert committed(client, topic_of_3, 1).offset < 0


def test_groups_are_committed_apart(broker: Broker, topic: str, group_name: str) -> None:
    with consumer(broker, f"{group_name}-a") as a, consumer(broker, f"{group_name}-b") as b:
        commit(a, topic, 1)
        commit(b, topic, 2)
        assert (committed(a, topic).offset, committed(b, topic).offset) == (1, 2)


def test_an_unknown_partition_cannot_be_committed(broker: Broker, topic: str, group_name: str) -> None:
    with consumer(broker, group_name) as client:
        with pytest.raises(KafkaException) as failure:
            commit(client, topic, 1, partition=5)
        assert error_code(failure.value) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_automatic_commits_happen_at_close(broker: Broker, topic: str, group_name: str) -> None:
    produce(broker, topic, [b"v0", b"v1", b"v2"])
    with consumer(broker, group_name, enable_auto_commit=True, auto_commit_interval_ms=60_000) as client:
        client.subscribe([topic])
        read(client, 3)
    with consumer(broker, group_name) as client:
        assert committed(client, topic).offset == 3


def test_a_partition_that_a_member_does_not_own_may_be_committed_from_outside_an_empty_group_only(
    broker: Broker, topic: str, group_name: str
) -> None:
    produce(broker, topic, [b"v"])
    with consumer(broker, group_name) as member, consumer(broker, group_name) as outsider:
        member.subscribe([topic])
        read(member, 1)
        with pytest.raises(KafkaException) as failure:
            commit(outsider, topic, 99)
        assert error_code(failure.value) in (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION)
        assert committed(member, topic).offset < 0


# --- by the administrator ---


@pytest.fixture
def client(broker: Broker) -> AdminClient:
    return admin(broker)


def listed(client: AdminClient, group: str) -> dict[tuple[str, int], int]:
    wanted = [ConsumerGroupTopicPartitions(group)]
    found = client.list_consumer_group_offsets(wanted)[group].result(PATIENCE_S).topic_partitions
    return {(partition.topic, partition.partition): partition.offset for partition in found}


def test_all_offsets_of_a_group_are_listed(
    client: AdminClient, broker: Broker, topic_of_3: str, group_name: str
) -> None:
    with consumer(broker, group_name) as member:
        commit(member, topic_of_3, 3, partition=0)
        commit(member, topic_of_3, 4, partition=1)
    assert listed(client, group_name) == {(topic_of_3, 0): 3, (topic_of_3, 1): 4}


def test_the_offsets_of_an_unknown_group_are_none_and_no_error(client: AdminClient, group_name: str) -> None:
    assert listed(client, group_name) == {}


def test_the_administrator_sets_an_empty_groups_offsets(
    client: AdminClient, broker: Broker, topic: str, group_name: str
) -> None:
    wanted = ConsumerGroupTopicPartitions(group_name, [TopicPartition(topic, 0, 77)])
    client.alter_consumer_group_offsets([wanted])[group_name].result(PATIENCE_S)
    with consumer(broker, group_name) as member:
        assert committed(member, topic).offset == 77


def test_offsets_of_a_deleted_topic_are_gone(client: AdminClient, broker: Broker, topic: str, group_name: str) -> None:
    from tests.contracts.clients import wait_until

    with consumer(broker, group_name) as member:
        commit(member, topic, 3)
    client.delete_topics([topic])[topic].result(PATIENCE_S)
    wait_until(lambda: listed(client, group_name) == {}, what="offsets gone")
