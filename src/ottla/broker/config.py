"""How the embedded broker is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ottla.broker.security.config import SecurityConfig
from ottla.errors import ConfigurationError

FlushPolicy = Literal["ack", "interval", "none"]


@dataclass(frozen=True)
class BrokerConfig:
    """All options of the broker. Times carry their unit in the name, as Kafka's settings do.

    Args:
        data_dir: Where everything is kept; None for a temporary folder that is removed at exit.
        host: The address to listen on, and the one told to clients. Loopback by default. Counts if `security` names no
            listeners.
        port: 0 picks a free port.
        flush: What an acknowledgement promises. `ack`: the record is on the disk (group fsync before every answer, and
            consumers see only what is durable): survives power loss. `interval`: synced every
            `flush_interval_ms`; a crash of the process loses nothing, power loss up to an interval. `none`: as Kafka's
            default, the operating system writes when it likes.
        flush_interval_ms: For `flush="interval"`.
        auto_create_topics: Whether a metadata request for an unknown topic creates it (if the client allows it too).
        any_replication_factor: Whether topics may be asked for with more replicas than the one there is, as programs do
            that are made for clusters. Without it they are refused, as by a cluster of one Apache Kafka.
        partitions: Partitions of a topic created without a number.
        message_max_bytes: Default of max.message.bytes.
        retention_ms, retention_bytes, segment_bytes: Defaults of the topic settings of that name; -1 is no limit.
        topic_defaults: Defaults of further topic settings, by their Kafka names.
        retention_check_interval_ms: How often retention runs.
        cleaner_enable: Whether compaction runs.
        cleaner_backoff_ms: How often it looks for something to do.
        cleaner_dedupe_buffer_bytes: Memory for keys while it runs, counted as Kafka counts it (24 bytes a key).
        checkpoint_interval_ms: How long after a log has grown a checkpoint is written; a start after a crash reads what
            lies behind it.
        scrub_bytes_per_second: How fast records that a start took on trust are checked afterwards; 0: when read only.
        group_initial_rebalance_delay_ms: How long a new group waits for more members. Kafka's default is 3000; here 0,
            since on one machine nobody wants to wait for the first record.
        group_min_session_timeout_ms, group_max_session_timeout_ms: Bounds of session.timeout.ms.
        group_max_size: How many members a group of the classic protocol may have.
        group_consumer_session_timeout_ms, group_consumer_min_session_timeout_ms,
            group_consumer_max_session_timeout_ms: Of groups of the new consumer protocol (KIP-848), and the bounds of
            what may be set for single groups.
        group_consumer_heartbeat_interval_ms, group_consumer_min_heartbeat_interval_ms,
            group_consumer_max_heartbeat_interval_ms: Likewise. Kafka's default and minimum are 5000; here 1000 and 100,
            since a member learns of a rebalance by its next heartbeat, and one machine can bear a few more of them.
        group_consumer_max_size: How many members a group of the new protocol may have.
        group_consumer_assignors: Of `uniform` and `range`, comma-separated; the first is the default.
        group_consumer_migration_policy: Whether groups with members change between the protocols as members of the
            other kind come and go: bidirectional, upgrade (to the new one only), downgrade or disabled.
        offsets_retention_ms: How long the offsets of an empty group are kept.
        transaction_max_timeout_ms: The longest transaction.timeout.ms that a producer may ask for.
        transaction_abort_check_interval_ms: How often transactions that are open for longer than that are looked for.
            Kafka's default is 10000; here 1000, and only while a transaction is open.
        transactional_id_expiration_ms: Transactional ids unused for so long are forgotten.
        producer_id_expiration_ms: So are, partition by partition, the sequences of producers.
        request_max_bytes: A larger request closes its connection before anything is allocated for it.
        send_buffer_bytes: How much of the replies to a connection the system holds at once; -1 leaves it to the system.
            What is copied into a small buffer is still in the processor's cache when the client takes it.
        connections_max: More connections are closed at once.
        metrics_port: Where health and metrics are served over HTTP; 0 picks a free port, None serves none.
        metrics_host: The address for it. Whoever reaches it may read it: loopback unless told otherwise.
        queued_requests_max_bytes: Memory for requests that are still arriving, by what their lengths claim; what does
            not fit is not read until there is room.
        allow_insecure: Whether other machines may reach a listener without TLS or without saying who they are.
        security: Listeners, TLS, SASL and ACLs; None for one open listener on `host` and `port`.
    """

    data_dir: Path | None = None
    host: str = "127.0.0.1"
    port: int = 9092
    flush: FlushPolicy = "ack"
    flush_interval_ms: int = 1000
    auto_create_topics: bool = True
    any_replication_factor: bool = True
    partitions: int = 1
    message_max_bytes: int = 1_048_588
    retention_ms: int = 7 * 24 * 3600 * 1000
    retention_bytes: int = -1
    segment_bytes: int = 1 << 30
    topic_defaults: Mapping[str, str] = field(default_factory=dict)
    retention_check_interval_ms: int = 30_000
    cleaner_enable: bool = True
    cleaner_backoff_ms: int = 15_000
    cleaner_dedupe_buffer_bytes: int = 8 << 20
    checkpoint_interval_ms: int = 30_000
    scrub_bytes_per_second: int = 64 << 20
    group_initial_rebalance_delay_ms: int = 0
    group_min_session_timeout_ms: int = 6_000
    group_max_session_timeout_ms: int = 1_800_000
    group_max_size: int = 2**31 - 1
    group_consumer_session_timeout_ms: int = 45_000
    group_consumer_min_session_timeout_ms: int = 45_000
    group_consumer_max_session_timeout_ms: int = 60_000
    group_consumer_heartbeat_interval_ms: int = 1_000
    group_consumer_min_heartbeat_interval_ms: int = 100
    group_consumer_max_heartbeat_interval_ms: int = 15_000
    group_consumer_max_size: int = 2**31 - 1
    group_consumer_assignors: str = "uniform,range"
    group_consumer_migration_policy: str = "bidirectional"
    offsets_retention_ms: int = 7 * 24 * 3600 * 1000
    transaction_max_timeout_ms: int = 15 * 60 * 1000
    transaction_abort_check_interval_ms: int = 1_000
    transactional_id_expiration_ms: int = 7 * 24 * 3600 * 1000
    producer_id_expiration_ms: int = 24 * 3600 * 1000
    request_max_bytes: int = 100 * 1024 * 1024
    send_buffer_bytes: int = 100 * 1024
    connections_max: int = 2000
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    queued_requests_max_bytes: int = 256 * 1024 * 1024
    allow_insecure: bool = False
    security: SecurityConfig | None = None
    node_id: int = field(default=1)

    def __post_init__(self) -> None:
        """Raises ConfigurationError listing every fault at once."""
        faults: list[str] = []
        if not 0 <= self.port <= 65535:
            faults.append(f"port must be 0 to 65535, not {self.port}")
        if self.metrics_port is not None and not 0 <= self.metrics_port <= 65535:
            faults.append(f"metrics_port must be 0 to 65535, not {self.metrics_port}")
        if self.flush not in ("ack", "interval", "none"):
            faults.append(f"flush must be ack, interval or none, not {self.flush!r}")
        for name in (
            "flush_interval_ms",
            "checkpoint_interval_ms",
            "partitions",
            "request_max_bytes",
            "queued_requests_max_bytes",
            "connections_max",
            "segment_bytes",
        ):
            if getattr(self, name) < 1:
                faults.append(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.send_buffer_bytes < -1:
            faults.append(f"send_buffer_bytes must be at least -1, not {self.send_buffer_bytes}")
        faults += _group_faults(self)
        if faults:
            raise ConfigurationError("embedded broker: " + "; ".join(faults))


def _group_faults(config: BrokerConfig) -> list[str]:
    faults: list[str] = []
    for what in ("session_timeout", "heartbeat_interval"):
        low, value, high = (getattr(config, f"group_consumer_{word}{what}_ms") for word in ("min_", "", "max_"))
        if not 0 < low <= value <= high:
            faults.append(f"group_consumer_{what}_ms must be from {low} to {high} (its min and max), not {value}")
    if config.group_consumer_heartbeat_interval_ms >= config.group_consumer_session_timeout_ms:
        faults.append("group_consumer_heartbeat_interval_ms must be less than group_consumer_session_timeout_ms")
    if config.group_max_size < 1 or config.group_consumer_max_size < 1:
        faults.append("group_max_size and group_consumer_max_size must be at least 1")
    assignors = config.group_consumer_assignors.split(",")
    if not assignors or not {"uniform", "range"}.issuperset(assignors):
        faults.append(f"group_consumer_assignors may hold uniform and range, not {config.group_consumer_assignors!r}")
    policies = ("bidirectional", "upgrade", "downgrade", "disabled")
    if config.group_consumer_migration_policy not in policies:
        faults.append(f"group_consumer_migration_policy must be one of {', '.join(policies)}")
    return faults
