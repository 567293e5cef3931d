"""The services that an `ottla.toml` names, for `ottla dev`:

[services.orders]
run = "shop.orders:api"          # what `ottla run` takes
port = 8000                      # optional
watch = ["shop/orders"]          # optional: restart when a file below changes; default: the manifest's folder
env = { OTTLA_DATABASE__URL = "sqlite:///orders.db" }   # optional
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ottla.errors import ConfigurationError

_RUN = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")


@dataclass(frozen=True)
class ServiceEntry:
    """One `[services.NAME]` table. `port` is None where the manifest leaves it open; `watch` holds absolute paths."""

    name: str
    run: str
    port: int | None
    watch: tuple[Path, ...]
    env: Mapping[str, str]


def read_manifest(path: Path) -> list[ServiceEntry]:
    """Reads `[services.*]`, in the order of the file.

    Raises:
        ConfigurationError: The file is missing, no TOML, names no service or is wrong somewhere; lists every fault.
    """
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except FileNotFoundError:
        raise ConfigurationError(
            f'{path}: no such file. Name the services to run there: [services.NAME] with run = "module:attribute".'
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}") from None
    tables = document.get("services", {})
    if not isinstance(tables, dict) or not tables:
        raise ConfigurationError(
            f'{path}: names no service. Add a table [services.NAME] with run = "module:attribute".'
        )
    faults: list[str] = []
    entries = [_entry(name, table, path.resolve().parent, faults) for name, table in tables.items()]
    faults += _shared_ports(entries)
    if faults:
        raise ConfigurationError(f"{path}:" + "".join(f"\n  - {fault}" for fault in faults))
    return entries


def _entry(name: str, table: object, folder: Path, faults: list[str]) -> ServiceEntry:
    where = f"[services.{name}]"
    if not _NAME.match(name):
        faults.append(f"{where}: a name is made of letters, digits, '_', '-' and '.'")
    if not isinstance(table, dict):
        faults.append(f'{where}: is not a table; write run = "module:attribute" below the heading')
        table = {"run": "a:b"}
    values: dict[str, Any] = dict(table)
    run, port = values.pop("run", None), values.pop("port", None)
    watch, env = values.pop("watch", []), values.pop("env", {})
    if not isinstance(run, str) or not _RUN.match(run):
        faults.append(f'{where}: run = {run!r}: expected "module:attribute", as for `ottla run`')
    if port is not None and (type(port) is not int or not 0 <= port <= 65535):
        faults.append(f"{where}: port = {port!r}: expected a number from 0 to 65535")
    if not isinstance(watch, list) or not all(isinstance(item, str) for item in watch):
        faults.append(f"{where}: watch = {watch!r}: expected a list of paths")
        watch = []
    if not isinstance(env, dict) or not all(isinstance(value, str | int | float) for value in env.values()):
        faults.append(f"{where}: env = {env!r}: expected a table of texts and numbers")
        env = {}
    if values:
        faults.append(f"{where}: unknown setting {', '.join(sorted(values))} (known: run, port, watch, env)")
    return ServiceEntry(
        name,
        str(run),
        port,
        tuple((folder / item).resolve() for item in watch) or (folder,),
        {key: _text(value) for key, value in env.items()},
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shared_ports(entries: list[ServiceEntry]) -> list[str]:
    by_port: dict[int, list[str]] = {}
    for entry in entries:
        if entry.port:
            by_port.setdefault(entry.port, []).append(entry.name)
    return [f"port {port} is claimed by {' and '.join(names)}" for port, names in by_port.items() if len(names) > 1]
