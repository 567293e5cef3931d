"""How a record's bytes are shown: Avro through the registry, else text, else base64; always saying which."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.kafka.record import Record

Form = Literal["avro", "text", "base64", "null"]

MAGIC = b"\x00"

NUMBERS = {"kafka_dlt-original-partition": 4, "kafka_dlt-original-offset": 8, "kafka_dlt-original-timestamp": 8}
"""Headers of dead letters that are big-endian numbers, and of how many bytes: for people they are worth reading."""


class Shown(msgspec.Struct, frozen=True):
    """Bytes made presentable: in which form, and the schema's id if that is Avro."""

    form: Form
    value: Any
    schema_id: int | None = None


def show_text(data: bytes | None) -> Shown:
    """Bytes as text where they are printable UTF-8, in base64 otherwise."""
    if data is None:
        return Shown("null", None)
    try:
        text = data.decode()
        if all(character.isprintable() or character in "\t\r\n" for character in text):
            return Shown("text", text)
    except UnicodeDecodeError:
        pass
    return Shown("base64", base64.b64encode(data).decode())


class Presenter:
    """Shows records. If the registry does not answer, it says so once on stderr and shows bytes from then on.

    Args:
        decode: Gives (schema id, plain data) for a value in Confluent's wire form; raises SerdeError or RegistryError.
    """

    def __init__(self, decode: Callable[[bytes], tuple[int, Any]]) -> None:
        self._decode = decode
        self._registry_answers = True
        self._undecodable: set[str] = set()

    def value(self, record: Record) -> Shown:
        """The record's value in the best form there is."""
        return self._best(record.value, record)

    def key(self, record: Record) -> Shown:
        """The record's key in the best form there is."""
        return self._best(record.key, record)

    def _best(self, data: bytes | None, record: Record) -> Shown:
        if data is not None and data[:1] == MAGIC and len(data) >= 5 and self._registry_answers:
            from ottla.errors import RegistryError, RegistryUnavailable, SerdeError

            try:
                schema_id, value = self._decode(data)
                return Shown("avro", value, schema_id)
            except RegistryUnavailable as error:
                self._registry_answers = False
                self._say(f"values are not decoded: {error}")
            except (SerdeError, RegistryError) as error:
                reason = f"{record.topic}[{record.partition}]@{record.offset} is not decoded: {error}"
                if type(error).__name__ not in self._undecodable:
                    self._undecodable.add(type(error).__name__)
                    self._say(f"{reason} (further ones like it are not reported)")
        return show_text(data)

    def document(self, record: Record) -> dict[str, Any]:
        """The record for `--json`. Headers map a name to its value, or to a list of values where it stands repeated."""
        value, key = self.value(record), self.key(record)
        return {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.time,
            "key": key.value,
            "key_format": key.form,
            "value": value.value,
            "format": value.form,
            "schema_id": value.schema_id,
            "headers": headers_document(record.headers),
        }

    def line(self, record: Record, *, headers: bool) -> str:
        """The record for people: `partition:offset  time  key  form  value`, headers indented below."""
        value, key = self.value(record), self.key(record)
        form = value.form if value.schema_id is None else f"{value.form}#{value.schema_id}"
        time = record.time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if record.time else "-"
        shown_key = f"base64:{key.value}" if key.form == "base64" else "-" if key.value is None else _one_line(key)
        lines = [f"{record.partition}:{record.offset}\t{time}\t{shown_key}\t{form}\t{_one_line(value)}"]
        if headers:
            lines += [
                "\t" + f"{name}: {_header(name, data)}".rstrip().replace("\n", "\n\t\t")
                for name, data in record.headers
            ]
        return "\n".join(lines)

    def _say(self, message: str) -> None:
        print(f"note: {message}", file=sys.stderr)


def headers_document(headers: list[tuple[str, bytes | None]]) -> dict[str, Any]:
    """Header name to value; to a list of values where a name stands more than once."""
    grouped: dict[str, list[str | None]] = {}
    for name, data in headers:
        grouped.setdefault(name, []).append(_header(name, data))
    return {name: values[0] if len(values) == 1 else values for name, values in grouped.items()}


def _header(name: str, data: bytes | None) -> str | None:
    if data is not None and NUMBERS.get(name) == len(data):
        return str(int.from_bytes(data, "big", signed=True))
    shown = show_text(data)
    return f"base64:{shown.value}" if shown.form == "base64" else shown.value


def _one_line(shown: Shown) -> str:
    if shown.form == "avro":
        return msgspec.json.encode(shown.value, enc_hook=str).decode()
    return "" if shown.value is None else shown.value.replace("\r", "\\r").replace("\n", "\\n")
