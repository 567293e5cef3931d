"""`ottla registry`: runs the schema registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ottla.cli.connection import Bootstrap, settings_for

app = typer.Typer(add_completion=False)

_PEM = {"exists": True, "dir_okay": False}


@app.command()
def registry(
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0 picks a free one.")] = 8081,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    topic: Annotated[str, typer.Option(help="The topic that keeps the schemas.")] = "_schemas",
    bootstrap: Bootstrap = None,
    advertised_url: Annotated[
        str | None, typer.Option(help="Where other registries on the same topic reach this one.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every change.")] = False,
    accounts: Annotated[Path | None, typer.Option(help="A TOML file with users and tokens.", **_PEM)] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="A PEM file; with it, HTTPS.", **_PEM)] = None,
    tls_key: Annotated[Path | None, typer.Option(help="A PEM file.", **_PEM)] = None,
    tls_clients: Annotated[Path | None, typer.Option(help="Authorities of client certificates.", **_PEM)] = None,
    tls_authorities: Annotated[Path | None, typer.Option(help="Authorities of other registries.", **_PEM)] = None,
) -> None:
    """Run the schema registry: Confluent's REST API, its schemas kept in a topic of the cluster.

    Prints "registry ready on http://HOST:PORT" once it serves. SIGTERM or Ctrl-C stops it cleanly. Several may run on
    one topic: one of them decides, the others send changes on to it.
    """
    from ottla.registry.server import RegistryConfig, serve

    kafka = settings_for(bootstrap).kafka
    serve(
        RegistryConfig(
            host=host,
            port=port,
            bootstrap_servers=kafka.bootstrap_servers,
            topic=topic,
            replication=kafka.topic_replication,
            properties=kafka.properties,
            advertised_url=advertised_url,
            read_only=read_only,
            accounts=_text(accounts),
            tls_certificate=_text(tls_certificate),
            tls_key=_text(tls_key),
            tls_clients=_text(tls_clients),
            tls_authorities=_text(tls_authorities),
        )
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
