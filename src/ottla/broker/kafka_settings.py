"""Which of Kafka's broker settings the embedded broker acts on, and how a configuration file becomes a BrokerConfig.

`SETTINGS` maps Kafka's name to a field of BrokerConfig and to a reader of its value. `TOPIC_DEFAULTS` are the broker's
names for defaults of topic settings. Other names of Kafka's are accepted with a warning, so that a server.properties
that runs Kafka runs this broker; a name Kafka does not have is a fault. What is set by neither file nor option has the
default of BrokerConfig. The broker's own settings begin with `ottla.`.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ottla.broker import topic_configs
from ottla.broker.config import BrokerConfig
from ottla.broker.kafka_names import KAFKA_NAMES, KAFKA_PREFIXES
from ottla.broker.properties import Properties, read_properties
from ottla.broker.security.settings import SecurityFaults, is_security_setting, read_security
from ottla.errors import ConfigurationError

logger = logging.getLogger("ottla.broker")

Reader = Callable[[str], Any]  # raises ValueError with what is wrong
INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


@dataclass(frozen=True)
class Setting:
    """Where a value goes, and how it is read.

    Attributes:
        field: The field of BrokerConfig.
        read: Gives the field's value; raises ValueError.
        before: Of several settings given for one field the lowest number counts, as with Kafka's ms, minutes and hours.
    """

    field: str
    read: Reader
    before: int = 0


def number(low: int, high: int = INT32_MAX, *, times: int = 1) -> Reader:
    """Reads a whole number in a range; `times` turns its unit into the field's (-1, no limit, stays -1)."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not low <= value <= high:
            raise ValueError(f"{value} is not from {low} to {high}")
        return value * times if value > 0 else value

    return read


def boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def one_of(*choices: str) -> Reader:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return read


def folder(text: str) -> Path:
    """One folder. Kafka takes several, for several disks."""
    if not text or "," in text:
        raise ValueError(f"{text!r}: the embedded broker keeps everything in one folder; name one")
    return Path(text)


SETTINGS: dict[str, Setting] = {
    "auto.create.topics.enable": Setting("auto_create_topics", boolean),
    "broker.id": Setting("node_id", number(0), before=1),
    "group.consumer.assignors": Setting("group_consumer_assignors", lambda text: text.replace(" ", "")),
    "group.consumer.heartbeat.interval.ms": Setting("group_consumer_heartbeat_interval_ms", number(1)),
    "group.consumer.max.heartbeat.interval.ms": Setting("group_consumer_max_heartbeat_interval_ms", number(1)),
    "group.consumer.max.session.timeout.ms": Setting("group_consumer_max_session_timeout_ms", number(1)),
    "group.consumer.max.size": Setting("group_consumer_max_size", number(1)),
    "group.consumer.migration.policy": Setting("group_consumer_migration_policy", str.lower),
    "group.consumer.min.heartbeat.interval.ms": Setting("group_consumer_min_heartbeat_interval_ms", number(1)),
    "group.consumer.min.session.timeout.ms": Setting("group_consumer_min_session_timeout_ms", number(1)),
    "group.consumer.session.timeout.ms": Setting("group_consumer_session_timeout_ms", number(1)),
    "producer.id.expiration.ms": Setting("producer_id_expiration_ms", number(1)),
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": Setting(
        "transaction_abort_check_interval_ms", number(1)
    ),
    "transaction.max.timeout.ms": Setting("transaction_max_timeout_ms", number(1)),
    "transactional.id.expiration.ms": Setting("transactional_id_expiration_ms", number(1)),
    "group.initial.rebalance.delay.ms": Setting("group_initial_rebalance_delay_ms", number(0)),
    "group.max.session.timeout.ms": Setting("group_max_session_timeout_ms", number(1)),
    "group.max.size": Setting("group_max_size", number(1)),
    "group.min.session.timeout.ms": Setting("group_min_session_timeout_ms", number(1)),
    "log.cleaner.backoff.ms": Setting("cleaner_backoff_ms", number(0, INT64_MAX)),
    "log.cleaner.dedupe.buffer.size": Setting("cleaner_dedupe_buffer_bytes", number(1 << 20, INT64_MAX)),
    "log.cleaner.enable": Setting("cleaner_enable", boolean),
    "log.dir": Setting("data_dir", folder, before=1),
    "log.dirs": Setting("data_dir", folder),
    "log.flush.offset.checkpoint.interval.ms": Setting("checkpoint_interval_ms", number(1)),
    "log.retention.bytes": Setting("retention_bytes", number(-1, INT64_MAX)),
    "log.retention.check.interval.ms": Setting("retention_check_interval_ms", number(1, INT64_MAX)),
    "log.retention.hours": Setting("retention_ms", number(-1, times=HOUR_MS), before=2),
    "log.retention.minutes": Setting("retention_ms", number(-1, times=MINUTE_MS), before=1),
    "log.retention.ms": Setting("retention_ms", number(-1, INT64_MAX)),
    "log.segment.bytes": Setting("segment_bytes", number(14)),
    "max.connections": Setting("connections_max", number(1)),
    "message.max.bytes": Setting("message_max_bytes", number(0)),
    "node.id": Setting("node_id", number(0)),
    "num.partitions": Setting("partitions", number(1)),
    "offsets.retention.minutes": Setting("offsets_retention_ms", number(1, times=MINUTE_MS)),
    "queued.max.request.bytes": Setting("queued_requests_max_bytes", number(1, INT64_MAX)),
    "socket.request.max.bytes": Setting("request_max_bytes", number(1)),
    "socket.send.buffer.bytes": Setting("send_buffer_bytes", number(-1)),
    "ottla.any.replication.factor": Setting("any_replication_factor", boolean),
    "ottla.flush": Setting("flush", one_of("ack", "interval", "none")),
    "ottla.flush.interval.ms": Setting("flush_interval_ms", number(1)),
    "ottla.metrics.host": Setting("metrics_host", str),
    "ottla.metrics.port": Setting("metrics_port", number(0, 65535)),
}

# Kafka's broker setting -> the topic setting whose default it is, and what to multiply its value by.
TOPIC_DEFAULTS: dict[str, tuple[str, int]] = {
    "compression.gzip.level": ("compression.gzip.level", 1),
    "compression.lz4.level": ("compression.lz4.level", 1),
    "compression.type": ("compression.type", 1),
    "compression.zstd.level": ("compression.zstd.level", 1),
    "log.cleaner.delete.retention.ms": ("delete.retention.ms", 1),
    "log.cleaner.max.compaction.lag.ms": ("max.compaction.lag.ms", 1),
    "log.cleaner.min.cleanable.ratio": ("min.cleanable.dirty.ratio", 1),
    "log.cleaner.min.compaction.lag.ms": ("min.compaction.lag.ms", 1),
    "log.cleanup.policy": ("cleanup.policy", 1),
    "log.flush.interval.messages": ("flush.messages", 1),
    "log.flush.interval.ms": ("flush.ms", 1),
    "log.index.interval.bytes": ("index.interval.bytes", 1),
    "log.index.size.max.bytes": ("segment.index.bytes", 1),
    "log.local.retention.bytes": ("local.retention.bytes", 1),
    "log.local.retention.ms": ("local.retention.ms", 1),
    "log.message.timestamp.after.max.ms": ("message.timestamp.after.max.ms", 1),
    "log.message.timestamp.before.max.ms": ("message.timestamp.before.max.ms", 1),
    "log.message.timestamp.type": ("message.timestamp.type", 1),
    "log.preallocate": ("preallocate", 1),
    "log.roll.hours": ("segment.ms", HOUR_MS),
    "log.roll.jitter.hours": ("segment.jitter.ms", HOUR_MS),
    "log.roll.jitter.ms": ("segment.jitter.ms", 1),
    "log.roll.ms": ("segment.ms", 1),
    "log.segment.delete.delay.ms": ("file.delete.delay.ms", 1),
    "min.insync.replicas": ("min.insync.replicas", 1),
    "unclean.leader.election.enable": ("unclean.leader.election.enable", 1),
}


def load_config(path: Path | None, **options: Any) -> BrokerConfig:
    """The broker's configuration: a file (if any), and over it `options`, fields of BrokerConfig (None: not given).

    Raises:
        ConfigurationError: Lists all faults, with file and line.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if path is None:
        return BrokerConfig(**given)
    return config_from(read_properties(path), given)


def config_from(properties: Properties, options: Mapping[str, Any]) -> BrokerConfig:
    """As `load_config`, from properties that are read already."""
    faults: list[str] = []
    values: dict[str, Any] = {}
    ranks: dict[str, int] = {}

    def put(field: str, value: Any, rank: int) -> None:
        if rank <= ranks.get(field, rank):
            values[field], ranks[field] = value, rank

    topic_defaults: dict[str, str] = {}
    for name, text in properties.items():
        value = text.strip()
        setting = SETTINGS.get(name)
        try:
            if setting is not None:
                put(setting.field, setting.read(value), setting.before)
            elif name in TOPIC_DEFAULTS:
                topic_name, fitting = _topic_default(name, value)
                # The setting in milliseconds counts before the one in hours.
                if TOPIC_DEFAULTS[name][1] == 1 or topic_name not in topic_defaults:
                    topic_defaults[topic_name] = fitting
            elif not is_security_setting(name):
                _not_ours(name, properties)
        except ValueError as fault:
            faults.append(f"{properties.where(name)}: {name}: {fault}")
    for name, numbers in properties.repeated.items():
        lines = ", ".join(map(str, numbers))
        logger.warning("%s: %s is set on lines %s; the last one counts", properties.path, name, lines)
    try:
        values |= _security(properties, options)
    except SecurityFaults as wrong:
        faults += [f"{properties.where(name)}: {name}: {what}" for name, what in wrong.faults]
    except ValueError as fault:
        faults.append(f"{properties.where('listeners')}: listeners: {fault}")
    if faults:
        raise ConfigurationError("embedded broker, the configuration is wrong:\n  " + "\n  ".join(faults))
    if topic_defaults:
        values["topic_defaults"] = topic_defaults
    return BrokerConfig(**{**values, **options})


def _topic_default(name: str, value: str) -> tuple[str, str]:
    """The topic setting and its value. Raises ValueError."""
    topic_name, times = TOPIC_DEFAULTS[name]
    if times != 1:
        value = str(number(0)(value) * times)
    fault = topic_configs.SETTINGS[topic_name].fault(value)
    if fault:
        raise ValueError(f"{value!r}: {fault.partition(': ')[2] or fault}")
    return topic_name, value


def _security(properties: Properties, options: Mapping[str, Any]) -> dict[str, Any]:
    """Listeners and what secures them; host and port as the options have them. Raises SecurityFaults, ValueError."""
    security = read_security(properties)
    if security is None:
        return {}
    given = {name: options[name] for name in ("host", "port") if name in options}
    if given and len(security.listeners) > 1:
        raise ValueError("several of them; --host and --port say nothing of which is meant")
    if security.listeners:
        listeners = (replace(security.listeners[0], **given), *security.listeners[1:])
        first = listeners[0]
        return {"security": replace(security, listeners=listeners), "host": first.host, "port": first.port}
    return {"security": security}


def _not_ours(name: str, properties: Properties) -> None:
    """Warns of a setting of Kafka's that changes nothing here. Raises ValueError for any other."""
    if name == "controller.listener.names":
        return  # read with `listeners`
    if name in KAFKA_NAMES or name.startswith(KAFKA_PREFIXES):
        logger.warning("%s: %s changes nothing in the embedded broker", properties.where(name), name)
        return
    known = [*KAFKA_NAMES, *SETTINGS]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    raise ValueError(f"no such setting{f'; did you mean {near[0]}?' if near else '. Kafka has none of that name'}")
