"""`ottla registry`: runs the schema registry."""

from __future__ import annotations

from typing import Annotated

import typer

from ottla.cli.connection import Bootstrap, settings_for

app = typer.Typer(add_completion=False)


@app.command()
def registry(
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0 picks a free one.")] = 8081,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    topic: Annotated[str, typer.Option(help="The topic that keeps the schemas.")] = "_schemas",
    bootstrap: Bootstrap = None,
) -> None:
    """Run the schema registry: Confluent's REST API, its schemas kept in a topic of the cluster.

    Prints "registry ready on http://HOST:PORT" once it serves. SIGTERM or Ctrl-C stops it cleanly.
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
        )
    )
