"""Contract: settings of topics and of the broker are described, checked and changed as Kafka does it, to the word."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourceType,
)

from ottla.testing import Broker
from tests.contracts.clients import PATIENCE_S, admin, wait_until

INVALID_CONFIG, INVALID_REQUEST = 40, 42
SET, DELETE = AlterConfigOpType.SET, AlterConfigOpType.DELETE
APPEND, SUBTRACT = AlterConfigOpType.APPEND, AlterConfigOpType.SUBTRACT
BROKER_ID = "1"

# Name: default, and the broker's setting that is described as its synonym.
TOPIC_SETTINGS = {
    "cleanup.policy": ("delete", "log.cleanup.policy"),
    "compression.gzip.level": ("-1", "compression.gzip.level"),
    "compression.lz4.level": ("9", "compression.lz4.level"),
    "compression.type": ("producer", "compression.type"),
    "compression.zstd.level": ("3", "compression.zstd.level"),
    "delete.retention.ms": ("86400000", "log.cleaner.delete.retention.ms"),
    "file.delete.delay.ms": ("60000", "log.segment.delete.delay.ms"),
    "flush.messages": ("9223372036854775807", "log.flush.interval.messages"),
    "flush.ms": ("9223372036854775807", None),
    "follower.replication.throttled.replicas": ("", None),
    "index.interval.bytes": ("4096", "log.index.interval.bytes"),
    "leader.replication.throttled.replicas": ("", None),
    "local.retention.bytes": ("-2", "log.local.retention.bytes"),
    "local.retention.ms": ("-2", "log.local.retention.ms"),
    "max.compaction.lag.ms": ("9223372036854775807", "log.cleaner.max.compaction.lag.ms"),
    "max.message.bytes": ("1048588", "message.max.bytes"),
    "message.timestamp.after.max.ms": ("3600000", "log.message.timestamp.after.max.ms"),
    "message.timestamp.before.max.ms": ("9223372036854775807", "log.message.timestamp.before.max.ms"),
    "message.timestamp.type": ("CreateTime", "log.message.timestamp.type"),
    "min.cleanable.dirty.ratio": ("0.5", "log.cleaner.min.cleanable.ratio"),
    "min.compaction.lag.ms": ("0", "log.cleaner.min.compaction.lag.ms"),
    "min.insync.replicas": ("1", "min.insync.replicas"),
    "preallocate": ("false", "log.preallocate"),
    "remote.log.copy.disable": ("false", None),
    "remote.log.delete.on.disable": ("false", None),
    "remote.storage.enable": ("false", None),
    "retention.bytes": ("-1", "log.retention.bytes"),
    "retention.ms": ("604800000", None),
    "segment.bytes": ("1073741824", "log.segment.bytes"),
    "segment.index.bytes": ("10485760", "log.index.size.max.bytes"),
    "segment.jitter.ms": ("0", None),
    "segment.ms": ("604800000", None),
    "unclean.leader.election.enable": ("false", "unclean.leader.election.enable"),
}

TAKEN = [
    ("cleanup.policy", "compact,delete"),
    ("cleanup.policy", "delete, compact"),
    ("cleanup.policy", ""),
    ("compression.gzip.level", "-1"),
    ("compression.zstd.level", "-131072"),
    ("follower.replication.throttled.replicas", "0:1,1:2"),
    ("follower.replication.throttled.replicas", "*"),
    ("internal.segment.bytes", "100"),
    ("local.retention.ms", "-2"),
    ("max.message.bytes", "0"),
    ("min.cleanable.dirty.ratio", "0"),
    ("preallocate", "TRUE"),
    ("retention.bytes", "-5"),
    ("retention.ms", "-1"),
    ("retention.ms", " 1048576 "),
    ("segment.bytes", "1048576"),
]

# What is wrong with a value, after "Invalid value VALUE for configuration NAME: ".
REFUSED = [
    ("cleanup.policy", "burn", "String must be one of: compact, delete"),
    ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
    ("compression.lz4.level", "18", "Value must be no more than 17"),
    ("compression.type", "none", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
    ("delete.retention.ms", "-1", "Value must be at least 0"),
    ("flush.messages", "0", "Value must be at least 1"),
    ("max.compaction.lag.ms", "0", "Value must be at least 1"),
    ("max.message.bytes", "-1", "Value must be at least 0"),
    ("max.message.bytes", "2147483648", "Not a number of type INT"),
    ("message.timestamp.type", "logappendtime", "String must be one of: CreateTime, LogAppendTime"),
    ("min.cleanable.dirty.ratio", "1.1", "Value must be no more than 1"),
    ("min.cleanable.dirty.ratio", "half", "Not a number of type DOUBLE"),
    ("min.compaction.lag.ms", "-1", "Value must be at least 0"),
    ("min.insync.replicas", "0", "Value must be at least 1"),
    ("preallocate", "yes", "Expected value to be either true or false"),
    ("retention.bytes", "much", "Not a number of type LONG"),
    ("retention.ms", "-2", "Value must be at least -1"),
    ("retention.ms", "1.5", "Not a number of type LONG"),
    ("retention.ms", "9223372036854775808", "Not a number of type LONG"),
    ("segment.bytes", "1048575", "Value must be at least 1048576"),
    ("segment.index.bytes", "3", "Value must be at least 4"),
    ("segment.ms", "0", "Value must be at least 1"),
]


@pytest.fixture
def client(broker: Broker) -> AdminClient:
    return admin(broker)


def validate(client: AdminClient, topic: str, settings: list[dict[str, str]]) -> list[str | None]:
    """What is said to topics with these settings; None for those that would be made."""
    wanted = [NewTopic(f"{topic}-{number}", 1, 1, config=config) for number, config in enumerate(settings)]
    futures = client.create_topics(wanted, validate_only=True)
    said: list[str | None] = []
    for new in wanted:
        error = futures[new.topic].exception(PATIENCE_S)
        assert error is None or error.args[0].code() == INVALID_CONFIG
        said.append(error.args[0].str() if error else None)
    return said


def describe(client: AdminClient, name: str, kind: ResourceType = ResourceType.TOPIC) -> dict[str, ConfigEntry]:
    resource = ConfigResource(kind, name)
    return client.describe_configs([resource])[resource].result(PATIENCE_S)


def change(
    client: AdminClient,
    name: str,
    *changes: tuple[str, AlterConfigOpType, str | None],
    kind: ResourceType = ResourceType.TOPIC,
) -> None:
    entries = [ConfigEntry(key, value, incremental_operation=operation) for key, operation, value in changes]
    resource = ConfigResource(kind, name, incremental_configs=entries)
    client.incremental_alter_configs([resource])[resource].result(PATIENCE_S)


def refused(action: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(KafkaException) as failure:
        action()
    return failure.value.args[0].code(), failure.value.args[0].str()


def sources(entry: ConfigEntry) -> list[tuple[str, str, int]]:
    """Where the value comes from, and where it would come from without that: name, value, source."""
    return [(name, one.value, one.source) for name, one in entry.synonyms.items()]


def test_every_topic_setting_is_described_with_kafkas_default_and_synonym(client: AdminClient, topic: str) -> None:
    described = describe(client, topic)
    assert {name: entry.value for name, entry in described.items()} == {
        name: default for name, (default, _) in TOPIC_SETTINGS.items()
    }
    assert {name: next(iter(entry.synonyms), None) for name, entry in described.items()} == {
        name: synonym for name, (_, synonym) in TOPIC_SETTINGS.items()
    }
    assert not any(entry.is_read_only or entry.is_sensitive for entry in described.values())


def test_values_within_kafkas_bounds_are_taken(client: AdminClient, topic_name: str) -> None:
    said = validate(client, topic_name, [{name: value} for name, value in TAKEN])
    assert [(case, what) for case, what in zip(TAKEN, said, strict=True) if what] == []


def test_values_outside_kafkas_bounds_are_refused_in_kafkas_words(client: AdminClient, topic_name: str) -> None:
    said = validate(client, topic_name, [{name: value} for name, value, _ in REFUSED])
    assert said == [f"Invalid value {value} for configuration {name}: {why}" for name, value, why in REFUSED]


def test_settings_that_contradict_each_other_are_refused(client: AdminClient, topic_name: str) -> None:
    settings = [
        {"min.compaction.lag.ms": "100", "max.compaction.lag.ms": "50"},
        {"remote.storage.enable": "true"},
        {"cleanup.policy": "delete,"},
        {"no.such.setting": "1"},
    ]
    assert validate(client, topic_name, settings) == [
        "conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (50)",
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        "Configuration 'cleanup.policy' values must not be empty.",
        "Unknown topic config name: no.such.setting",
    ]


def test_lists_are_added_to_and_taken_from(client: AdminClient, topic: str) -> None:
    def is_now(expected: str) -> Callable[[], bool]:
        return lambda: describe(client, topic)["cleanup.policy"].value == expected

    for operation, word, expected in [
        (APPEND, "compact", "delete,compact"),
        (APPEND, "compact", "delete,compact"),
        (SUBTRACT, "delete", "compact"),
        (SUBTRACT, "compact", ""),
        (DELETE, None, "delete"),
    ]:
        change(client, topic, ("cleanup.policy", operation, word))
        wait_until(is_now(expected), what=f"cleanup.policy is {expected!r}")


def test_changes_that_cannot_be_made_are_refused_and_nothing_is_changed(client: AdminClient, topic: str) -> None:
    assert refused(lambda: change(client, topic, ("retention.ms", APPEND, "1"))) == (
        INVALID_CONFIG,
        "Can't APPEND to key retention.ms because its type is not LIST.",
    )
    assert refused(lambda: change(client, topic, ("retention.ms", SET, "1"), ("segment.ms", SET, "0"))) == (
        INVALID_CONFIG,
        "Invalid value 0 for configuration segment.ms: Value must be at least 1",
    )
    code, _ = refused(
        lambda: change(client, topic, ("max.compaction.lag.ms", SET, "5"), ("min.compaction.lag.ms", SET, "9"))
    )
    assert code == INVALID_CONFIG
    assert describe(client, topic)["retention.ms"].source == ConfigSource.DEFAULT_CONFIG.value


@pytest.fixture
def changed_broker(client: AdminClient) -> Iterator[AdminClient]:
    """Puts log.retention.ms of the broker back at the end."""
    yield client
    change(client, BROKER_ID, ("log.retention.ms", DELETE, None), kind=ResourceType.BROKER)
    wait_until(lambda: describe(client, BROKER_ID, ResourceType.BROKER)["log.retention.ms"].source > 3, what="put back")


def test_a_setting_of_the_broker_is_the_default_of_all_topics_at_once(changed_broker: AdminClient, topic: str) -> None:
    client = changed_broker
    change(client, BROKER_ID, ("log.retention.ms", SET, "777777777"), kind=ResourceType.BROKER)
    wait_until(lambda: describe(client, topic)["retention.ms"].value == "777777777", what="in force in the topic")
    entry = describe(client, topic)["retention.ms"]
    assert entry.source == ConfigSource.DYNAMIC_BROKER_CONFIG.value
    assert sources(entry)[0] == ("log.retention.ms", "777777777", ConfigSource.DYNAMIC_BROKER_CONFIG.value)

    change(client, topic, ("retention.ms", SET, "888888888"))
    wait_until(lambda: describe(client, topic)["retention.ms"].value == "888888888", what="the topic's own")
    entry = describe(client, topic)["retention.ms"]
    assert sources(entry)[:2] == [
        ("retention.ms", "888888888", ConfigSource.DYNAMIC_TOPIC_CONFIG.value),
        ("log.retention.ms", "777777777", ConfigSource.DYNAMIC_BROKER_CONFIG.value),
    ]


def test_what_a_broker_reads_at_its_start_only_cannot_be_changed(client: AdminClient) -> None:
    kind = ResourceType.BROKER
    assert refused(lambda: change(client, BROKER_ID, ("log.dirs", SET, "/elsewhere"), kind=kind)) == (
        INVALID_REQUEST,
        "Cannot update these configs dynamically: [log.dirs]",
    )
    assert refused(lambda: change(client, BROKER_ID, ("log.cleaner.backoff.ms", SET, "soon"), kind=kind)) == (
        INVALID_REQUEST,
        "Invalid value soon for configuration log.cleaner.backoff.ms: Not a number of type LONG",
    )
