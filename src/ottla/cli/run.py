"""`ottla run MODULE:NAME`: serves one service."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, TypeGuard, cast

import typer

if TYPE_CHECKING:
    from ottla.app import App
    from ottla.cli.server import Application
    from ottla.streams.app import StreamsApp

app = typer.Typer(add_completion=False)


class LogLevel(StrEnum):
    """As `logging.level`."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


@app.command()
def run(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:NAME", help="An ottla App, or any ASGI app: shop.inventory:app.")
    ],
    app_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Where to look for MODULE, before the installed packages.")
    ] = Path(),
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1, or http.host")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", help="Port to listen on; 0 picks a free one.", show_default="8000, or http.port"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name in log lines and in the ready line.", show_default="the App's name")
    ] = None,
    log_level: Annotated[
        LogLevel | None, typer.Option(help="Least level to log.", show_default="info, or logging.level")
    ] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log each HTTP request.")] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes that share the work; each beyond the first on a free port.")
    ] = 1,
) -> None:
    """Serve one service: an ottla App, or any ASGI app that carries one.

    Every service answers HTTP: /health/live, /health/ready and /metrics beside its own routes. Prints
    "NAME ready on http://HOST:PORT" once it listens. SIGTERM or Ctrl-C finishes what is in hand, commits and exits.
    """
    import msgspec

    from ottla.cli.locate import locate
    from ottla.cli.server import Place, serve
    from ottla.observability.logs import configure_logging
    from ottla.settings import load_settings

    settings = load_settings()
    http, lines = settings.http, settings.logging
    if log_level is not None:
        lines = msgspec.structs.replace(lines, level=log_level.value)
    if workers > 1:
        from ottla.cli.workers import run_workers

        options = ["--app-dir", str(app_dir), "--host", host or http.host, "--log-level", lines.level]
        options += ["--access-log"] if access_log else []
        configure_logging(name or target, lines)
        raise typer.Exit(run_workers(target, workers, http.port if port is None else port, name, options))
    configure_logging(name or target, lines)
    module, found = locate(target, app_dir)
    service = name or _service_name(found, module, target)
    configure_logging(service, lines)
    place = Place(service, host or http.host, http.port if port is None else port, access_log=access_log)
    streams = [value for value in (found, *vars(module).values()) if _is_streams_app(value)]

    def bound(address: str) -> None:
        for one in streams:
            one.address = address

    serve(_application(found, target), place, bound=bound)


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
