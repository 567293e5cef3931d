"""The topic settings the broker knows: Kafka's names, types, defaults and validation.

Settings marked as acted on change what the broker does. The others are validated, stored and described, so that tools
work, but a single node has no use for them.

Acted on: cleanup.policy (compact: records need keys), delete.retention.ms, max.compaction.lag.ms, max.message.bytes,
message.timestamp.type, message.timestamp.after.max.ms, message.timestamp.before.max.ms, min.cleanable.dirty.ratio,
min.compaction.lag.ms, min.insync.replicas (more than one is answered NOT_ENOUGH_REPLICAS by Kafka; here one copy is all
there is, so it is accepted), retention.bytes, retention.ms, segment.bytes, segment.ms.

compression.type is validated and stored; batches are kept as the producer compressed them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ottla.broker.config import BrokerConfig

Validator = Callable[[str], str | None]  # gives what is wrong, or None
INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

# Types of a setting as DescribeConfigs answers them.
BOOLEAN, STRING, INT, LONG, DOUBLE, LIST = 1, 2, 3, 5, 6, 7


@dataclass(frozen=True)
class Setting:
    name: str
    kind: int
    default: str
    fault: Validator
    doc: str


def _number(low: int, high: int) -> Validator:
    def fault(text: str) -> str | None:
        try:
            value = int(text)
        except ValueError:
            return "not a number"
        return None if low <= value <= high else f"must be from {low} to {high}"

    return fault


def _ratio(text: str) -> str | None:
    try:
        return None if 0 <= float(text) <= 1 else "must be from 0 to 1"
    except ValueError:
        return "not a number"


def _one_of(*choices: str) -> Validator:
    return lambda text: None if text in choices else f"must be one of {', '.join(choices)}"


def _any_of(*choices: str) -> Validator:
    def fault(text: str) -> str | None:
        unknown = [word for word in text.split(",") if word.strip() not in choices]
        return f"may hold only {', '.join(choices)}" if unknown else None

    return fault


def _anything(_: str) -> str | None:
    return None


_BOOL = _one_of("true", "false")
_POSITIVE = _number(0, INT64_MAX)
_COUNT = _number(0, INT32_MAX)

SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("cleanup.policy", LIST, "delete", _any_of("delete", "compact"), "What becomes of old records."),
        Setting(
            "compression.type",
            STRING,
            "producer",
            _one_of("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
            "Stored; batches stay as produced.",
        ),
        Setting("compression.gzip.level", INT, "-1", _number(-1, 9), "Stored, not acted on."),
        Setting("compression.lz4.level", INT, "9", _number(1, 17), "Stored, not acted on."),
        Setting("compression.zstd.level", INT, "3", _number(-131072, 22), "Stored, not acted on."),
        Setting("delete.retention.ms", LONG, "86400000", _POSITIVE, "How long tombstones stay after compaction."),
        Setting("file.delete.delay.ms", LONG, "60000", _POSITIVE, "Stored; files are deleted at once."),
        Setting(
            "flush.messages", LONG, str(INT64_MAX), _number(1, INT64_MAX), "Stored; see the broker's flush policy."
        ),
        Setting("flush.ms", LONG, str(INT64_MAX), _POSITIVE, "Stored; see the broker's flush policy."),
        Setting("follower.replication.throttled.replicas", LIST, "", _anything, "Stored; there are no followers."),
        Setting("index.interval.bytes", INT, "4096", _COUNT, "Stored, not acted on."),
        Setting("leader.replication.throttled.replicas", LIST, "", _anything, "Stored; there are no followers."),
        Setting("local.retention.bytes", LONG, "-2", _number(-2, INT64_MAX), "Stored; there is no remote storage."),
        Setting("local.retention.ms", LONG, "-2", _number(-2, INT64_MAX), "Stored; there is no remote storage."),
        Setting("max.compaction.lag.ms", LONG, str(INT64_MAX), _number(1, INT64_MAX), "When a record is due."),
        Setting("max.message.bytes", INT, "1048588", _COUNT, "The largest record batch that is accepted."),
        Setting(
            "message.timestamp.after.max.ms", LONG, "3600000", _POSITIVE, "How far ahead of the clock a record may be."
        ),
        Setting(
            "message.timestamp.before.max.ms", LONG, str(INT64_MAX), _POSITIVE, "How far behind the clock it may be."
        ),
        Setting(
            "message.timestamp.type",
            STRING,
            "CreateTime",
            _one_of("CreateTime", "LogAppendTime"),
            "Whose clock stamps records.",
        ),
        Setting("min.cleanable.dirty.ratio", DOUBLE, "0.5", _ratio, "How much of a log is dirty when it is compacted."),
        Setting("min.compaction.lag.ms", LONG, "0", _POSITIVE, "How long a record is safe from compaction."),
        Setting("min.insync.replicas", INT, "1", _number(1, INT32_MAX), "Stored; the one copy is always in sync."),
        Setting("preallocate", BOOLEAN, "false", _BOOL, "Stored, not acted on."),
        Setting("remote.log.copy.disable", BOOLEAN, "false", _BOOL, "Stored; there is no remote storage."),
        Setting("remote.log.delete.on.disable", BOOLEAN, "false", _BOOL, "Stored; there is no remote storage."),
        Setting("remote.storage.enable", BOOLEAN, "false", _one_of("false"), "There is no remote storage."),
        Setting(
            "retention.bytes", LONG, "-1", _number(-1, INT64_MAX), "A partition's size above which old segments go."
        ),
        Setting("retention.ms", LONG, "604800000", _number(-1, INT64_MAX), "The age at which a segment goes."),
        Setting("segment.bytes", INT, "1073741824", _number(14, INT32_MAX), "The size at which a new segment begins."),
        Setting("segment.index.bytes", INT, "10485760", _number(4, INT32_MAX), "Stored; the index is in memory."),
        Setting("segment.jitter.ms", LONG, "0", _POSITIVE, "Stored, not acted on."),
        Setting("segment.ms", LONG, "604800000", _number(1, INT64_MAX), "The age at which a new segment begins."),
        Setting("unclean.leader.election.enable", BOOLEAN, "false", _BOOL, "Stored; there is one node."),
    )
}


def broker_defaults(config: BrokerConfig) -> dict[str, str]:
    """Topic settings whose default the broker's own configuration gives."""
    return {
        **config.topic_defaults,
        "max.message.bytes": str(config.message_max_bytes),
        "retention.ms": str(config.retention_ms),
        "retention.bytes": str(config.retention_bytes),
        "segment.bytes": str(config.segment_bytes),
    }


def faults(values: Iterable[tuple[str, str | None]]) -> str | None:
    """What is wrong with settings given for a topic, in words; None if nothing is."""
    for name, value in values:
        setting = SETTINGS.get(name)
        if setting is None:
            return f"Unknown topic config name: {name}"
        if value is None:
            return f"Null value not supported for topic configs: {name}"
        fault = setting.fault(value)
        if fault:
            return f"Invalid value {value} for configuration {name}: {fault}"
    return None


class TopicConfig:
    """A topic's settings: what was set on it, over the broker's defaults. What hot paths need is ready made."""

    __slots__ = (
        "compact",
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
        policies = [word.strip() for word in self.get("cleanup.policy").split(",")]
        self.compact = "compact" in policies
        self.delete = "delete" in policies
        self.log_append_time = self.get("message.timestamp.type") == "LogAppendTime"
        number: Any = lambda name: int(self.get(name))  # noqa: E731
        self.max_message_bytes: int = number("max.message.bytes")
        self.retention_bytes: int = number("retention.bytes")
        self.retention_ms: int = number("retention.ms")
        self.segment_bytes: int = number("segment.bytes")
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
