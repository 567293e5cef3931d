"""Contract: AlterConfigs, the old call, which replaces all settings of a topic; and one for more nodes than one."""

from __future__ import annotations

import pytest

from ottla.broker.wire.messages.alter_configs import ALTER_CONFIGS
from ottla.broker.wire.messages.describe_configs import DESCRIBE_CONFIGS
from ottla.testing import Broker
from tests.contracts.asking import Asking
from tests.contracts.clients import create_topic, producer, read_partition, send, values, wait_until

NONE, UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, INVALID_REQUEST = 0, 3, 40, 42
TOPIC, DYNAMIC_TOPIC = 2, 1


def replace(
    broker: Broker, topic: str, *settings: tuple[str, str | None], version: int = 2, validate_only: bool = False
) -> int:
    """Replaces the topic's settings; gives the error."""
    configs = [{"name": name, "value": value} for name, value in settings]
    wanted = [{"resource_type": TOPIC, "resource_name": topic, "configs": configs}]
    with Asking(broker) as asking:
        answer = asking.ask(ALTER_CONFIGS, version, resources=wanted, validate_only=validate_only)
    (one,) = answer["responses"]
    assert (one["resource_type"], one["resource_name"]) == (TOPIC, topic)
    return int(one["error_code"])


def own_settings(broker: Broker, topic: str) -> dict[str, str]:
    """What was set of the topic itself."""
    wanted = [{"resource_type": TOPIC, "resource_name": topic, "configuration_keys": None}]
    with Asking(broker) as asking:
        (one,) = asking.ask(DESCRIBE_CONFIGS, 4, resources=wanted)["results"]
    return {config["name"]: config["value"] for config in one["configs"] if config["config_source"] == DYNAMIC_TOPIC}


@pytest.mark.parametrize("version", [0, 1, 2])
def test_what_is_not_named_goes_back_to_its_default(broker: Broker, topic_name: str, version: int) -> None:
    create_topic(broker, topic_name, retention_ms="777777777", segment_ms="66666666")
    changes = (("retention.ms", "888888888"), ("max.message.bytes", "5000"))
    assert replace(broker, topic_name, *changes, version=version) == NONE
    wait_until(lambda: own_settings(broker, topic_name) == dict(changes), what="replaced")
    assert replace(broker, topic_name, version=version) == NONE
    wait_until(lambda: own_settings(broker, topic_name) == {}, what="all defaults")


def test_a_replacement_that_is_only_tried_changes_nothing(broker: Broker, topic_name: str) -> None:
    create_topic(broker, topic_name, retention_ms="777777777")
    assert replace(broker, topic_name, ("segment.ms", "5"), validate_only=True) == NONE
    assert replace(broker, topic_name, ("segment.ms", "0"), validate_only=True) == INVALID_CONFIG
    assert own_settings(broker, topic_name) == {"retention.ms": "777777777"}


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("retention.ms", "soon", INVALID_CONFIG),
        ("retention.ms", None, INVALID_REQUEST),
        ("no.such.setting", "1", INVALID_CONFIG),
    ],
)
def test_with_one_bad_setting_nothing_is_replaced(
    broker: Broker, topic_name: str, name: str, value: str | None, error: int
) -> None:
    create_topic(broker, topic_name, retention_ms="777777777")
    assert replace(broker, topic_name, ("segment.ms", "66666666"), (name, value)) == error
    assert own_settings(broker, topic_name) == {"retention.ms": "777777777"}


def test_settings_of_a_topic_that_is_not_there_cannot_be_replaced(broker: Broker, topic_name: str) -> None:
    assert replace(broker, topic_name, ("retention.ms", "1")) == UNKNOWN_TOPIC_OR_PARTITION


def test_more_in_sync_replicas_than_there_are_copies_keep_nobody_from_writing(broker: Broker, topic_name: str) -> None:
    create_topic(broker, topic_name, min_insync_replicas="2")
    send(broker, topic_name, b"v", client=producer(broker, acks="all"))
    assert own_settings(broker, topic_name) == {"min.insync.replicas": "2"}
    assert values(read_partition(broker, topic_name, 1)) == [b"v"]
