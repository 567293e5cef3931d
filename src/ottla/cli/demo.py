"""`ottla demo`: the example shop on real orders, with everything it needs."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)

# The shop needs these beyond Ottla's own dependencies.
_NEEDED = ("fastapi", "sqlalchemy")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:/s)?")


@app.command()
def demo(
    orders: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Orders to place: CSV or CSV.gz in the columns of Online Retail.",
            show_default="a day of real orders",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Place at most N invoices.", show_default="all")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="N/s", help="Place at most N invoices per second.", show_default="as fast as possible"),
    ] = None,
    exit_: Annotated[
        bool, typer.Option("--exit", help="Stop when every order reached its end; status 0 only if the books balance.")
    ] = False,
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Topics, databases and logs; a second run continues on them.")
    ] = Path(".ottla"),
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(
            "--bootstrap-servers",
            "--bootstrap-server",
            "-b",
            metavar="HOST:PORT",
            help="Use this Kafka.",
            show_default="an embedded broker",
        ),
    ] = None,
    streams: Annotated[
        bool, typer.Option("--streams", help="Run the shop's streams too: totals, revenue, fraud hints, settlements.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON on stdout, all else on stderr.")
    ] = False,
    broker_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the embedded broker; 0 picks a free one.")
    ] = 9092,
    registry_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the schema registry; 0 picks a free one.")
    ] = 8081,
    http_port: Annotated[
        int, typer.Option(min=0, max=65530, help="Port of orders; the other services take the next ones. 0: free ones.")
    ] = 8000,
) -> None:
    """Run the example shop: five services, a schema registry and an embedded broker, on real orders.

    Shows each service's state and rate, each order's way, and totals by outcome; without a terminal, plain lines.
    Ctrl-C stops everything and prints the summary, which compares the services' databases with the topics.
    """
    rate_per_s = _per_second(rate)
    _require_the_shop()
    from shop.demo.options import SAMPLE, Options
    from shop.demo.pipeline import Ports
    from shop.demo.run import run

    status = run(
        Options(
            orders=orders or SAMPLE,
            limit=limit,
            rate=rate_per_s,
            exit=exit_,
            data=data,
            bootstrap_servers=bootstrap_servers,
            streams=streams,
            json=as_json,
            ports=Ports(broker=broker_port, registry=registry_port, http=http_port),
        )
    )
    raise typer.Exit(status)


def _per_second(text: str | None) -> float | None:
    if text is None:
        return None
    match = _RATE.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise typer.BadParameter(f"{text!r}: expected invoices per second, such as 50/s", param_hint="--rate")
    return float(match[1])


def _require_the_shop() -> None:
    """Puts the shop on the import path. In a wheel it lies inside the package, in a checkout beside `src`."""
    from ottla.errors import ConfigurationError

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"the shop needs {' and '.join(missing)}, which this environment ({sys.prefix}) does not have. "
            "Install all of Ottla: pip install 'ottla[all]'"
        )
    package = Path(__file__).resolve().parents[1]
    for examples in (package / "examples", package.parents[1] / "examples"):
        if (examples / "shop" / "demo" / "run.py").is_file():
            sys.path.insert(0, str(examples))
            return
    raise ConfigurationError(
        f"the shop's files are in neither {package / 'examples'} nor {package.parents[1] / 'examples'}; "
        "is the installation complete?"
    )
