"""Where configuration comes from and how it merges.

Sources, strongest first: arguments given in code, environment variables, the `.env` file, `ottla.toml`, defaults.
An environment variable names its place in the tree with two underscores: `OTTLA_KAFKA__BOOTSTRAP_SERVERS` is
`kafka.bootstrap_servers`; a librdkafka property has dots where the variable has single underscores:
`OTTLA_KAFKA__PROPERTIES__LINGER_MS` is `linger.ms`.

Nothing is read at import. `load_settings` reads every source once and reports all faults in one error.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from ottla.errors import ConfigurationError

PREFIX = "OTTLA_"


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
    topic_partitions: int = 3
    topic_replication: int = -1
    create_topics: bool = True
    publish_timeout_s: float = 30.0


class RegistrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The schema registry.

    Attributes:
        url: Its address.
        auto_register: True registers a schema on first publish (development); False only looks it up (production).
        timeout_s: How long one request may take.
    """

    url: str = "http://127.0.0.1:8081"
    auto_register: bool = True
    timeout_s: float = 5.0


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The service's own database: an SQLAlchemy URL, or None if it has none."""

    url: str | None = None


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a service listens for HTTP (its API, health and metrics). Port 0 picks a free one."""

    host: str = "127.0.0.1"
    port: int = 8000


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

    commit_interval_s: float = 0.5
    fetch_min_bytes: int = 1
    fetch_wait_s: float = 0.5
    batch_records: int = 1000
    buffered_records_max: int = 2000
    drain_timeout_s: float = 10.0
    session_timeout_s: float = 45.0
    max_poll_interval_s: float = 300.0
    sync_threads: int | None = None
    transaction_interval_s: float = 0.1
    transaction_records_max: int = 10_000
    transaction_timeout_s: float = 10.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured. Built by `load_settings`, or by hand in a test."""

    profile: Literal["dev", "test", "prod"] = "dev"
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    database: DatabaseSettings = DatabaseSettings()
    http: HttpSettings = HttpSettings()
    listener: ListenerSettings = ListenerSettings()


# Tables of ottla.toml that other parts read for themselves.
FOREIGN_TABLES = frozenset({"services"})


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
    sources = [*_outer_sources(directory, environ, faults), ("arguments", dict(overrides or {}))]
    merged = _merge(Settings, sources, "", faults)
    if faults:
        raise ConfigurationError("configuration is not usable:\n" + "\n".join(f"  - {fault}" for fault in faults))
    settings: Settings = merged
    return settings


def is_configured(setting: str, *, directory: Path | None = None, environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment, `.env` or `ottla.toml` says anything about a setting (`"kafka.bootstrap_servers"`)."""
    for _source, tree in _outer_sources(directory, environ, []):
        node: Any = tree
        for step in setting.split("."):
            node = node.get(step) if isinstance(node, dict) else None
        if node is not None:
            return True
    return False


def _outer_sources(
    directory: Path | None, environ: Mapping[str, str] | None, faults: list[str]
) -> list[tuple[str, dict[str, Any]]]:
    """What is set outside of the code, weakest first."""
    folder = directory or Path.cwd()
    return [
        ("ottla.toml", _from_toml(folder / "ottla.toml", faults)),
        (".env", _from_variables(_dotenv(folder / ".env"))),
        ("environment", _from_variables(os.environ if environ is None else environ)),
    ]


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
