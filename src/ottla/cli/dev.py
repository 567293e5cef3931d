"""`ottla dev`: runs all services of an ottla.toml, with what they stand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def dev(
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="FILE", help=r"Which services: tables \[services.NAME].")
    ] = Path("ottla.toml"),
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Data and log files.", show_default=".ottla beside the configuration"),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", help="Restart a service when its code changes.")
    ] = True,
    broker_port: Annotated[
        int, typer.Option(help="Port of the embedded broker; 0 picks a free one.", min=0, max=65535)
    ] = 9092,
    registry_port: Annotated[
        int, typer.Option(help="Port of the schema registry; 0 picks a free one.", min=0, max=65535)
    ] = 8081,
    log_level: Annotated[str, typer.Option(help="Least level the services log.")] = "info",
) -> None:
    r"""Run every service that ottla.toml names, each as its own process, and restart one when its code changes.

    The embedded broker and the schema registry run too, unless kafka.bootstrap_servers and registry.url are set.
    A service that crashes is started again after a pause that grows. Ctrl-C stops everything.

    A service in ottla.toml: \[services.orders], run = "shop.orders:api", and where wanted port = 8000,
    watch = ["shop/orders"] (default: the folder of ottla.toml), env = { NAME = "value" }. Services run in the folder
    of ottla.toml; if that is a package, its modules are imported from the folder above.
    """
    from ottla.cli.dev_plan import make_plan
    from ottla.cli.dev_session import DevSession
    from ottla.cli.watch import require_watchfiles

    if reload:
        require_watchfiles()
    plan = make_plan(config.resolve(), data, broker_port=broker_port, registry_port=registry_port, log_level=log_level)
    DevSession(plan, reload=reload).run()
