"""What the config APIs share: how a topic's and the broker's settings are answered."""

from __future__ import annotations

from collections.abc import Iterable

from ottla.broker.broker_configs import (
    CLUSTER,
    FROM_BROKER_FILE,
    FROM_CLUSTER,
    FROM_DEFAULT,
    FROM_TOPIC,
    OWN,
    Level,
    broker_levels,
    is_dynamic,
    kind_of,
    topic_levels,
)
from ottla.broker.catalog import Catalog
from ottla.broker.config import BrokerConfig
from ottla.broker.setting_types import BOOLEAN, INT, LIST, LONG, STRING
from ottla.broker.topic_configs import BY_BROKER_NAME, SETTINGS, TopicConfig
from ottla.broker.wire.schema import Message


def entries(
    catalog: Catalog, config: TopicConfig, names: Iterable[str] | None = None, *, documented: bool = False
) -> list[Message]:
    """A topic's settings, all or those named."""
    wanted = set(names) if names is not None else None
    answers: list[Message] = []
    for setting in SETTINGS.values():
        if wanted is not None and setting.name not in wanted:
            continue
        levels = topic_levels(setting, config.values, catalog.static_defaults, catalog.broker_settings, catalog.node)
        source = levels[0].source if levels else FROM_DEFAULT
        answers.append(
            {
                "name": setting.name,
                "value": config.get(setting.name),
                "is_default": source != FROM_TOPIC,
                "config_source": source,
                "config_type": setting.kind,
                "documentation": setting.doc if documented else None,
                "synonyms": [level._asdict() for level in levels],
            }
        )
    return answers


def cluster_entries(catalog: Catalog, names: Iterable[str] | None = None) -> list[Message]:
    """What was set for all brokers while they ran."""
    wanted = set(names) if names is not None else None
    return [
        _dynamic_entry(name, [Level(name, value, FROM_CLUSTER)])
        for name, value in catalog.broker_settings.get(CLUSTER, {}).items()
        if wanted is None or name in wanted
    ]


def _dynamic_entry(name: str, levels: list[Level]) -> Message:
    return {
        "name": name,
        "value": levels[0].value,
        "read_only": False,
        "is_default": False,
        "config_source": levels[0].source,
        "config_type": kind_of(name),
        "synonyms": [level._asdict() for level in levels],
    }


def _advertised(config: BrokerConfig) -> str:
    listeners = config.security.listeners if config.security else ()
    told = [(one.name, *(one.advertised or (one.host, one.port))) for one in listeners]
    return ",".join(f"{name}://{host}:{port}" for name, host, port in told or [("PLAINTEXT", config.host, config.port)])


def broker_entries(catalog: Catalog, config: BrokerConfig, names: Iterable[str] | None = None) -> list[Message]:
    """The broker's own settings under Kafka's names."""
    wanted = set(names) if names is not None else None
    values: list[tuple[str, str, int]] = [
        ("advertised.listeners", _advertised(config), STRING),
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
        ("socket.send.buffer.bytes", str(config.send_buffer_bytes), INT),
    ]
    answers: list[Message] = []
    for name, value, kind in values:
        if wanted is None or name in wanted:
            topic = BY_BROKER_NAME.get(name)
            static = Level(name, value, FROM_DEFAULT if topic and topic.default == value else FROM_BROKER_FILE)
            levels = [*broker_levels(name, catalog.broker_settings, catalog.node), static]
            answers.append(_dynamic_entry(name, levels) | {"read_only": not is_dynamic(name), "config_type": kind})
    answers += _changeable_entries(catalog, wanted, {name for name, _, _ in values})
    return answers


def _changeable_entries(catalog: Catalog, wanted: set[str] | None, listed: set[str]) -> list[Message]:
    """The settings that may change while the broker runs, and all that was set of the others."""
    defaults: dict[str, Level] = {}
    for name, setting in BY_BROKER_NAME.items():
        static = catalog.static_defaults.get(setting.name, setting.default)
        source = FROM_DEFAULT if static == setting.default else FROM_BROKER_FILE
        defaults[name] = Level(name, static, source)
    defaults |= {name: Level(name, own.default, FROM_DEFAULT) for name, own in OWN.items()}
    set_names = {name for settings in catalog.broker_settings.values() for name in settings}
    answers: list[Message] = []
    for name in sorted((defaults.keys() | set_names) - listed):
        if wanted is None or name in wanted:
            levels = broker_levels(name, catalog.broker_settings, catalog.node)
            levels += [defaults[name]] if name in defaults else []
            if levels:
                answers.append(_dynamic_entry(name, levels))
    return answers
