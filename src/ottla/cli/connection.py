"""Options that every command which talks to a cluster shares, and what they lead to."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ottla.kafka.admin import Admin
    from ottla.settings import Settings

# Long enough for a cluster on the other side of the world, short enough for a person who mistyped the address.
ANSWER_TIMEOUT_S = 5.0
COMPLETION_TIMEOUT_S = 1.0

Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-server",
        "--bootstrap-servers",
        "-b",
        metavar="HOST:PORT",
        help="The Kafka cluster.",
        show_default="kafka.bootstrap_servers, or 127.0.0.1:9092",
    ),
]
RegistryUrl = Annotated[
    str | None,
    typer.Option(
        "--registry-url",
        metavar="URL",
        help="The schema registry.",
        show_default="registry.url, or http://127.0.0.1:8081",
    ),
]
AppDir = Annotated[Path, typer.Option(metavar="DIR", help="Where to look for MODULE, before the installed packages.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table for people.")]


def settings_for(bootstrap: str | None, registry_url: str | None = None) -> Settings:
    """The settings of this folder and environment, with what the command line says on top."""
    from ottla.settings import load_settings

    overrides: dict[str, Any] = {}
    if bootstrap is not None:
        overrides["kafka"] = {"bootstrap_servers": bootstrap}
    if registry_url is not None:
        overrides["registry"] = {"url": registry_url}
    return load_settings(overrides)


def admin_for(settings: Settings, *, timeout_s: float | None = None) -> Admin:
    """A client that gives up after `timeout_s` seconds (ANSWER_TIMEOUT_S if None)."""
    import logging

    from ottla.kafka.admin import Admin

    # The client library's own remarks (it is retrying, a connection was refused) would stand between lines of output;
    # what matters of them becomes the command's error.
    logging.getLogger("ottla.kafka.client").setLevel(logging.CRITICAL)
    return Admin(settings.kafka, timeout_s=ANSWER_TIMEOUT_S if timeout_s is None else timeout_s)


def require_topic(admin: Admin, name: str, settings: Settings) -> int:
    """The partition count of a topic that must exist.

    Asks for the list of all topics: asking for the one would make some brokers create it.
    """
    from ottla.errors import KafkaError

    topics = admin.topics(internal=True)
    if name not in topics:
        raise KafkaError(
            f"there is no topic {name!r} at {settings.kafka.bootstrap_servers}{meant(name, topics)}; "
            f"`ottla topic list` shows them all, `ottla topic create {name}` creates it"
        )
    return topics[name]


def meant(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'orders'?`, or nothing if no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def complete_topic(ctx: typer.Context, incomplete: str) -> list[str]:
    """Topic names for the shell; none if the cluster does not answer at once."""
    return _complete(ctx, incomplete, "topics")


def complete_group(ctx: typer.Context, incomplete: str) -> list[str]:
    """Consumer groups for the shell; none if the cluster does not answer at once."""
    return _complete(ctx, incomplete, "groups")


def _complete(ctx: typer.Context, incomplete: str, what: str) -> list[str]:
    from ottla.errors import OttlaError

    try:
        admin = admin_for(settings_for(ctx.params.get("bootstrap")), timeout_s=COMPLETION_TIMEOUT_S)
        names: Iterable[str] = admin.topics() if what == "topics" else admin.groups()
    except OttlaError:
        # The shell is waiting for names; there is nowhere to put an error.
        return []
    return [name for name in names if name.startswith(incomplete)]
