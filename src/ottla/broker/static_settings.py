"""The broker's settings that are read at its start only, under Kafka's names, as DescribeConfigs tells them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ottla.broker.broker_configs import FROM_BROKER_FILE, FROM_DEFAULT, Level
from ottla.broker.config import BrokerConfig
from ottla.broker.setting_types import BOOLEAN, INT, LIST, LONG, STRING


class Static(NamedTuple):
    """A setting. `value` reads it; without `standard` it has no default, as a folder has none."""

    name: str
    kind: int
    doc: str
    value: Callable[[BrokerConfig], object]
    standard: bool = True

    def levels(self, config: BrokerConfig) -> list[Level]:
        """Where its value comes from, the level that counts first."""
        value, default = _text(self.value(config)), _text(self.value(BrokerConfig()))
        levels = [Level(self.name, default, FROM_DEFAULT)] if self.standard else []
        if not self.standard or value != default:
            levels.insert(0, Level(self.name, value, FROM_BROKER_FILE))
        return levels


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _advertised(config: BrokerConfig) -> str:
    listeners = config.security.listeners if config.security else ()
    told = [(one.name, *(one.advertised or (one.host, one.port))) for one in listeners]
    return ",".join(f"{name}://{host}:{port}" for name, host, port in told or [("PLAINTEXT", config.host, config.port)])


_SESSION = "when a silent member is taken for lost"
_BEAT = "how often members of groups of the new protocol send heartbeats"

STATIC = (
    Static("advertised.listeners", LIST, "Where clients are told to connect.", _advertised, standard=False),
    Static(
        "auto.create.topics.enable",
        BOOLEAN,
        "Whether asking for a topic may make it.",
        lambda c: c.auto_create_topics,
    ),
    Static("broker.id", INT, "The node's id.", lambda c: c.node_id, standard=False),
    Static("default.replication.factor", INT, "Copies of what is written: one.", lambda c: 1),
    Static(
        "group.consumer.assignors",
        LIST,
        "The assignors of groups of the new protocol; the first is the default.",
        lambda c: c.group_consumer_assignors,
    ),
    Static(
        "group.consumer.heartbeat.interval.ms",
        INT,
        f"By default, {_BEAT}.",
        lambda c: c.group_consumer_heartbeat_interval_ms,
    ),
    Static(
        "group.consumer.max.heartbeat.interval.ms",
        INT,
        f"At most, {_BEAT}.",
        lambda c: c.group_consumer_max_heartbeat_interval_ms,
    ),
    Static(
        "group.consumer.max.session.timeout.ms",
        INT,
        f"New protocol: at most, {_SESSION}.",
        lambda c: c.group_consumer_max_session_timeout_ms,
    ),
    Static(
        "group.consumer.max.size",
        INT,
        "How many members a group of the new protocol may have.",
        lambda c: c.group_consumer_max_size,
    ),
    Static(
        "group.consumer.migration.policy",
        STRING,
        "Whether groups with members change between the protocols.",
        lambda c: c.group_consumer_migration_policy,
    ),
    Static(
        "group.consumer.min.heartbeat.interval.ms",
        INT,
        f"At least, {_BEAT}.",
        lambda c: c.group_consumer_min_heartbeat_interval_ms,
    ),
    Static(
        "group.consumer.min.session.timeout.ms",
        INT,
        f"New protocol: at least, {_SESSION}.",
        lambda c: c.group_consumer_min_session_timeout_ms,
    ),
    Static(
        "group.consumer.session.timeout.ms",
        INT,
        f"New protocol: by default, {_SESSION}.",
        lambda c: c.group_consumer_session_timeout_ms,
    ),
    Static(
        "group.initial.rebalance.delay.ms",
        INT,
        "How long a new group waits for more members.",
        lambda c: c.group_initial_rebalance_delay_ms,
    ),
    Static(
        "group.max.session.timeout.ms",
        INT,
        f"Classic protocol: at most, {_SESSION}.",
        lambda c: c.group_max_session_timeout_ms,
    ),
    Static(
        "group.max.size", INT, "How many members a group of the classic protocol may have.", lambda c: c.group_max_size
    ),
    Static(
        "group.min.session.timeout.ms",
        INT,
        f"Classic protocol: at least, {_SESSION}.",
        lambda c: c.group_min_session_timeout_ms,
    ),
    Static("log.dirs", LIST, "Where everything is kept.", lambda c: c.data_dir or "", standard=False),
    Static(
        "log.retention.check.interval.ms",
        LONG,
        "How often old segments are looked for.",
        lambda c: c.retention_check_interval_ms,
    ),
    Static("log.retention.hours", INT, "The age at which a segment goes, if nothing else says so.", lambda c: 168),
    Static("log.roll.hours", INT, "The age at which a new segment begins, if nothing else says so.", lambda c: 168),
    Static("log.roll.jitter.hours", INT, "Stored, not acted on.", lambda c: 0),
    Static("node.id", INT, "The node's id.", lambda c: c.node_id, standard=False),
    Static("num.partitions", INT, "Partitions of a topic created without a number.", lambda c: c.partitions),
    Static(
        "offsets.retention.minutes",
        INT,
        "How long the offsets of an empty group are kept.",
        lambda c: c.offsets_retention_ms // 60_000,
    ),
    Static("socket.request.max.bytes", INT, "The largest request.", lambda c: c.request_max_bytes),
    Static(
        "socket.send.buffer.bytes",
        INT,
        "How much of the replies to a connection the system holds at once.",
        lambda c: c.send_buffer_bytes,
    ),
)
