"""Broker settings that change while the broker runs, for this broker or for all of the cluster (KIP-226).

Kept in the catalogue. Those that give topic settings their defaults come into force at once, in every topic that does
not set them itself. What Kafka lets change and this broker has no use for is stored and described; what Kafka reads
only at its start is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ottla.broker.setting_types import INT, LONG, Check, Setting, whole
from ottla.broker.topic_configs import BY_BROKER_NAME

CLUSTER = ""
# As Apache Kafka's clusters have it from their making on (eligible leader replicas, KIP-966).
INITIAL: dict[str, dict[str, str]] = {CLUSTER: {"min.insync.replicas": "1"}}

# Where a value comes from, as DescribeConfigs answers it.
FROM_TOPIC, FROM_BROKER, FROM_CLUSTER, FROM_BROKER_FILE, FROM_DEFAULT = 1, 2, 3, 4, 5

CLEANER_BACKOFF = "log.cleaner.backoff.ms"


class Dynamic(NamedTuple):
    """A setting of the broker itself that may change while it runs."""

    kind: int
    default: str
    check: Check
    doc: str


OWN: dict[str, Dynamic] = {
    CLEANER_BACKOFF: Dynamic(LONG, "15000", whole(LONG, 0), "How often logs to compact are looked for.")
}

# Changed in Kafka while it runs, stored here: threads, buffers, limits of a kind this broker does not have.
STORED = frozenset(
    {
        "background.threads",
        "follower.replication.throttled.rate",
        "leader.replication.throttled.rate",
        "log.cleaner.dedupe.buffer.size",
        "log.cleaner.io.buffer.load.factor",
        "log.cleaner.io.buffer.size",
        "log.cleaner.io.max.bytes.per.second",
        "log.cleaner.threads",
        "max.connection.creation.rate",
        "max.connections",
        "max.connections.per.ip",
        "max.connections.per.ip.overrides",
        "metric.reporters",
        "num.io.threads",
        "num.network.threads",
        "num.recovery.threads.per.data.dir",
        "num.replica.fetchers",
        "producer.id.expiration.ms",
        "replica.alter.log.dirs.io.max.bytes.per.second",
        "remote.log.manager.copy.max.bytes.per.second",
        "remote.log.manager.fetch.max.bytes.per.second",
        "transaction.partition.verification.enable",
    }
)


def kind_of(name: str) -> int:
    """The type of a broker setting, as DescribeConfigs answers it."""
    own = OWN.get(name)
    if own:
        return own.kind
    topic = BY_BROKER_NAME.get(name)
    return topic.kind if topic else INT


def doc_of(name: str) -> str:
    """What a broker setting that may change does here."""
    known = OWN.get(name) or BY_BROKER_NAME.get(name)
    return known.doc if known else "Stored, not acted on."


def is_dynamic(name: str) -> bool:
    return name in OWN or name in STORED or name in BY_BROKER_NAME


def fault(name: str, value: str) -> str | None:
    """What is wrong with a value for a broker setting, in words; None if nothing is."""
    own = OWN.get(name)
    if own:
        return own.check(name, value)
    topic = BY_BROKER_NAME.get(name)
    return topic.check(name, value) if topic else None


class Level(NamedTuple):
    """A value, under which name, and where it comes from."""

    name: str
    value: str | None
    source: int


def broker_levels(name: str, dynamic: Mapping[str, Mapping[str, str]], node: str) -> list[Level]:
    """What was set while the broker ran, the one that counts first."""
    found = []
    for key, source in ((node, FROM_BROKER), (CLUSTER, FROM_CLUSTER)):
        value = dynamic.get(key, {}).get(name)
        if value is not None:
            found.append(Level(name, value, source))
    return found


def topic_levels(
    setting: Setting,
    values: Mapping[str, str],
    static: Mapping[str, str],
    dynamic: Mapping[str, Mapping[str, str]],
    node: str,
) -> list[Level]:
    """All that is set for a topic setting, as Kafka lists it: the first one counts.

    Args:
        setting: Which.
        values: What the topic sets.
        static: Defaults of topic settings by the broker's configuration file.
        dynamic: What was set while the broker ran, by broker id.
        node: This broker's id.
    """
    levels = [Level(setting.name, values[setting.name], FROM_TOPIC)] if setting.name in values else []
    broker: list[Level] = []
    for name in setting.broker_names:
        broker += broker_levels(name, dynamic, node)
        if static.get(setting.name, setting.default) != setting.default:
            broker.append(Level(name, static[setting.name], FROM_BROKER_FILE))
        if setting.hours is None:
            broker.append(Level(name, setting.default, FROM_DEFAULT))
    if broker and setting.hours is not None:
        broker.append(Level(*setting.hours, FROM_DEFAULT))
    return levels + broker


def topic_defaults(static: Mapping[str, str], dynamic: Mapping[str, Mapping[str, str]], node: str) -> dict[str, str]:
    """The defaults of topic settings that are in force."""
    defaults = dict(static)
    for key in (CLUSTER, node):
        for name, value in dynamic.get(key, {}).items():
            setting = BY_BROKER_NAME.get(name)
            if setting is not None:
                defaults[setting.name] = value
    return defaults
