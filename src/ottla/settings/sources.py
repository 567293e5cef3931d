"""Where configuration comes from and how it merges.

Sources, strongest first: arguments given in code, environment variables, the `.env` file, what Heroku's variables
(`KAFKA_URL` and its companions) say, `ottla.toml` (first what stands under `[profiles.NAME]` for the profile in force,
then the rest), what the profile itself implies, defaults.
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
from typing import Any, Literal, get_args, get_origin

import msgspec

from ottla.errors import ConfigurationError
from ottla.settings.heroku import SOURCE as HEROKU
from ottla.settings.heroku import from_heroku
from ottla.settings.kinds import Settings
from ottla.settings.secrets import hide
from ottla.settings.security import security_faults

PREFIX = "OTTLA_"

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
    faults.extend(security_faults(merged.kafka))
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
    file, environment = _dotenv(folder / ".env"), os.environ if environ is None else environ
    stronger = [
        (HEROKU, from_heroku({**file, **environment}, faults)),
        (".env", _from_variables(file)),
        ("environment", _from_variables(environment)),
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
                f"{place} from {source}: expected a table of settings, got {hide(place, value)!r}"
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
                    faults.append(f"{place} from {source}: expected a table of properties, got {type(value).__name__}")
            values[name] = merged
        else:
            source, value = given[-1]
            try:
                values[name] = msgspec.convert(_as_spelt(value, field.type), field.type, strict=False)
            except msgspec.ValidationError as error:
                faults.append(f"{place} from {source}: {error} (got {hide(place, value)!r})")
    for source, tree in sources:
        faults.extend(
            f"{path}{name} from {source}: there is no such setting; known here: {', '.join(sorted(fields))}"
            for name in tree
            if name not in fields
        )
    return kind(**values)


def _as_spelt(value: Any, kind: Any) -> Any:
    """A choice as its setting spells it: Kafka writes SASL_SSL, librdkafka sasl_ssl."""
    choices = [choice for one in (kind, *get_args(kind)) if get_origin(one) is Literal for choice in get_args(one)]
    if isinstance(value, str):
        return next((choice for choice in choices if choice.lower() == value.lower()), value)
    return value
