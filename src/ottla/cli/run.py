"""`ottla run MODULE:NAME`: serves one service."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

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
    from ottla.cli.service import Run, serve_one
    from ottla.settings import load_settings

    settings = load_settings()
    one = Run(target, app_dir, host, port, name, None if log_level is None else log_level.value, access_log)
    if workers == 1:
        serve_one(one, settings)
        return
    import msgspec

    from ottla.cli.workers import run_workers
    from ottla.observability.logs import configure_logging

    http, level = settings.http, one.log_level or settings.logging.level
    options = ["--app-dir", str(app_dir), "--host", host or http.host, "--log-level", level]
    options += ["--access-log"] if access_log else []
    configure_logging(name or target, msgspec.structs.replace(settings.logging, level=level))
    raise typer.Exit(run_workers(target, workers, http.port if port is None else port, name, options))
