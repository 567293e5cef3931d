"""What the config APIs share: how a topic's and the broker's settings are answered."""

from __future__ import annotations

from collections.abc import Iterable

from ottla.broker.config import BrokerConfig
from ottla.broker.topic_configs import BOOLEAN, INT, LIST, LONG, SETTINGS, STRING, TopicConfig
from ottla.broker.wire.schema import Message

# Where a value comes from.
FROM_TOPIC, FROM_BROKER_FILE, FROM_DEFAULT = 1, 4, 5

SYNONYMS = {
    "max.message.bytes": "message.max.bytes",
    "retention.ms": "log.retention.ms",
    "retention.bytes": "log.retention.bytes",
    "segment.bytes": "log.segment.bytes",
}


def entries(config: TopicConfig, names: Iterable[str] | None = None, *, documented: bool = False) -> list[Message]:
    """A topic's settings, all or those named."""
    wanted = set(names) if names is not None else None
    answers: list[Message] = []
    for setting in SETTINGS.values():
        if wanted is not None and setting.name not in wanted:
            continue
        source = FROM_DEFAULT
        synonyms = [
            {"name": SYNONYMS.get(setting.name, setting.name), "value": setting.default, "source": FROM_DEFAULT}
        ]
        default = config.defaults.get(setting.name, setting.default)
        if default != setting.default:
            source = FROM_BROKER_FILE
            synonyms.insert(0, {"name": SYNONYMS.get(setting.name, setting.name), "value": default, "source": source})
        if setting.name in config.values:
            source = FROM_TOPIC
            synonyms.insert(0, {"name": setting.name, "value": config.values[setting.name], "source": source})
        answers.append(
            {
                "name": setting.name,
                "value": config.get(setting.name),
                "is_default": source != FROM_TOPIC,
                "config_source": source,
                "config_type": setting.kind,
                "documentation": setting.doc if documented else None,
                "synonyms": synonyms,
            }
        )
    return answers


def broker_entries(config: BrokerConfig, names: Iterable[str] | None = None) -> list[Message]:
    """The broker's own settings under Kafka's names; none can be changed while it runs."""
    values: list[tuple[str, str, int]] = [
        ("advertised.listeners", f"PLAINTEXT://{config.host}:{config.port}", STRING),
        ("auto.create.topics.enable", str(config.auto_create_topics).lower(), BOOLEAN),
        ("broker.id", str(config.node_id), INT),
        ("default.replication.factor", "1", INT),
        ("group.consumer.assignors", config.group_consumer_assignors, LIST),
        ("group.consumer.heartbeat.interval.ms", str(config.group_consumer_heartbeat_interval_ms), INT),
        ("group.consumer.max.heartbeat.interval.ms", str(config.group_consumer_max_heartbeat_interval_ms), INT),
        ("group.consumer.max.session.timeout.ms", str(config.group_consumer_max_session_timeout_ms), INT),
        ("group.consumer.max.size", str(config.group_consumer_max_size), INT),
        ("group.consumer.migration.policy", config.group_consumer_migration_policy, STRING),
        ("group.consumer.min.heartbeat.interval.ms", str(config.group_consumer_min_heartbeat_interval_ms), INT),
        ("group.consumer.min.session.timeout.ms", str(config.group_consumer_min_session_timeout_ms), INT),
        ("group.consumer.session.timeout.ms", str(config.group_consumer_session_timeout_ms), INT),
        ("group.initial.rebalance.delay.ms", str(config.group_initial_rebalance_delay_ms), INT),
        ("group.max.session.timeout.ms", str(config.group_max_session_timeout_ms), INT),
        ("group.max.size", str(config.group_max_size), INT),
        ("group.min.session.timeout.ms", str(config.group_min_session_timeout_ms), INT),
        ("log.dirs", str(config.data_dir or ""), STRING),
        ("log.retention.bytes", str(config.retention_bytes), LONG),
        ("log.retention.check.interval.ms", str(config.retention_check_interval_ms), LONG),
        ("log.retention.ms", str(config.retention_ms), LONG),
        ("log.segment.bytes", str(config.segment_bytes), INT),
        ("message.max.bytes", str(config.message_max_bytes), INT),
        ("min.insync.replicas", "1", INT),
        ("node.id", str(config.node_id), INT),
        ("num.partitions", str(config.partitions), INT),
        ("offsets.retention.minutes", str(config.offsets_retention_ms // 60_000), INT),
        ("socket.request.max.bytes", str(config.request_max_bytes), INT),
    ]
    wanted = set(names) if names is not None else None
    return [
        {
            "name": name,
            "value": value,
            "read_only": True,
            "is_default": False,
            "config_source": FROM_BROKER_FILE,
            "config_type": kind,
        }
        for name, value, kind in values
        if wanted is None or name in wanted
    ]
