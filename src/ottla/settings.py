"""Where configuration comes from and how it merges.

Sources, strongest first: arguments given in code, environment variables, the `.env` file, `ottla.toml` (first what
stands under `[profiles.NAME]` for the profile in force, then the rest), what the profile itself implies, defaults.
An environment variable names its place in the tree with two underscores: `OTTLA_KAFKA__BOOTSTRAP_SERVERS` is
`kafka.bootstrap_servers`; a librdkafka property has dots where the variable has single underscores:
`OTTLA_KAFKA__PROPERTIES__LINGER_MS` is `linger.ms`.

Nothing is read at import. `load_settings` reads every source once and reports all faults in one error.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from ottla.errors import ConfigurationError

PREFIX = "OTTLA_"

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach Kafka and what to ask of it.

    Attributes:
        bootstrap_servers: `host:port`, several with commas.
        properties: Any librdkafka property for every client (`{"security.protocol": "SASL_SSL"}`); it wins over
            Ottla's own choice.
        topic_partitions: Partitions of a topic that Ottla creates.
        topic_replication: Replication factor of a topic that Ottla creates; -1 lets the broker choose.
        create_topics: Whether services create the topics they need and do not find.
        publish_timeout_s: How long a publish may wait for its acknowledgement.
    """

    bootstrap_servers: str = "127.0.0.1:9092"
    properties: dict[str, str | int | float | bool] = {}
    topic_partitions: Count = 3
    topic_replication: int = -1
    create_topics: bool = True
    publish_timeout_s: Positive = 30.0


class RegistrySettings(msgspec.Struct, frozen=True, kw_only=True):
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


class SerdeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How events are written.

    Attributes:
        format: `avro`, `json` or `protobuf`, for events whose `@event` names no format.
        subject_strategy: What their subjects are called: `topic-record` (`<topic>-<event name>`), `topic`
            (`<topic>-value`) or `record` (`<event name>`).
    """

    format: Literal["avro", "json", "protobuf"] = "avro"
    subject_strategy: Literal["topic-record", "topic", "record"] = "topic-record"


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The service's own database.

    Attributes:
        url: An SQLAlchemy URL; None if the service has no database.
    """

    url: str | None = None


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a service listens for HTTP: its API, health and metrics.

    Attributes:
        host: The address.
        port: 0 picks a free one.
    """

    host: str = "127.0.0.1"
    port: Port = 8000


class ListenerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How records are taken from Kafka.

    Attributes:
        commit_interval_s: Offsets of finished records are committed at least this often.
        fetch_min_bytes, fetch_wait_s: The broker answers a fetch when so many bytes have arrived, or after so long
            (Kafka's fetch.min.bytes and fetch.max.wait.ms). The defaults give each record at once; larger values
            trade that for fewer, larger batches, which cost everybody much less.
        batch_records: Records asked of the client library at once.
        buffered_records_max: Records waiting per partition before that partition is paused.
        drain_timeout_s: How long a revoke or a shutdown waits for records in hand.
        session_timeout_s: The group declares a silent member dead after this long.
        max_poll_interval_s: ... and one whose consumer thread hangs after this long. Slow handlers do not count:
            the consumer thread goes on polling while they work.
        sync_threads: Threads for sync handlers; None is one per assigned partition, at most 32.
        transaction_interval_s: Exactly-once handlers: their outputs and offsets are committed at least this often.
        transaction_records_max: ... and after so many records.
        transaction_timeout_s: ... and the broker undoes what was not committed for so long, because the service died.
    """

    commit_interval_s: Seconds = 0.5
    fetch_min_bytes: Count = 1
    fetch_wait_s: Seconds = 0.5
    batch_records: Count = 1000
    buffered_records_max: Count = 2000
    drain_timeout_s: Seconds = 10.0
    session_timeout_s: Positive = 45.0
    max_poll_interval_s: Positive = 300.0
    sync_threads: Count | None = None
    transaction_interval_s: Positive = 0.1
    transaction_records_max: Count = 10_000
    transaction_timeout_s: Positive = 10.0


class StreamsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How stream applications run. Names are Kafka Streams', where it has one.

    Attributes:
        guarantee: `exactly_once` puts outputs, changelogs and offsets of each commit into one transaction;
            `at_least_once` may handle again, after a crash, what was handled since the last commit.
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
    """

    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
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


class Settings(msgspec.Struct, frozen=True, kw_only=True):
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


# Tables of ottla.toml that other parts read for themselves.
FOREIGN_TABLES = frozenset({"services"})
PROFILES = "profiles"

IMPLIED: dict[str, dict[str, Any]] = {"prod": {"registry": {"auto_register": False}}}
"""What a profile changes by itself."""

Tree = dict[str, Any]


class Given(msgspec.Struct, frozen=True):
    """One setting as one source gives it. The last of several wins."""

    source: str
    value: Any


def load_settings(
    overrides: Mapping[str, Any] | None = None,
    *,
    directory: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Reads and merges every source.

    Args:
        overrides: A nested mapping that wins over all else: `{"kafka": {"bootstrap_servers": "broker:9092"}}`.
        directory: Where `ottla.toml` and `.env` are looked for; the working directory if None.
        environ: The environment; the process's own if None.

    Raises:
        ConfigurationError: A value does not fit, or a key is unknown. The message lists every fault and its source.
    """
    faults: list[str] = []
    merged = _merge(Settings, _sources(overrides, directory, environ, faults), "", faults)
    if faults:
        raise ConfigurationError("configuration is not usable:\n" + "\n".join(f"  - {fault}" for fault in faults))
    settings: Settings = merged
    return settings


def origins(
    overrides: Mapping[str, Any] | None = None,
    *,
    directory: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, list[Given]]:
    """Where each setting's value comes from: its dotted name to what the sources say, the one that wins last.

    Every setting is there, with its default first. Sources that cannot be read say nothing; `load_settings` tells.
    """
    found: dict[str, list[Given]] = {}
    sources = _sources(overrides, directory, environ, [])
    for source, tree in [("default", _defaults(Settings())), *sources]:
        for name, value in _leaves(tree, ""):
            if source == "default" or name in found or ".properties." in name:
                found.setdefault(name, []).append(Given(source, value))
    return found


def is_configured(setting: str, *, directory: Path | None = None, environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment, `.env` or `ottla.toml` says anything about a setting (`"kafka.bootstrap_servers"`)."""
    for source, tree in _sources(None, directory, environ, []):
        if source.startswith(_BY_PROFILE):
            continue
        node: Any = tree
        for step in setting.split("."):
            node = node.get(step) if isinstance(node, dict) else None
        if node is not None:
            return True
    return False


_BY_PROFILE = "profile "


def _sources(
    overrides: Mapping[str, Any] | None, directory: Path | None, environ: Mapping[str, str] | None, faults: list[str]
) -> list[tuple[str, Tree]]:
    """All that is set anywhere, weakest first."""
    folder = directory or Path.cwd()
    toml = _from_toml(folder / "ottla.toml", faults)
    profiles = toml.pop(PROFILES, {})
    stronger = [
        (".env", _from_variables(_dotenv(folder / ".env"))),
        ("environment", _from_variables(os.environ if environ is None else environ)),
        ("arguments", dict(overrides or {})),
    ]
    profile = next((tree["profile"] for _, tree in reversed([("", toml), *stronger]) if "profile" in tree), "dev")
    return [
        (f"{_BY_PROFILE}{profile}", IMPLIED.get(profile, {})),
        ("ottla.toml", toml),
        (f"ottla.toml [{PROFILES}.{profile}]", _profile_table(profiles, profile, faults)),
        *stronger,
    ]


def _profile_table(profiles: Any, profile: str, faults: list[str]) -> Tree:
    table = profiles.get(profile, {}) if isinstance(profiles, dict) else None
    if not isinstance(table, dict):
        faults.append(f"ottla.toml: [{PROFILES}] holds a table of settings for each profile: [{PROFILES}.prod.kafka]")
        return {}
    if "profile" in table:
        faults.append(f"ottla.toml [{PROFILES}.{profile}]: a profile cannot name another profile")
    return {name: value for name, value in table.items() if name != "profile"}


def _defaults(settings: msgspec.Struct) -> Tree:
    tree: Tree = msgspec.structs.asdict(settings)
    return {n: _defaults(v) if isinstance(v, msgspec.Struct) else v for n, v in tree.items()}


def _leaves(tree: Tree, path: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping) and (value or name != "properties"):
            yield from _leaves(dict(value), f"{path}{name}.")
        elif not isinstance(value, Mapping):
            yield f"{path}{name}", value


def _from_toml(path: Path, faults: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{path}: not valid TOML: {error}")
        return {}
    return {name: value for name, value in tables.items() if name not in FOREIGN_TABLES}


def _dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path).items() if value is not None}


def _from_variables(variables: Mapping[str, str]) -> dict[str, Any]:
    """Turns `OTTLA_A__B=x` into `{"a": {"b": "x"}}`; variables of one level that name no setting are not ours."""
    tree: dict[str, Any] = {}
    for name, value in variables.items():
        if not name.startswith(PREFIX):
            continue
        steps = name[len(PREFIX) :].lower().split("__")
        # OTTLA_DATA, OTTLA_PURE and the like steer tools, not services.
        if len(steps) == 1 and steps[0] not in Settings.__struct_fields__:
            continue
        if "properties" in steps[:-1]:
            at = steps.index("properties") + 1
            steps = [*steps[:at], ".".join(steps[at:]).replace("_", ".")]
        node = tree
        for step in steps[:-1]:
            branch = node.setdefault(step, {})
            if not isinstance(branch, dict):
                branch = node[step] = {}
            node = branch
        node[steps[-1]] = value
    return tree


def _merge(kind: type[Any], sources: list[tuple[str, dict[str, Any]]], path: str, faults: list[str]) -> Any:
    """Builds `kind` from the sources, weakest first, gathering every fault instead of stopping at the first."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    for name, field in fields.items():
        given = [(source, tree[name]) for source, tree in sources if name in tree]
        if not given:
            continue
        place = f"{path}{name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            branches = [(source, value) for source, value in given if isinstance(value, Mapping)]
            faults.extend(
                f"{place} from {source}: expected a table of settings, got {value!r}"
                for source, value in given
                if not isinstance(value, Mapping)
            )
            values[name] = _merge(field.type, [(s, dict(v)) for s, v in branches], f"{place}.", faults)
        elif name == "properties":
            merged: dict[str, Any] = {}
            for source, value in given:
                if isinstance(value, Mapping):
                    merged.update(value)
                else:
                    faults.append(f"{place} from {source}: expected a table of librdkafka properties, got {value!r}")
            values[name] = merged
        else:
            source, value = given[-1]
            try:
                values[name] = msgspec.convert(value, field.type, strict=False)
            except msgspec.ValidationError as error:
                faults.append(f"{place} from {source}: {error} (got {value!r})")
    for source, tree in sources:
        faults.extend(
            f"{path}{name} from {source}: there is no such setting; known here: {', '.join(sorted(fields))}"
            for name in tree
            if name not in fields
        )
    return kind(**values)
