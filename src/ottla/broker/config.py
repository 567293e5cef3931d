"""How the embedded broker is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ottla.errors import ConfigurationError

FlushPolicy = Literal["ack", "interval", "none"]


@dataclass(frozen=True)
class BrokerConfig:
    """All options of the broker. Times carry their unit in the name, as Kafka's settings do.

    Args:
        data_dir: Where everything is kept; None for a temporary folder that is removed at exit.
        host: The address to listen on, and the one told to clients. Loopback only by default: there is no security yet.
        port: 0 picks a free port.
        flush: What an acknowledgement promises. `ack`: the record is on the disk (group fsync before every answer, and
            consumers see only what is durable): survives power loss. `interval`: synced every
            `flush_interval_ms`; a crash of the process loses nothing, power loss up to an interval. `none`: as Kafka's
            default, the operating system writes when it likes.
        flush_interval_ms: For `flush="interval"`.
        auto_create_topics: Whether a metadata request for an unknown topic creates it (if the client allows it too).
        partitions: Partitions of a topic created without a number.
        message_max_bytes: Default of max.message.bytes.
        retention_ms, retention_bytes, segment_bytes: Defaults of the topic settings of that name; -1 is no limit.
        topic_defaults: Defaults of further topic settings, by their Kafka names.
        retention_check_interval_ms: How often retention runs.
        group_initial_rebalance_delay_ms: How long a new group waits for more members. Kafka's default is 3000; here 0,
            since on one machine nobody wants to wait for the first record.
        group_min_session_timeout_ms, group_max_session_timeout_ms: Bounds of session.timeout.ms.
        offsets_retention_ms: How long the offsets of an empty group are kept.
        request_max_bytes: A larger request closes its connection before anything is allocated for it.
        connections_max: More connections are closed at once.
    """

    data_dir: Path | None = None
    host: str = "127.0.0.1"
    port: int = 9092
    flush: FlushPolicy = "ack"
    flush_interval_ms: int = 1000
    auto_create_topics: bool = True
    partitions: int = 1
    message_max_bytes: int = 1_048_588
    retention_ms: int = 7 * 24 * 3600 * 1000
    retention_bytes: int = -1
    segment_bytes: int = 1 << 30
    topic_defaults: Mapping[str, str] = field(default_factory=dict)
    retention_check_interval_ms: int = 30_000
    group_initial_rebalance_delay_ms: int = 0
    group_min_session_timeout_ms: int = 6_000
    group_max_session_timeout_ms: int = 1_800_000
    offsets_retention_ms: int = 7 * 24 * 3600 * 1000
    request_max_bytes: int = 100 * 1024 * 1024
    connections_max: int = 2000
    node_id: int = field(default=1)

    def __post_init__(self) -> None:
        """Raises ConfigurationError listing every fault at once."""
        faults: list[str] = []
        if not 0 <= self.port <= 65535:
            faults.append(f"port must be 0 to 65535, not {self.port}")
        if self.flush not in ("ack", "interval", "none"):
            faults.append(f"flush must be ack, interval or none, not {self.flush!r}")
        for name in ("flush_interval_ms", "partitions", "request_max_bytes", "connections_max", "segment_bytes"):
            if getattr(self, name) < 1:
                faults.append(f"{name} must be at least 1, not {getattr(self, name)}")
        if faults:
            raise ConfigurationError("embedded broker: " + "; ".join(faults))
