"""Contract: DescribeConfigs as it goes over the wire: what each version answers of topics, brokers and groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ottla.broker.wire.messages.describe_configs import DESCRIBE_CONFIGS
from ottla.broker.wire.schema import Message
from ottla.testing import Broker
from tests.contracts.asking import Asking
from tests.contracts.clients import create_topic
from tests.contracts.differences import known_difference

NONE, UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC, INVALID_REQUEST = 0, 3, 17, 42
TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
BROKER_ID = "1"
FROM_TOPIC, FROM_CLUSTER, FROM_FILE, FROM_DEFAULT = 1, 3, 4, 5
UNTOLD, BOOLEAN, STRING, INT, LONG, LIST = 0, 1, 2, 3, 5, 7
VERSIONS = [1, 2, 3, 4]  # version 0 is gone from Apache Kafka
NEWEST = 4
TOPIC_SETTINGS = 33


@pytest.fixture
def asking(broker: Broker) -> Iterator[Asking]:
    with Asking(broker) as opened:
        yield opened


def ask(asking: Asking, *resources: tuple[int, str, list[str] | None], version: int = NEWEST, **more: bool) -> Any:
    wanted = [
        {"resource_type": kind, "resource_name": name, "configuration_keys": keys} for kind, name, keys in resources
    ]
    options = {"include_synonyms": False, "include_documentation": False} | more
    return asking.ask(DESCRIBE_CONFIGS, version, resources=wanted, **options)["results"]


def settings(asking: Asking, kind: int, name: str, keys: list[str] | None, **more: Any) -> dict[str, Message]:
    """What is answered of one resource, by setting."""
    (result,) = ask(asking, (kind, name, keys), **more)
    assert (result["error_code"], result["error_message"]) == (NONE, "")
    assert (result["resource_type"], result["resource_name"]) == (kind, name)
    names = [config["name"] for config in result["configs"]]
    assert len(names) == len(set(names))
    return {config["name"]: config for config in result["configs"]}


def synonyms(config: Message) -> list[tuple[str, str | None, int]]:
    return [(one["name"], one["value"], one["source"]) for one in config["synonyms"]]


def error(asking: Asking, kind: int, name: str) -> tuple[int, str]:
    (result,) = ask(asking, (kind, name, None))
    assert (result["resource_type"], result["resource_name"], result["configs"]) == (kind, name, [])
    return result["error_code"], result["error_message"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("told", [True, False], ids=["with-more", "bare"])
def test_a_topics_settings_in_every_version(
    broker: Broker, asking: Asking, topic_name: str, version: int, told: bool
) -> None:
    create_topic(broker, topic_name, retention_ms="777777777")
    more = {"include_synonyms": told, "include_documentation": told and version >= 3}
    found = settings(asking, TOPIC, topic_name, ["retention.ms", "max.message.bytes"], version=version, **more)
    own, default = found["retention.ms"], found["max.message.bytes"]
    assert (own["value"], own["config_source"]) == ("777777777", FROM_TOPIC)
    assert (default["value"], default["config_source"]) == ("1048588", FROM_DEFAULT)
    assert [one["config_type"] for one in (own, default)] == ([LONG, INT] if version >= 3 else [UNTOLD] * 2)
    assert not any(one["read_only"] or one["is_sensitive"] for one in (own, default))
    assert {bool(one["documentation"]) for one in (own, default)} == {told and version >= 3}
    if told:
        assert synonyms(own) == [("retention.ms", "777777777", FROM_TOPIC)]
        assert synonyms(default) == [("message.max.bytes", "1048588", FROM_DEFAULT)]
    else:
        assert (own["synonyms"], default["synonyms"]) == ([], [])


@pytest.mark.parametrize("version", VERSIONS)
def test_no_names_or_an_empty_list_of_them_mean_all_and_unknown_ones_none(
    asking: Asking, topic: str, version: int
) -> None:
    group = f"{topic}-group"
    for kind, name in ((TOPIC, topic), (BROKER, BROKER_ID), (BROKER, ""), (GROUP, group)):
        everything = settings(asking, kind, name, None, version=version)
        assert everything, (kind, name)
        assert settings(asking, kind, name, [], version=version) == everything
        assert settings(asking, kind, name, ["no.such.setting"], version=version) == {}
        one = min(everything)
        asked = ["no.such.setting", one, one]
        assert settings(asking, kind, name, asked, version=version) == {one: everything[one]}
    assert len(settings(asking, TOPIC, topic, None, version=version)) == TOPIC_SETTINGS


# Value (None: the broker's own), whether it is read at the start only, type, and source.
BROKER_SETTINGS: dict[str, tuple[str | None, bool, int, int]] = {
    "advertised.listeners": (None, True, LIST, FROM_FILE),
    "auto.create.topics.enable": ("false", True, BOOLEAN, FROM_FILE),
    "broker.id": (BROKER_ID, True, INT, FROM_FILE),
    "compression.type": ("producer", False, STRING, FROM_DEFAULT),
    "default.replication.factor": ("1", True, INT, FROM_DEFAULT),
    "group.consumer.assignors": ("uniform,range", True, LIST, FROM_DEFAULT),
    "group.consumer.heartbeat.interval.ms": ("200", True, INT, FROM_FILE),
    "group.consumer.migration.policy": ("bidirectional", True, STRING, FROM_DEFAULT),
    "group.consumer.session.timeout.ms": ("45000", True, INT, FROM_DEFAULT),
    "group.max.size": ("2147483647", True, INT, FROM_DEFAULT),
    "log.cleanup.policy": ("delete", False, LIST, FROM_DEFAULT),
    "log.dirs": (None, True, LIST, FROM_FILE),
    "log.retention.bytes": ("-1", False, LONG, FROM_DEFAULT),
    "log.retention.hours": ("168", True, INT, FROM_DEFAULT),
    "log.roll.hours": ("168", True, INT, FROM_DEFAULT),
    "log.roll.jitter.hours": ("0", True, INT, FROM_DEFAULT),
    "log.segment.bytes": ("1073741824", False, INT, FROM_DEFAULT),
    "message.max.bytes": ("1048588", False, INT, FROM_DEFAULT),
    "min.insync.replicas": ("1", False, INT, FROM_CLUSTER),
    "node.id": (BROKER_ID, True, INT, FROM_FILE),
    "num.partitions": ("1", True, INT, FROM_DEFAULT),
    "offsets.retention.minutes": ("10080", True, INT, FROM_DEFAULT),
    "socket.request.max.bytes": ("104857600", True, INT, FROM_DEFAULT),
    "socket.send.buffer.bytes": ("102400", True, INT, FROM_DEFAULT),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_brokers_settings_say_where_they_come_from_and_whether_they_may_change(asking: Asking, version: int) -> None:
    more = {"include_synonyms": True, "include_documentation": version >= 3}
    found = settings(asking, BROKER, BROKER_ID, list(BROKER_SETTINGS), version=version, **more)
    expected = {
        name: (value or found[name]["value"], fixed, kind if version >= 3 else UNTOLD, source)
        for name, (value, fixed, kind, source) in BROKER_SETTINGS.items()
    }
    assert expected == {
        name: (one["value"], one["read_only"], one["config_type"], one["config_source"]) for name, one in found.items()
    }
    assert {bool(one["documentation"]) for one in found.values()} == {version >= 3}
    assert not any(one["is_sensitive"] for one in found.values())
    for name, one in found.items():
        assert synonyms(one)[0] == (name, one["value"], one["config_source"])
    in_force = ("min.insync.replicas", "1", FROM_CLUSTER)
    assert synonyms(found["min.insync.replicas"]) == [in_force, ("min.insync.replicas", "1", FROM_DEFAULT)]
    created = "auto.create.topics.enable"
    assert synonyms(found[created]) == [(created, "false", FROM_FILE), (created, "true", FROM_DEFAULT)]


def test_times_that_are_given_in_hours_have_no_value_in_milliseconds(asking: Asking) -> None:
    names = ["log.retention.ms", "log.roll.jitter.ms", "log.roll.ms"]
    found = settings(asking, BROKER, BROKER_ID, names, include_synonyms=True)
    told = {(one["value"], one["config_type"], one["config_source"], one["read_only"]) for one in found.values()}
    assert (sorted(found), told) == (names, {(None, LONG, FROM_DEFAULT, False)})
    assert [one["synonyms"] for one in found.values()] == [[]] * 3


def test_of_all_brokers_it_is_told_what_was_set_while_they_ran(asking: Asking) -> None:
    found = settings(asking, BROKER, "", None, include_synonyms=True, include_documentation=True)
    one = found["min.insync.replicas"]
    assert (one["value"], one["config_source"], one["config_type"], one["read_only"]) == ("1", FROM_CLUSTER, INT, False)
    assert synonyms(one) == [("min.insync.replicas", "1", FROM_CLUSTER)]
    assert one["documentation"]
    assert {one["config_source"] for one in found.values()} == {FROM_CLUSTER}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_group_that_nobody_knows_has_the_brokers_settings(asking: Asking, group_name: str, version: int) -> None:
    names = ["consumer.heartbeat.interval.ms", "consumer.session.timeout.ms"]
    more = {"include_synonyms": True, "include_documentation": version >= 3}
    found = settings(asking, GROUP, group_name, names, version=version, **more)
    beat, session = (found[name] for name in names)
    assert (beat["value"], beat["config_source"]) == ("200", FROM_FILE)
    assert synonyms(beat)[0] == ("group.consumer.heartbeat.interval.ms", "200", FROM_FILE)
    assert (session["value"], session["config_source"]) == ("45000", FROM_DEFAULT)
    assert synonyms(session) == [("group.consumer.session.timeout.ms", "45000", FROM_DEFAULT)]
    assert {one["config_type"] for one in (beat, session)} == {INT if version >= 3 else UNTOLD}
    assert {bool(one["documentation"]) for one in (beat, session)} == {version >= 3}
    assert not any(one["read_only"] or one["is_sensitive"] for one in (beat, session))


def test_what_does_not_exist_is_refused_in_kafkas_words(asking: Asking, topic_name: str) -> None:
    invalid = "Topic name is invalid: "
    long = "x" * 250
    words = "contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    assert error(asking, TOPIC, topic_name) == (UNKNOWN_TOPIC_OR_PARTITION, "")
    assert error(asking, TOPIC, "") == (INVALID_TOPIC, f"{invalid}the empty string is not allowed")
    assert error(asking, TOPIC, "..") == (INVALID_TOPIC, f"{invalid}'..' is not allowed")
    assert error(asking, TOPIC, "no such") == (INVALID_TOPIC, f"{invalid}'no such' {words}")
    too_long = f"{invalid}the length of '{long}' is longer than the max allowed length 249"
    assert error(asking, TOPIC, long) == (INVALID_TOPIC, too_long)
    for name in ("7", "-1"):
        why = f"Unexpected broker id, expected 1 or empty string, but received {name}"
        assert error(asking, BROKER, name) == (INVALID_REQUEST, why)
    for name in ("x", " 1", "1.0"):
        assert error(asking, BROKER, name) == (INVALID_REQUEST, f"Broker id must be an integer, but it is: {name}")
    assert error(asking, GROUP, "")[0] == INVALID_REQUEST


@pytest.mark.parametrize("name", ["01", "+1"])
def test_a_brokers_id_is_read_as_a_number(asking: Asking, name: str) -> None:
    assert set(settings(asking, BROKER, name, ["node.id"])) == {"node.id"}


@pytest.mark.parametrize("kind", [0, 1, 3, 5, 64, 127, -1])
def test_kinds_of_things_that_have_no_settings_are_refused(asking: Asking, kind: int) -> None:
    assert error(asking, kind, "x")[0] == INVALID_REQUEST


@pytest.mark.parametrize(("kind", "name"), [(BROKER_LOGGER, BROKER_ID), (CLIENT_METRICS, "x")])
def test_loggers_and_subscriptions_to_metrics_have_settings(
    request: pytest.FixtureRequest, broker_kind: str, asking: Asking, kind: int, name: str
) -> None:
    known_difference(request, broker_kind, "levels of logging are set in Python; clients' metrics are not taken")
    assert ask(asking, (kind, name, None))[0]["error_code"] == NONE


def test_each_thing_asked_for_is_answered_for_itself(asking: Asking, topic: str) -> None:
    missing = f"{topic}-not"
    asked = [(TOPIC, topic, ["retention.ms"]), (BROKER, BROKER_ID, ["node.id"]), (TOPIC, missing, None)]
    answers = {(one["resource_type"], one["resource_name"]): one for one in ask(asking, *asked)}
    assert {place: (one["error_code"], [c["name"] for c in one["configs"]]) for place, one in answers.items()} == {
        (TOPIC, topic): (NONE, ["retention.ms"]),
        (BROKER, BROKER_ID): (NONE, ["node.id"]),
        (TOPIC, missing): (UNKNOWN_TOPIC_OR_PARTITION, []),
    }
    assert ask(asking) == []
