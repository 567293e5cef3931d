"""What `ottla run` does for one process, and the short way to it.

Typer, and pydantic which it brings, take twenty megabytes and a fifth of a second, which every service would pay for
one command line. So an ordinary `ottla run` is understood here; `--help`, `--workers`, mistakes and whatever else is
left to `run.py`, which says it all in full.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeGuard, cast

import msgspec

if TYPE_CHECKING:
    from ottla.app import App
    from ottla.cli.server import Application
    from ottla.settings import Settings
    from ottla.streams.app import StreamsApp

INTERRUPTED = 130
LOG_LEVELS = ("debug", "info", "warning", "error")


class Run(msgspec.Struct, frozen=True):
    """One service to run: the options of `ottla run`; None leaves it to the settings."""

    target: str
    app_dir: Path = Path()
    host: str | None = None
    port: int | None = None
    name: str | None = None
    log_level: str | None = None
    access_log: bool = False


_OPTIONS = {
    "--app-dir": "app_dir",
    "--host": "host",
    "--port": "port",
    "-p": "port",
    "--name": "name",
    "--log-level": "log_level",
}


def plain(arguments: Sequence[str]) -> Run | None:
    """What the arguments of `ottla run` ask for, where that is as simple as it mostly is; else None."""
    targets: list[str] = []
    found: dict[str, str] = {}
    access_log = False
    left = list(arguments)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if name == "--access-log" and not equals:
            access_log = True
        elif name in _OPTIONS:
            if not equals and not left:
                return None
            found[_OPTIONS[name]] = value if equals else left.pop(0)
        elif name.startswith("-"):
            return None
        else:
            targets.append(name + equals + value)
    port, level = found.pop("port", None), found.get("log_level")
    if len(targets) != 1 or (level is not None and level not in LOG_LEVELS) or not (port or "0").isdecimal():
        return None
    return Run(
        targets[0],
        Path(found.pop("app_dir", ".")),
        port=None if port is None else int(port),
        access_log=access_log,
        **found,
    )


def run_alone(run: Run) -> int:
    """Serves as `serve_one` does; tells what fails, and gives the exit status."""
    from ottla.cli.failures import failed
    from ottla.errors import OttlaError
    from ottla.settings import load_settings

    try:
        serve_one(run, load_settings())
    except OttlaError as error:
        return failed(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def serve_one(run: Run, settings: Settings) -> None:
    """Serves until a signal asks to stop.

    Raises:
        OttlaError: It cannot be found, configured or started.
    """
    from ottla.cli.locate import locate
    from ottla.cli.server import Place, serve
    from ottla.observability.logs import configure_logging

    http, lines = settings.http, settings.logging
    if run.log_level is not None:
        lines = msgspec.structs.replace(lines, level=run.log_level)
    configure_logging(run.name or run.target, lines)
    module, found = locate(run.target, run.app_dir)
    service = run.name or _service_name(found, module, run.target)
    configure_logging(service, lines)
    place = Place(
        service, run.host or http.host, http.port if run.port is None else run.port, access_log=run.access_log
    )
    streams = [value for value in (found, *vars(module).values()) if _is_streams_app(value)]

    def bound(address: str) -> None:
        for one in streams:
            one.address = address

    serve(_application(found, run.target), place, bound=bound)


def _application(found: object, target: str) -> Application:
    from ottla.errors import ConfigurationError

    if _is_app(found) or _is_streams_app(found):
        from starlette.applications import Starlette

        return cast("Application", Starlette(lifespan=found.lifespan))
    if isinstance(found, type) or not callable(found):
        raise ConfigurationError(
            f"{target} is a {type(found).__name__}, neither an ottla App nor an ASGI app such as FastAPI(...)"
        )
    return cast("Application", found)


def _service_name(found: object, module: ModuleType, target: str) -> str:
    """The App's name; an ASGI app cannot say which App it carries, but its module shows it if it holds just one."""
    if _is_app(found) or _is_streams_app(found):
        return found.name
    names = {value.name for value in vars(module).values() if _is_app(value) or _is_streams_app(value)}
    return names.pop() if len(names) == 1 else target


def _is_app(value: object) -> TypeGuard[App]:
    # If nothing has imported that module by now, nothing can be an App, and a plain ASGI app need not wait for it.
    home = sys.modules.get("ottla.app")
    return home is not None and isinstance(value, home.App)


def _is_streams_app(value: object) -> TypeGuard[StreamsApp]:
    home = sys.modules.get("ottla.streams.app")
    return home is not None and isinstance(value, home.StreamsApp)
