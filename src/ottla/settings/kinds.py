"""Everything that can be configured: one class per section."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from ottla.settings.secrets import hide

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


TokenSource = Callable[[], tuple[str, float]]
"""Gives an OAUTHBEARER token and when it expires, in seconds since the epoch. Called from threads of the clients."""

SecurityProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """Some settings that belong together. Secrets are not in its repr."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={hide(name, getattr(self, name))!r}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({shown})"


class KafkaSettings(Section, frozen=True, kw_only=True):
    """How to reach Kafka and what to ask of it.

    Attributes:
        bootstrap_servers: `host:port`, several with commas.
        prefix: Put before the name of every topic, group and transactional id of a service (Heroku's KAFKA_PREFIX).
        security_protocol: `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`; None leaves it to `kafka.properties`,
            and so to `plaintext`.
        sasl_mechanism: `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`.
        sasl_username: Who logs in by PLAIN or SCRAM.
        sasl_password: The password.
        sasl_token: Where OAUTHBEARER's tokens come from: a function that gives a token and when it expires (seconds
            since the epoch), or its place, `MODULE:NAME`. librdkafka's own OIDC goes by `kafka.properties`.
        ssl_ca: Authorities to trust: a PEM file, or its text; None: those of the system.
        ssl_certificate: Mutual TLS: the client's certificate (and those that vouch for it): a PEM file, or its text.
        ssl_key: ... and its key; not needed where it is in the same file or text.
        ssl_key_password: ... and what opens an encrypted key.
        ssl_verify_hostname: Whether the broker's certificate must be for the host that was asked for.
        properties: Any librdkafka property for every client (`{"client.rack": "a"}`); it wins over Ottla's own choice.
        topic_partitions: Partitions of a topic that Ottla creates.
        topic_replication: Replication factor of a topic that Ottla creates; -1 lets the broker choose.
        create_topics: Whether services create the topics they need and do not find.
        publish_timeout_s: How long a publish may wait for its acknowledgement.
    """

    bootstrap_servers: str = "127.0.0.1:9092"
    prefix: str = ""
    security_protocol: SecurityProtocol | None = None
    sasl_mechanism: SaslMechanism | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    sasl_token: Any = None  # TokenSource | str | None; msgspec has no type for functions
    ssl_ca: str | None = None
    ssl_certificate: str | None = None
    ssl_key: str | None = None
    ssl_key_password: str | None = None
    ssl_verify_hostname: bool = True
    properties: dict[str, str | int | float | bool] = {}
    topic_partitions: Count = 3
    topic_replication: int = -1
    create_topics: bool = True
    publish_timeout_s: Positive = 30.0

    def named(self, name: str) -> str:
        """What a topic, group or transactional id is called in the cluster: with the prefix, once."""
        return name if name.startswith(self.prefix) else self.prefix + name


class RegistrySettings(Section, frozen=True, kw_only=True):
    """The schema registry.

    Attributes:
        url: Its address.
        auto_register: True registers a schema on first publish (development); False only looks it up (production).
        timeout_s: How long one request may take.
        basic_auth: `user:password`, where it asks for that.
        bearer_token: A token, where it asks for that.
        authorities: A PEM file with the authorities to trust over HTTPS; None: those that Python trusts.
        client_certificate: A PEM file with certificate and key, where it asks for one.
    """

    url: str = "http://127.0.0.1:8081"
    basic_auth: str | None = None
    bearer_token: str | None = None
    authorities: str | None = None
    client_certificate: str | None = None
    auto_register: bool = True
    timeout_s: Positive = 5.0


class SerdeSettings(Section, frozen=True, kw_only=True):
    """How events are written.

    Attributes:
        format: `avro`, `json` or `protobuf`, for events whose `@event` names no format.
        subject_strategy: What their subjects are called: `topic-record` (`<topic>-<event name>`), `topic`
            (`<topic>-value`) or `record` (`<event name>`).
    """

    format: Literal["avro", "json", "protobuf"] = "avro"
    subject_strategy: Literal["topic-record", "topic", "record"] = "topic-record"


class DatabaseSettings(Section, frozen=True, kw_only=True):
    """The service's own database.

    Attributes:
        url: An SQLAlchemy URL; None if the service has no database.
    """

    url: str | None = None


class HttpSettings(Section, frozen=True, kw_only=True):
    """Where a service listens for HTTP: its API, health and metrics.

    Attributes:
        host: The address.
        port: 0 picks a free one.
    """

    host: str = "127.0.0.1"
    port: Port = 8000


class ListenerSettings(Section, frozen=True, kw_only=True):
    """How records are taken from Kafka.

    Attributes:
        commit_interval_s: Offsets of finished records are committed at least this often.
        commit_records_max: ... and after so many records.
        stuck_after_s: /health/ready says so when a record has been in hand, a partition with records to handle has
            not moved, a commit or a publish has had no answer, or the event loop has been blocked, for so long. Raise
            it where handlers may take longer.
        fetch_min_bytes, fetch_wait_s: The broker answers a fetch when so many bytes have arrived, or after so long
            (Kafka's fetch.min.bytes and fetch.max.wait.ms). The defaults give each record at once; larger values
            trade that for fewer, larger batches, which cost everybody much less.
        batch_records: Records asked of the client library at once.
        buffered_records_max: Records waiting per partition before that partition is paused.
        buffered_bytes_max: The same, of their values in bytes; what is on its way from the brokers (16 MB) is besides.
        drain_timeout_s: How long a revoke or a shutdown waits for records in hand.
        instance_id: Makes this process a static member of its group (KIP-345): one that comes back under the same id
            within the session timeout has its partitions again, and nobody else was disturbed. Each process needs one
            of its own.
        session_timeout_s: The group declares a silent member dead after this long.
        max_poll_interval_s: ... and one whose consumer thread hangs after this long. Slow handlers do not count:
            the consumer thread goes on polling while they work.
        sync_threads: Threads for plain handlers of all topics together; None gives each topic up to 32 of its own.
        transaction_interval_s: Exactly-once handlers: their outputs and offsets are committed at least this often.
        transaction_records_max: ... and after so many records.
        transaction_timeout_s: ... and the broker undoes what was not committed for so long, because the service died.
    """

    commit_interval_s: Seconds = 0.5
    commit_records_max: Count = 10_000
    stuck_after_s: Positive = 8.0
    fetch_min_bytes: Count = 1
    fetch_wait_s: Seconds = 0.5
    batch_records: Count = 1000
    buffered_records_max: Count = 2000
    buffered_bytes_max: Count = 33_554_432
    drain_timeout_s: Seconds = 10.0
    instance_id: str | None = None
    session_timeout_s: Positive = 45.0
    max_poll_interval_s: Positive = 300.0
    sync_threads: Count | None = None
    transaction_interval_s: Positive = 0.1
    transaction_records_max: Count = 10_000
    transaction_timeout_s: Positive = 10.0


class StreamsSettings(Section, frozen=True, kw_only=True):
    """How stream applications run. Names are Kafka Streams', where it has one.

    Attributes:
        guarantee: `at_least_once` may handle again, after a crash, what was handled since the last commit;
            `exactly_once` puts outputs, changelogs and offsets of each commit into one transaction. What an application
            says of itself (`StreamsApp(exactly_once=...)`) wins.
        state_dir: Where stores on disk lie, in one folder per application. Processes on one machine may share it.
        commit_interval_s: Time from one commit to the next.
        uncommitted_bytes_max: ... or sooner, when uncommitted writes to stores take so much memory.
        buffered_records_max: Records waiting per partition before that partition is paused.
        batch_records: Records given to a task at once, at most.
        max_task_idle_s: How long a task that has records on some of its partitions waits for records of the others,
            so that they are handled in the order of their timestamps. Never longer than there is something to fetch,
            where it is 0.
        num_standby_replicas: Copies of each store that other instances keep warm.
        session_timeout_s: The group declares a silent instance dead after this long.
        max_poll_interval_s: ... and one whose stream thread hangs after this long.
        transaction_timeout_s: The broker undoes what an instance left open for so long, because it died.
        drain_timeout_s: How long a stop may take for its last commit.
        cleanup_delay_s: State of tasks that have moved elsewhere is deleted from this machine after so long.
        store_cache_bytes: Memory for what was read or written last, per store and partition.
        rocksdb_cache_bytes: Memory for blocks and write buffers of all stores on disk together.
        advertised: `host:port` under which other instances reach this one's HTTP port for queries; None: `http.host`
            and the port that is served.
        query_token: Whoever asks for state over HTTP must send it (`Authorization: Bearer TOKEN`); instances and
            `ottla state` do. None: only this machine is answered.
    """

    guarantee: Literal["exactly_once", "at_least_once"] = "at_least_once"
    state_dir: str = ".ottla/state"
    commit_interval_s: Positive = 0.1
    uncommitted_bytes_max: Count = 64 << 20
    buffered_records_max: Count = 10_000
    batch_records: Count = 5_000
    max_task_idle_s: Seconds = 0.0
    num_standby_replicas: Annotated[int, msgspec.Meta(ge=0)] = 0
    session_timeout_s: Positive = 10.0
    max_poll_interval_s: Positive = 300.0
    transaction_timeout_s: Positive = 10.0
    drain_timeout_s: Seconds = 10.0
    cleanup_delay_s: Seconds = 600.0
    store_cache_bytes: Count = 4 << 20
    rocksdb_cache_bytes: Count = 64 << 20
    advertised: str | None = None
    query_token: str | None = None


class LoggingSettings(Section, frozen=True, kw_only=True):
    """Log lines of a service that `ottla run` serves (elsewhere: `ottla.configure_logging(name, settings.logging)`).

    Attributes:
        format: `text`, lines for people, or `json`, an object per line with the record in hand for programs.
        level: Least level to log: `debug`, `info`, `warning` or `error`.
    """

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class TracingSettings(Section, frozen=True, kw_only=True):
    """OpenTelemetry spans, where a tracer provider is set up before the app starts.

    Attributes:
        enabled: Whether to make spans at all.
    """

    enabled: bool = True


class Settings(Section, frozen=True, kw_only=True):
    """Everything that can be configured. Built by `load_settings`, or by hand in a test.

    Attributes:
        profile: `dev`, `test` or `prod`. In `prod`, schemas are looked up and not registered, unless
            `registry.auto_register` says otherwise.
    """

    profile: Literal["dev", "test", "prod"] = "dev"
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    serde: SerdeSettings = SerdeSettings()
    database: DatabaseSettings = DatabaseSettings()
    http: HttpSettings = HttpSettings()
    listener: ListenerSettings = ListenerSettings()
    streams: StreamsSettings = StreamsSettings()
    logging: LoggingSettings = LoggingSettings()
    tracing: TracingSettings = TracingSettings()
