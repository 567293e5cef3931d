"""`ottla broker`: runs the embedded broker."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


class LogLevel(StrEnum):
    """The least level of the log lines on stderr."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class LogFormat(StrEnum):
    """What the log lines look like."""

    text = "text"
    json = "json"


class Flush(StrEnum):
    """What an acknowledgement promises; see ottla.broker.BrokerConfig."""

    ack = "ack"
    interval = "interval"
    none = "none"


@app.command()
def broker(
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where everything is kept.", show_default="a folder removed at exit"),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", "-p", min=0, max=65535, help="0 picks a free one.", show_default="9092")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Settings under Kafka's names (server.properties). Options count before it.",
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on and to tell clients.", show_default="127.0.0.1")
    ] = None,
    allow_insecure: Annotated[
        bool | None,
        typer.Option(
            "--allow-insecure",
            help="Let other machines reach a listener without TLS, or without saying who they are.",
            show_default=False,
        ),
    ] = None,
    flush: Annotated[
        Flush | None,
        typer.Option(
            help="When records reach the disk: before they are acknowledged; every second; when the system likes.",
            show_default="ack",
        ),
    ] = None,
    partitions: Annotated[
        int | None, typer.Option(min=1, help="Of a topic created without saying how many.", show_default="1")
    ] = None,
    auto_create_topics: Annotated[
        bool | None,
        typer.Option(
            "--auto-create-topics/--no-auto-create-topics",
            help="Create a topic when it is first used.",
            show_default="create",
        ),
    ] = None,
    any_replication_factor: Annotated[
        bool | None,
        typer.Option(
            "--any-replication-factor/--no-any-replication-factor",
            help="Make topics that ask for more replicas than one, with one.",
            show_default="make",
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Serve /health/live, /health/ready and /metrics here, on loopback; 0: a free one.",
        ),
    ] = None,
    log_level: Annotated[
        LogLevel, typer.Option(help="What is logged on stderr; debug shows every request.")
    ] = LogLevel.warning,
    log_format: Annotated[LogFormat, typer.Option(help="A line of text, or a JSON object a line.")] = LogFormat.text,
) -> None:
    """Run the embedded broker: Kafka's protocol for one machine, durable, without a JVM.

    Prints "broker ready on HOST:PORT" once it listens. SIGTERM or Ctrl-C stops it cleanly. TLS,
    SASL and ACLs are set up in the file for --config (docs/security.md); without them it stays on loopback.
    """
    from ottla.broker import serve
    from ottla.broker.kafka_settings import load_config
    from ottla.broker.log_lines import configure_logging

    configure_logging(log_level.value.upper(), log_format.value)

    serve(
        load_config(
            config,
            data_dir=data,
            host=host,
            port=port,
            allow_insecure=allow_insecure,
            flush=flush and flush.value,
            auto_create_topics=auto_create_topics,
            any_replication_factor=any_replication_factor,
            partitions=partitions,
            metrics_port=metrics_port,
        )
    )
