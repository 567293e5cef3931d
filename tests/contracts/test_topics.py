"""Contract: topics are created, described, changed and deleted as Kafka does it."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from ottla.testing import Broker, EmbeddedBroker
from tests.contracts.clients import (
    PATIENCE_S,
    admin,
    create_topic,
    end_offset,
    error_code,
    produce,
    read_partition,
    send,
    values,
    wait_until,
)


@pytest.fixture
def client(broker: Broker) -> AdminClient:
    return admin(broker)


def create_error(client: AdminClient, new: NewTopic, *, validate_only: bool = False) -> int:
    with pytest.raises(KafkaException) as failure:
        client.create_topics([new], validate_only=validate_only)[new.topic].result(PATIENCE_S)
    return error_code(failure.value)


def config_of(client: AdminClient, topic: str) -> dict[str, ConfigEntry]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return client.describe_configs([resource])[resource].result(PATIENCE_S)


def delete(client: AdminClient, topic: str) -> None:
    client.delete_topics([topic])[topic].result(PATIENCE_S)


def test_a_created_topic_has_its_partitions_each_with_a_leader(
    broker: Broker, client: AdminClient, topic_name: str
) -> None:
    create_topic(broker, topic_name, partitions=5)
    metadata = client.list_topics(topic_name, timeout=PATIENCE_S)
    partitions = metadata.topics[topic_name].partitions
    assert sorted(partitions) == [0, 1, 2, 3, 4]
    for partition in partitions.values():
        assert partition.leader in metadata.brokers
        assert partition.replicas == [partition.leader] == partition.isrs


def test_the_broker_gives_the_address_that_clients_used(broker: Broker, client: AdminClient) -> None:
    addresses = [f"{b.host}:{b.port}" for b in client.list_topics(timeout=PATIENCE_S).brokers.values()]
    assert addresses == [broker.bootstrap_servers]


def test_the_cluster_has_an_id_and_a_controller(client: AdminClient) -> None:
    cluster = client.describe_cluster().result(PATIENCE_S)
    assert cluster.cluster_id
    assert cluster.controller.id in [node.id for node in cluster.nodes]


def test_a_created_topic_is_listed(client: AdminClient, topic: str) -> None:
    assert topic in client.list_topics(timeout=PATIENCE_S).topics


def test_a_topic_without_a_partition_count_gets_the_default(client: AdminClient, topic_name: str) -> None:
    client.create_topics([NewTopic(topic_name)])[topic_name].result(PATIENCE_S)
    found = wait_until(lambda: client.list_topics(topic_name, timeout=5).topics[topic_name].partitions, what="created")
    assert len(found) == 1


def test_creating_a_topic_twice_fails(client: AdminClient, topic: str) -> None:
    assert create_error(client, NewTopic(topic, 1, 1)) == KafkaError.TOPIC_ALREADY_EXISTS


def test_validate_only_creates_nothing(client: AdminClient, topic_name: str) -> None:
    client.create_topics([NewTopic(topic_name, 1, 1)], validate_only=True)[topic_name].result(PATIENCE_S)
    assert topic_name not in client.list_topics(timeout=PATIENCE_S).topics


def test_validate_only_finds_a_duplicate(client: AdminClient, topic: str) -> None:
    assert create_error(client, NewTopic(topic, 1, 1), validate_only=True) == KafkaError.TOPIC_ALREADY_EXISTS


@pytest.mark.parametrize("name", ["with space", "slash/ed", "ümlaut", ".", "..", "a" * 250, "with:colon"])
def test_a_name_outside_kafkas_alphabet_is_refused(client: AdminClient, name: str) -> None:
    assert create_error(client, NewTopic(name, 1, 1)) == KafkaError.TOPIC_EXCEPTION


@pytest.mark.parametrize("suffix", ["_under", ".dot", "-dash", "UPPER09", "x" * 230])
def test_a_name_within_kafkas_alphabet_is_taken(broker: Broker, topic_name: str, suffix: str) -> None:
    name = create_topic(broker, (topic_name + suffix)[:249])
    send(broker, name, b"v")
    assert values(read_partition(broker, name, 1)) == [b"v"]


def test_names_that_differ_in_dot_and_underscore_only_collide(
    broker: Broker, client: AdminClient, topic_name: str
) -> None:
    create_topic(broker, f"{topic_name}.x")
    assert create_error(client, NewTopic(f"{topic_name}_x", 1, 1)) == KafkaError.TOPIC_EXCEPTION


@pytest.mark.parametrize("partitions", [0, -5])
def test_a_topic_has_at_least_one_partition(client: AdminClient, topic_name: str, partitions: int) -> None:
    # librdkafka itself refuses some counts: whoever answers, nothing is created.
    with pytest.raises((KafkaException, ValueError)):
        client.create_topics([NewTopic(topic_name, partitions, 1)])[topic_name].result(PATIENCE_S)
    assert topic_name not in client.list_topics(timeout=PATIENCE_S).topics


def test_an_unknown_setting_is_refused(client: AdminClient, topic_name: str) -> None:
    new = NewTopic(topic_name, 1, 1, config={"no.such.setting": "1"})
    assert create_error(client, new) == KafkaError.INVALID_CONFIG


@pytest.mark.parametrize(
    ("name", "value"), [("retention.ms", "soon"), ("cleanup.policy", "burn"), ("segment.bytes", "-1")]
)
def test_a_setting_with_an_impossible_value_is_refused(
    client: AdminClient, topic_name: str, name: str, value: str
) -> None:
    assert create_error(client, NewTopic(topic_name, 1, 1, config={name: value})) == KafkaError.INVALID_CONFIG


def test_one_bad_topic_in_a_request_does_not_stop_the_others(client: AdminClient, topic: str, topic_name: str) -> None:
    other = f"{topic_name}-other"
    results = client.create_topics([NewTopic(topic, 1, 1), NewTopic(other, 1, 1)])
    results[other].result(PATIENCE_S)
    with pytest.raises(KafkaException):
        results[topic].result(PATIENCE_S)


def test_settings_given_at_creation_are_described(broker: Broker, client: AdminClient, topic_name: str) -> None:
    create_topic(broker, topic_name, retention_ms="3600000", cleanup_policy="compact")
    config = config_of(client, topic_name)
    assert config["retention.ms"].value == "3600000"
    assert config["cleanup.policy"].value == "compact"
    assert not config["retention.ms"].is_default


def test_settings_not_given_are_described_with_kafkas_defaults(client: AdminClient, topic: str) -> None:
    config = config_of(client, topic)
    expected = {
        "retention.ms": "604800000",
        "cleanup.policy": "delete",
        "max.message.bytes": "1048588",
        "segment.bytes": "1073741824",
        "message.timestamp.type": "CreateTime",
        "min.insync.replicas": "1",
        "compression.type": "producer",
    }
    assert {name: config[name].value for name in expected} == expected
    assert config["retention.ms"].is_default


def test_the_settings_of_an_unknown_topic_are_an_error(client: AdminClient, topic_name: str) -> None:
    with pytest.raises(KafkaException) as failure:
        config_of(client, topic_name)
    assert error_code(failure.value) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_a_setting_can_be_changed_and_put_back(client: AdminClient, topic: str) -> None:
    def change(operation: AlterConfigOpType, value: str | None) -> None:
        entry = ConfigEntry("retention.ms", value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        client.incremental_alter_configs([resource])[resource].result(PATIENCE_S)

    change(AlterConfigOpType.SET, "1234567")
    wait_until(lambda: config_of(client, topic)["retention.ms"].value == "1234567", what="changed")
    change(AlterConfigOpType.DELETE, None)
    wait_until(lambda: config_of(client, topic)["retention.ms"].value == "604800000", what="put back")


def test_a_deleted_topic_is_gone(client: AdminClient, topic: str) -> None:
    delete(client, topic)
    wait_until(lambda: topic not in client.list_topics(timeout=PATIENCE_S).topics, what="gone")


def test_deleting_an_unknown_topic_fails(client: AdminClient, topic_name: str) -> None:
    with pytest.raises(KafkaException) as failure:
        delete(client, topic_name)
    assert error_code(failure.value) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_a_topic_created_again_under_its_name_is_empty(broker: Broker, client: AdminClient, topic: str) -> None:
    produce(broker, topic, [b"old"] * 3)
    delete(client, topic)
    wait_until(lambda: topic not in client.list_topics(timeout=PATIENCE_S).topics, what="gone")
    create_topic(broker, topic)
    assert end_offset(broker, topic) == 0
    produce(broker, topic, [b"new"])
    assert values(read_partition(broker, topic, 1)) == [b"new"]


def test_an_unknown_topic_is_described_as_unknown(client: AdminClient, topic_name: str) -> None:
    found = client.list_topics(topic_name, timeout=PATIENCE_S).topics[topic_name]
    assert found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert topic_name not in client.list_topics(timeout=PATIENCE_S).topics, "asking created it"


def test_partitions_can_be_added(broker: Broker, client: AdminClient, topic: str) -> None:
    send(broker, topic, b"before")
    client.create_partitions([NewPartitions(topic, 3)])[topic].result(PATIENCE_S)
    wait_until(lambda: len(client.list_topics(topic, timeout=5).topics[topic].partitions) == 3, what="3 partitions")
    produce(broker, topic, [b"in the new one"], partition=2)
    assert values(read_partition(broker, topic, 1, partition=2)) == [b"in the new one"]
    assert values(read_partition(broker, topic, 1)) == [b"before"]


@pytest.mark.parametrize("count", [1, 3])
def test_partitions_cannot_be_fewer_nor_as_many_as_before(client: AdminClient, topic_of_3: str, count: int) -> None:
    with pytest.raises(KafkaException) as failure:
        client.create_partitions([NewPartitions(topic_of_3, count)])[topic_of_3].result(PATIENCE_S)
    assert error_code(failure.value) == KafkaError.INVALID_PARTITIONS


def test_more_replicas_than_brokers_are_refused_where_that_is_wanted(
    broker: Broker, broker_kind: str, topic_name: str
) -> None:
    def refuses(of: Broker) -> bool:
        client = admin(of)
        future = client.create_topics([NewTopic(topic_name, 1, 3)])[topic_name]
        with pytest.raises(KafkaException) as failure:
            future.result(20)
        assert error_code(failure.value) == KafkaError.INVALID_REPLICATION_FACTOR
        said: str = failure.value.args[0].str()
        return said.startswith(
            "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because "
            "only 1 broker(s) are registered"
        )

    if broker_kind == "kafka":
        assert refuses(broker)
        return
    with EmbeddedBroker(options={"any_replication_factor": False}) as strict:
        assert refuses(strict)
    client = admin(broker)
    client.create_topics([NewTopic(topic_name, 1, 3)])[topic_name].result(20)
    (found,) = client.list_topics(topic_name, timeout=20).topics.values()
    assert found.partitions[0].replicas == found.partitions[0].isrs
    assert len(found.partitions[0].replicas) == 1
