"""`ottla topic produce`: writes records to a topic."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ottla.cli.connection import AsJson, Bootstrap, RegistryUrl, admin_for, complete_topic, require_topic, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ottla.settings import Settings


# After Ctrl-C or a bad line: how long what was sent before may still take to be acknowledged.
STOPPED_EARLY_FLUSH_S = 2.0


def produce(
    topic: Annotated[str, typer.Argument(help="The topic.", autocompletion=complete_topic)],
    value: Annotated[
        str | None, typer.Option("--value", "-v", help="The value.", show_default="each line of standard input is one")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", "-k", help="The key of every record.")] = None,
    key_separator: Annotated[
        str | None,
        typer.Option("--key-separator", metavar="TEXT", help="Lines are KEY TEXT VALUE, with this text between them."),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME=VALUE", help="A header; repeatable.")
    ] = None,
    schema_of: Annotated[
        str | None,
        typer.Option(
            "--schema-of", metavar="SUBJECT", help="Values are JSON: write them as Avro, by its newest schema."
        ),
    ] = None,
    partition: Annotated[int | None, typer.Option("--partition", "-p", min=0, help="To this partition.")] = None,
    bootstrap: Bootstrap = None,
    registry_url: RegistryUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write records to a topic: --value, or each line of standard input. Ends when all are acknowledged.

    JSON, one line per record: {"topic", "partition", "offset", "timestamp_ms"}.
    """
    from ottla.cli.output import print_json_line
    from ottla.errors import ConfigurationError

    settings = settings_for(bootstrap, registry_url)
    if value is not None and key_separator is not None:
        raise ConfigurationError("--key-separator splits lines of standard input; with --value, give --key")
    headers = [_header(text) for text in header or []]
    count = require_topic(admin_for(settings), topic, settings)
    if partition is not None and partition >= count:
        raise ConfigurationError(f"topic {topic} has no partition {partition}: they are numbered 0 to {count - 1}")
    encode = str.encode if schema_of is None else _avro_encoder(settings, schema_of)
    pairs = [(key, value)] if value is not None else _lines(key, key_separator)
    records = ((k.encode() if k is not None else None, encode(v)) for k, v in pairs)
    for metadata in _send(settings, topic, records, headers, -1 if partition is None else partition):
        if as_json:
            print_json_line(metadata)
        else:
            print(f"{metadata.topic}[{metadata.partition}]@{metadata.offset}", flush=True)


def _send(
    settings: Settings,
    topic: str,
    records: Iterable[tuple[bytes | None, bytes]],
    headers: list[tuple[str, bytes | None]],
    partition: int,
) -> Iterator[Any]:
    """Sends everything and yields where each record lies, as the acknowledgements come."""
    from collections import deque

    from ottla.errors import PublishError
    from ottla.kafka.producer import Producer
    from ottla.kafka.record import RecordMetadata

    settled: deque[Any] = deque()

    def delivered(error: Any, message: Any) -> None:
        if error is not None:
            settled.append(PublishError(f"topic {topic}: a record was refused: {error}"))
        else:
            where = message.topic(), message.partition(), message.offset(), message.timestamp()[1]
            settled.append(RecordMetadata(*where))

    def results() -> Iterator[Any]:
        while settled:
            outcome = settled.popleft()
            if isinstance(outcome, PublishError):
                raise outcome
            yield outcome

    producer = Producer(settings.kafka)
    try:
        for key, value in records:
            producer.send(topic, value, key=key, headers=headers, partition=partition, on_delivery=delivered)
            if sys.stdin.isatty():
                # Someone types the values: show what became of each before the next.
                producer.flush(settings.kafka.publish_timeout_s)
            yield from results()
    except BaseException:
        producer.close(STOPPED_EARLY_FLUSH_S)
        raise
    left = producer.close(settings.kafka.publish_timeout_s)
    yield from results()
    if left:
        raise PublishError(
            f"topic {topic}: {left} records were not acknowledged within {settings.kafka.publish_timeout_s:g} s "
            "(kafka.publish_timeout_s); they may or may not have arrived"
        )


def _lines(key: str | None, separator: str | None) -> Iterator[tuple[str | None, str]]:
    from ottla.errors import ConfigurationError

    for number, line in enumerate(sys.stdin, 1):
        text = line.removesuffix("\n")
        if separator is None:
            yield key, text
            continue
        line_key, found, text = text.partition(separator)
        if not found:
            raise ConfigurationError(f"line {number} of standard input has no {separator!r} (--key-separator)")
        yield line_key, text


def _header(text: str) -> tuple[str, bytes | None]:
    from ottla.errors import ConfigurationError

    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigurationError(f"--header {text!r}: expected NAME=VALUE")
    return name, value.encode()


def _avro_encoder(settings: Settings, subject: str) -> Callable[[str], bytes]:
    """Turns JSON text into Avro in Confluent's wire form, by the newest schema of `subject`."""
    from ottla.cli.avro_json import encode_json
    from ottla.errors import EncodeError
    from ottla.registry.client import client_for
    from ottla.serde import wire

    _version, schema_id, text = client_for(settings.registry).latest(subject)
    schema = json.loads(text)

    def encode(value: str) -> bytes:
        try:
            data = json.loads(value)
        except ValueError as error:
            raise EncodeError(f"with --schema-of a value is JSON; {value[:80]!r} is not: {error}") from None
        return wire.frame(schema_id, encode_json(data, schema))

    return encode
