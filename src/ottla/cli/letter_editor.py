"""The new value of a dead letter: from an option, a file, or an editor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.deadletters.letter import DeadLetter
    from ottla.settings import Settings


def edited_value(
    settings: Settings, letter: DeadLetter, *, value: str | None, value_file: Path | None, schema_of: str | None
) -> bytes:
    """The bytes to replay the letter with.

    Raises:
        ConfigurationError: Options that contradict each other, a file that cannot be read, bytes no editor can show.
        EncodeError: The JSON does not fit the schema.
        RegistryUnavailable, RegistryRejected: The schema cannot be had.
    """
    from ottla.errors import ConfigurationError

    if value is not None and value_file is not None:
        raise ConfigurationError("--value and --value-file are two values: give one of them")
    if value_file is not None and schema_of is not None:
        raise ConfigurationError("--value-file gives the bytes as they are: leave --schema-of out, or give --value")
    if value_file is not None:
        try:
            return value_file.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"--value-file {value_file}: {error.strerror}") from None
    data = letter.record.value or b""
    is_avro = len(data) >= 5 and data[0] == 0
    encode = _encoder(settings, data, schema_of) if is_avro or schema_of else str.encode
    if value is None:
        value = _from_editor(_text(settings, data, is_avro), ".json" if is_avro or schema_of else ".txt")
    return encode(value)


def _encoder(settings: Settings, data: bytes, schema_of: str | None) -> Callable[[str], bytes]:
    from ottla.cli.avro_json import encode_json
    from ottla.errors import EncodeError
    from ottla.registry.client import client_for
    from ottla.serde import wire

    registry = client_for(settings.registry)
    if schema_of is not None:
        _version, schema_id, text = registry.latest(schema_of)
    else:
        schema_id = wire.schema_id(data)
        text = registry.schema(schema_id)
    schema = json.loads(text)

    def encode(value: str) -> bytes:
        try:
            content = json.loads(value)
        except ValueError as error:
            raise EncodeError(f"the new value is to be JSON, and is not: {error}") from None
        return wire.frame(schema_id, encode_json(content, schema))

    return encode


def _text(settings: Settings, data: bytes, is_avro: bool) -> str:
    """The present value as text to edit."""
    import msgspec

    from ottla.cli.consume import avro_decoder
    from ottla.cli.presentation import show_text
    from ottla.errors import ConfigurationError, DecodeError

    if is_avro:
        try:
            _schema_id, content = avro_decoder(settings)(data)
            return msgspec.json.format(msgspec.json.encode(content, enc_hook=str), indent=2).decode() + "\n"
        except DecodeError as error:
            raise ConfigurationError(
                f"the value cannot be decoded ({error}), so there is nothing to edit: give the new one with --value "
                f"and --schema-of, or with --value-file"
            ) from None
    shown = show_text(data)
    if shown.form == "base64":
        raise ConfigurationError("the value is no text, so no editor can show it: give the new one with --value-file")
    return str(shown.value or "")


def _from_editor(text: str, extension: str) -> str:
    import click

    from ottla.errors import ConfigurationError

    try:
        edited = click.edit(text, extension=extension)
    except click.ClickException as error:
        raise ConfigurationError(f"{error.format_message()}; set EDITOR, or give --value") from None
    return text if edited is None else edited.rstrip("\n") if not text.endswith("\n") else edited
