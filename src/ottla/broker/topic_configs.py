"""The topic settings the broker knows: Kafka's names, types, defaults and validation.

Settings marked as acted on change what the broker does. The others are validated, stored and described, so that tools
work, but a single node has no use for them.

Acted on: cleanup.policy (compact: records need keys), delete.retention.ms, max.compaction.lag.ms, max.message.bytes,
message.timestamp.type, message.timestamp.after.max.ms, message.timestamp.before.max.ms, min.cleanable.dirty.ratio,
min.compaction.lag.ms, min.insync.replicas (more than one is answered NOT_ENOUGH_REPLICAS by Kafka; here one copy is all
there is, so it is accepted), retention.bytes, retention.ms, segment.bytes, segment.ms.

compression.type, with its levels: what the broker has no library for is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ottla.broker.config import BrokerConfig
from ottla.broker.log.recompression import CODECS, missing
from ottla.broker.setting_types import (
    BOOLEAN,
    DOUBLE,
    INT,
    INT64_MAX,
    LIST,
    LONG,
    STRING,
    Setting,
    any_of,
    boolean,
    gzip_level,
    no_remote_storage,
    one_of,
    ratio,
    replicas,
    whole,
    words,
)

INTERNAL_SEGMENT_BYTES = "internal.segment.bytes"  # Kafka's own way round the least segment.bytes, for tests
_FOREVER = str(INT64_MAX)
_LEVELLED = ("gzip", "lz4", "zstd")
_REMOTE = "Stored; there is no remote storage."
_IDLE = "Stored, not acted on."
_COMPRESSION = one_of("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")
_LEVEL = "How hard it is compressed, where compression.type says so."


def _int(name: str, default: str, low: int, doc: str, *broker_names: str, high: int | None = None) -> Setting:
    return Setting(name, INT, default, whole(INT, low, high), doc, broker_names)


def _long(name: str, default: str, low: int | None, doc: str, *broker_names: str) -> Setting:
    return Setting(name, LONG, default, whole(LONG, low), doc, broker_names)


def _timed(name: str, default: str, low: int, doc: str, broker_name: str, hours: tuple[str, str]) -> Setting:
    return Setting(name, LONG, default, whole(LONG, low), doc, (broker_name,), hours)


def _bool(name: str, doc: str, *broker_names: str) -> Setting:
    return Setting(name, BOOLEAN, "false", boolean, doc, broker_names)


def _compression(name: str, text: str) -> str | None:
    fault = _COMPRESSION(name, text)
    lacking = None if fault else missing(text.strip())
    return f"Invalid value {text.strip()} for configuration {name}: {lacking}" if lacking else fault


_ALL = (
    Setting(
        "cleanup.policy",
        LIST,
        "delete",
        any_of("compact", "delete"),
        "What becomes of old records.",
        ("log.cleanup.policy",),
    ),
    Setting("compression.gzip.level", INT, "-1", gzip_level, _LEVEL, ("compression.gzip.level",)),
    _int("compression.lz4.level", "9", 1, _LEVEL, "compression.lz4.level", high=17),
    Setting(
        "compression.type",
        STRING,
        "producer",
        _compression,
        "The codec of what is written; `producer` leaves it as it comes.",
        ("compression.type",),
    ),
    _int("compression.zstd.level", "3", -131072, _LEVEL, "compression.zstd.level", high=22),
    _long(
        "delete.retention.ms",
        "86400000",
        0,
        "How long tombstones stay after compaction.",
        "log.cleaner.delete.retention.ms",
    ),
    _long("file.delete.delay.ms", "60000", 0, "Stored; files are deleted at once.", "log.segment.delete.delay.ms"),
    _long("flush.messages", _FOREVER, 1, "Stored; see the flush policy.", "log.flush.interval.messages"),
    _long("flush.ms", _FOREVER, 0, "Stored; see the flush policy."),
    Setting("follower.replication.throttled.replicas", LIST, "", replicas, "Stored; there are no followers."),
    _int("index.interval.bytes", "4096", 0, _IDLE, "log.index.interval.bytes"),
    Setting("leader.replication.throttled.replicas", LIST, "", replicas, "Stored; there are no followers."),
    _long("local.retention.bytes", "-2", -2, _REMOTE, "log.local.retention.bytes"),
    _long("local.retention.ms", "-2", -2, _REMOTE, "log.local.retention.ms"),
    _long("max.compaction.lag.ms", _FOREVER, 1, "When a record is due.", "log.cleaner.max.compaction.lag.ms"),
    _int("max.message.bytes", "1048588", 0, "The largest record batch that is accepted.", "message.max.bytes"),
    _long(
        "message.timestamp.after.max.ms",
        "3600000",
        0,
        "How far ahead of the clock a record may be.",
        "log.message.timestamp.after.max.ms",
    ),
    _long(
        "message.timestamp.before.max.ms",
        _FOREVER,
        0,
        "How far behind the clock it may be.",
        "log.message.timestamp.before.max.ms",
    ),
    Setting(
        "message.timestamp.type",
        STRING,
        "CreateTime",
        one_of("CreateTime", "LogAppendTime"),
        "Whose clock stamps records.",
        ("log.message.timestamp.type",),
    ),
    Setting(
        "min.cleanable.dirty.ratio",
        DOUBLE,
        "0.5",
        ratio,
        "How much of a log is dirty when it is compacted.",
        ("log.cleaner.min.cleanable.ratio",),
    ),
    _long(
        "min.compaction.lag.ms",
        "0",
        0,
        "How long a record is safe from compaction.",
        "log.cleaner.min.compaction.lag.ms",
    ),
    _int("min.insync.replicas", "1", 1, "Stored; the one copy is always in sync.", "min.insync.replicas"),
    _bool("preallocate", _IDLE, "log.preallocate"),
    _bool("remote.log.copy.disable", _REMOTE),
    _bool("remote.log.delete.on.disable", _REMOTE),
    Setting("remote.storage.enable", BOOLEAN, "false", no_remote_storage, "There is no remote storage."),
    _long("retention.bytes", "-1", None, "A partition's size above which old segments go.", "log.retention.bytes"),
    _timed(
        "retention.ms",
        "604800000",
        -1,
        "The age at which a segment goes.",
        "log.retention.ms",
        ("log.retention.hours", "168"),
    ),
    _int("segment.bytes", "1073741824", 1 << 20, "The size at which a new segment begins.", "log.segment.bytes"),
    _int("segment.index.bytes", "10485760", 4, _IDLE, "log.index.size.max.bytes"),
    _timed("segment.jitter.ms", "0", 0, _IDLE, "log.roll.jitter.ms", ("log.roll.jitter.hours", "0")),
    _timed(
        "segment.ms", "604800000", 1, "The age at which a new segment begins.", "log.roll.ms", ("log.roll.hours", "168")
    ),
    _bool("unclean.leader.election.enable", "Stored; there is one node.", "unclean.leader.election.enable"),
)
SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _ALL}
_HIDDEN = {INTERNAL_SEGMENT_BYTES: _int(INTERNAL_SEGMENT_BYTES, "", 1, "For tests.")}

# The broker's name of a default that may be changed while it runs -> the topic setting.
BY_BROKER_NAME: dict[str, Setting] = {name: setting for setting in _ALL for name in setting.broker_names}


def broker_defaults(config: BrokerConfig) -> dict[str, str]:
    """Topic settings whose default the broker's own configuration gives."""
    return {
        **config.topic_defaults,
        "max.message.bytes": str(config.message_max_bytes),
        "retention.ms": str(config.retention_ms),
        "retention.bytes": str(config.retention_bytes),
        "segment.bytes": str(config.segment_bytes),
    }


def setting_fault(name: str, value: str | None) -> str | None:
    """What is wrong with one setting given for a topic, in words; None if nothing is."""
    if value is None:
        return f"Null value not supported for topic configs: {name}"
    setting = SETTINGS.get(name) or _HIDDEN.get(name)
    return setting.fault(value) if setting else f"Unknown topic config name: {name}"


def faults(values: Iterable[tuple[str, str | None]]) -> str | None:
    """What is wrong with settings given for a topic, in words; None if nothing is."""
    given = dict(values)
    for name, value in given.items():
        fault = setting_fault(name, value)
        if fault:
            return fault
    return lag_fault({name: value for name, value in given.items() if value is not None}, {})


def lag_fault(values: Mapping[str, str], defaults: Mapping[str, str]) -> str | None:
    """Whether records would have to be compacted before they may be."""
    low, high = (
        int(values.get(name) or defaults.get(name) or SETTINGS[name].default)
        for name in ("min.compaction.lag.ms", "max.compaction.lag.ms")
    )
    if low <= high:
        return None
    return f"conflict topic config setting min.compaction.lag.ms ({low}) > max.compaction.lag.ms ({high})"


class TopicConfig:
    """A topic's settings: what was set on it, over the broker's defaults. What hot paths need is ready made."""

    __slots__ = (
        "codec",
        "compact",
        "compression_level",
        "defaults",
        "delete",
        "delete_retention_ms",
        "log_append_time",
        "max_compaction_lag_ms",
        "max_message_bytes",
        "min_cleanable_ratio",
        "min_compaction_lag_ms",
        "retention_bytes",
        "retention_ms",
        "segment_bytes",
        "segment_ms",
        "timestamp_after_max_ms",
        "timestamp_before_max_ms",
        "values",
    )

    def __init__(self, values: dict[str, str], defaults: dict[str, str]) -> None:
        self.values = values
        self.defaults = defaults
        self.refresh()

    def get(self, name: str) -> str:
        """The value in force. Raises KeyError for a name Kafka does not have."""
        value = self.values.get(name)
        if value is None:
            value = self.defaults.get(name)
        return SETTINGS[name].default if value is None else value

    def refresh(self) -> None:
        """Takes changed values into force."""
        policies = words(self.get("cleanup.policy"))
        self.compact = "compact" in policies
        self.delete = "delete" in policies
        self.log_append_time = self.get("message.timestamp.type").strip() == "LogAppendTime"
        compression = self.get("compression.type").strip()
        self.codec = CODECS.get(compression)  # None: as it comes
        self.compression_level = int(self.get(f"compression.{compression}.level")) if compression in _LEVELLED else 0
        number: Any = lambda name: int(self.get(name))  # noqa: E731
        self.max_message_bytes: int = number("max.message.bytes")
        self.retention_bytes: int = number("retention.bytes")
        self.retention_ms: int = number("retention.ms")
        self.segment_bytes: int = int(self.values.get(INTERNAL_SEGMENT_BYTES) or self.get("segment.bytes"))
        self.delete_retention_ms: int = number("delete.retention.ms")
        self.min_compaction_lag_ms: int = number("min.compaction.lag.ms")
        self.max_compaction_lag_ms: int = number("max.compaction.lag.ms")
        self.min_cleanable_ratio = float(self.get("min.cleanable.dirty.ratio"))
        self.segment_ms: int = number("segment.ms")
        if self.compact:
            # What is to be compacted in time has to leave the active segment in time.
            self.segment_ms = min(self.segment_ms, self.max_compaction_lag_ms)
        self.timestamp_after_max_ms: int = number("message.timestamp.after.max.ms")
        self.timestamp_before_max_ms: int = number("message.timestamp.before.max.ms")
