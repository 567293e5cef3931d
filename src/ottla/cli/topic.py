"""`ottla topic ...`: topics and their records. Reading and writing records are in `consume.py` and `produce.py`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ottla.cli.connection import AsJson, Bootstrap, admin_for, complete_topic, require_topic, settings_for
from ottla.cli.consume import consume
from ottla.cli.produce import produce

if TYPE_CHECKING:
    from ottla.kafka.admin import TopicInfo

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List, describe, create and delete topics; read and write their records.",
)

Topic = Annotated[str, typer.Argument(help="The topic.", autocompletion=complete_topic)]


@app.command("list")
def list_topics(
    internal: Annotated[bool, typer.Option("--internal", help="Also topics whose names begin with __.")] = False,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """List all topics and their partition counts.

    JSON: {"topics": [{"name", "partitions"}]}.
    """
    from ottla.cli.output import print_json, print_table

    topics = admin_for(settings_for(bootstrap)).topics(internal=internal)
    if as_json:
        print_json({"topics": [{"name": name, "partitions": count} for name, count in topics.items()]})
    else:
        print_table(["TOPIC", "PARTITIONS"], list(topics.items()), empty="there are no topics")


@app.command()
def describe(
    topic: Topic,
    config: Annotated[bool, typer.Option("--config", help="Also the topic's configuration.")] = False,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Show a topic's partitions: leader, replicas, first offset, end offset.

    JSON: {"name", "partitions": [{"partition", "leader", "replicas", "in_sync_replicas", "earliest", "latest"}],
    "config"}.
    """
    from ottla.cli.output import print_json

    settings = settings_for(bootstrap)
    admin = admin_for(settings)
    require_topic(admin, topic, settings)
    info = admin.describe_topic(topic)
    if as_json:
        print_json(info)
    else:
        _print_tables(info, config)


@app.command()
def create(
    topic: Annotated[str, typer.Argument(help="The new topic's name.")],
    partitions: Annotated[
        int | None,
        typer.Option("--partitions", "-p", min=1, help="Its partitions.", show_default="kafka.topic_partitions"),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option("--config", metavar="NAME=VALUE", help="A topic setting (retention.ms=60000); repeatable."),
    ] = None,
    if_not_exists: Annotated[bool, typer.Option("--if-not-exists", help="An existing topic is no error.")] = False,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Create a topic.

    JSON: {"name", "partitions", "created"}.
    """
    from ottla.cli.output import print_json
    from ottla.errors import KafkaError

    settings = settings_for(bootstrap)
    admin = admin_for(settings)
    pairs = dict(_pair(text) for text in config or [])
    count = partitions or settings.kafka.topic_partitions
    existing = admin.topics(internal=True)
    created = topic not in existing
    if created:
        admin.create_topic(topic, count, config=pairs)
    elif if_not_exists:
        count = existing[topic]
    else:
        raise KafkaError(
            f"topic {topic!r} exists already at {settings.kafka.bootstrap_servers}; --if-not-exists accepts that"
        )
    if as_json:
        print_json({"name": topic, "partitions": count, "created": created})
    else:
        print(f"{topic}: {'created' if created else 'exists already'}, {count} partition{'' if count == 1 else 's'}")


@app.command()
def delete(
    topics: Annotated[list[str], typer.Argument(metavar="TOPIC...", help="The topics.", autocompletion=complete_topic)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Delete topics with all their records. Asks first, unless --yes.

    JSON: {"deleted": [names]}.
    """
    from ottla.cli.output import print_json
    from ottla.errors import ConfigurationError

    settings = settings_for(bootstrap)
    admin = admin_for(settings)
    for topic in topics:
        require_topic(admin, topic, settings)
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigurationError(
                "deleting topics cannot be undone and nobody can be asked here: confirm with --yes"
            )
        typer.confirm(f"Delete {', '.join(topics)} with all records?", abort=True)
    admin.delete_topics(topics)
    if as_json:
        print_json({"deleted": topics})
    else:
        for topic in topics:
            print(f"{topic}: deleted")


app.command()(consume)
app.command()(produce)


def _pair(text: str) -> tuple[str, str]:
    from ottla.errors import ConfigurationError

    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigurationError(f"--config {text!r}: expected NAME=VALUE, such as retention.ms=60000")
    return name, value


def _print_tables(info: TopicInfo, with_config: bool) -> None:
    from ottla.cli.output import print_table

    rows = [
        (
            part.partition,
            part.leader,
            ",".join(map(str, part.replicas)),
            ",".join(map(str, part.in_sync_replicas)),
            part.earliest,
            part.latest,
            part.latest - part.earliest,
        )
        for part in info.partitions
    ]
    print_table(
        ["PARTITION", "LEADER", "REPLICAS", "IN SYNC", "EARLIEST", "END", "OFFSETS"],
        rows,
        title=f"{info.name}: {len(rows)} partition{'' if len(rows) == 1 else 's'}, "
        f"{sum(part.latest - part.earliest for part in info.partitions)} offsets in use",
    )
    if with_config:
        print()
        print_table(["SETTING", "VALUE"], list(info.config.items()), empty="the broker shows no configuration")
