"""`ottla topic consume`: prints the records of a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ottla.cli.connection import AsJson, Bootstrap, RegistryUrl, admin_for, complete_topic, require_topic, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ottla.kafka.admin import PartitionInfo
    from ottla.kafka.reader import TopicReader
    from ottla.kafka.record import Record
    from ottla.settings import Settings

FOLLOW_SLICE_S = 0.2


def consume(
    topic: Annotated[str, typer.Argument(help="The topic.", autocompletion=complete_topic)],
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start with the oldest record.")] = False,
    max_messages: Annotated[
        int | None, typer.Option("--max-messages", "-n", min=1, help="Stop after so many records.")
    ] = None,
    partition: Annotated[int | None, typer.Option("--partition", "-p", min=0, help="Only this partition.")] = None,
    offset: Annotated[
        int | None,
        typer.Option("--offset", "-o", help="Start at this offset of --partition; -5: five before each end."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--exit-at-end", help="Wait for new records, or stop at the present end.")
    ] = True,
    headers: Annotated[bool, typer.Option("--headers", help="Print headers too (JSON always has them).")] = False,
    bootstrap: Bootstrap = None,
    registry_url: RegistryUrl = None,
    as_json: AsJson = False,
) -> None:
    """Print a topic's records: new ones as they come, unless told where to start.

    A line is PARTITION:OFFSET, time, key, form, value. Avro is decoded with the schema registry; what cannot be
    decoded is printed as text, or in base64 if it is no text: the form says which. With --exit-at-end and no start,
    it starts at the beginning.

    JSON, one line per record: {"topic", "partition", "offset", "timestamp", "key", "key_format", "value", "format",
    "schema_id", "headers"}.
    """
    from ottla.cli.output import print_json_line
    from ottla.cli.presentation import Presenter
    from ottla.kafka.reader import TopicReader

    settings = settings_for(bootstrap, registry_url)
    from_beginning = from_beginning or (not follow and offset is None)
    start = _start(settings, topic, partition, offset, from_beginning)
    presenter = Presenter(avro_decoder(settings))
    with TopicReader(settings.kafka, topic, start=start) as reader:
        for count, record in enumerate(_records(reader, follow), 1):
            if as_json:
                print_json_line(presenter.document(record))
            else:
                print(presenter.line(record, headers=headers), flush=True)
            if count == max_messages:
                break


def _records(reader: TopicReader, follow: bool) -> Iterator[Record]:
    if not follow:
        yield from reader.until_end()
        return
    while True:
        # In slices, so that Ctrl-C is heard: the client library waits without looking at signals.
        yield from reader.follow(FOLLOW_SLICE_S)


def _start(
    settings: Settings, topic: str, partition: int | None, offset: int | None, from_beginning: bool
) -> dict[int, int]:
    """Where to start, per partition."""
    from ottla.errors import ConfigurationError

    if from_beginning and offset is not None:
        raise ConfigurationError("--from-beginning and --offset contradict each other: give one of them")
    if offset is not None and offset >= 0 and partition is None:
        raise ConfigurationError(
            f"--offset {offset} needs --partition: an offset means something in one partition only"
        )
    admin = admin_for(settings)
    require_topic(admin, topic, settings)
    partitions = {info.partition: info for info in admin.describe_topic(topic).partitions}
    if partition is not None:
        if partition not in partitions:
            raise ConfigurationError(
                f"topic {topic} has no partition {partition}: they are numbered 0 to {len(partitions) - 1}"
            )
        partitions = {partition: partitions[partition]}
    return {number: _first(info, offset, from_beginning) for number, info in partitions.items()}


def _first(info: PartitionInfo, offset: int | None, from_beginning: bool) -> int:
    if from_beginning:
        return info.earliest
    if offset is None:
        return info.latest
    wanted = info.latest + offset if offset < 0 else offset
    return min(max(wanted, info.earliest), info.latest)


def avro_decoder(settings: Settings) -> Callable[[bytes], tuple[int, Any]]:
    from ottla.registry.client import client_for
    from ottla.serde import Deserializer, wire

    deserializer = Deserializer(client_for(settings.registry))
    return lambda value: (wire.schema_id(value), deserializer.decode_to_dict(value))
