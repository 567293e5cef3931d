"""From the bytes of a record's value to events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ottla.errors import DecodeError, RegistryRejected
from ottla.serde import wire
from ottla.serde.avro import ColumnReader, decode_leading, decode_many, record_batch
from ottla.serde.formats import Decoder, format_of_kind
from ottla.serde.registry import Registered, SchemaRegistry

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

T = TypeVar("T")

# What a registry answers for an id it does not have: plain HTTP 404, and Confluent's "schema not found".
_UNKNOWN_SCHEMA = (404, 40403)


class Deserializer:
    """Reads events in Confluent's wire form with the schema they were written with.

    What a schema id means is asked of the registry once and kept for ever. Safe to use from several threads.

    Two kinds of failure, which callers must tell apart:

    - `DecodeError`: the record is bad and always will be: a dead letter. Topic, partition and offset are for the caller
      to fill in (`error.at(...)`).
    - `RegistryUnavailable`, `RegistryRejected`: nothing is known about the record yet: wait and try again.
    """

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._names: dict[bytes, str] = {}
        self._decoders: dict[type, dict[bytes, Decoder]] = {}
        self._generic: dict[bytes, Decoder] = {}
        self._ids: dict[bytes, int] = {}
        self._readers: dict[tuple[bytes, tuple[str, ...]], ColumnReader] = {}

    def record_name(self, value: bytes) -> str:
        """The full name of the record type a value was written as (`"shop.OrderCreated"`).

        A lookup by the value's first five bytes, once the schema is known (for Protobuf, whose files have several
        messages, also a look at which message it is).

        Raises:
            DecodeError: The value is None or not in wire form, or the registry knows no such schema.
            RegistryUnavailable, RegistryRejected: The schema could not be asked for.
        """
        try:
            return self._names[value[:5]]
        except (KeyError, TypeError):
            schema_id = wire.schema_id(value)
            try:
                written = self._schema(schema_id)
                chosen = format_of_kind(written.kind)
                name = chosen.record_name(written, value)
            except DecodeError as error:
                _raise(error, schema_id)
            if chosen.one_type:
                self._names[value[:5]] = name
            return name

    def one_type(self, value: bytes) -> bool:
        """Whether everything written with a value's schema is of the type `record_name` gave for it: not so with
        Protobuf, and not known before `record_name` was asked."""
        return value[:5] in self._names

    def tells_type(self, value: bytes) -> bool:
        """Whether the schema id alone says what type a value is, once `record_name` was asked for one of its schema."""
        return value[:5] in self._names

    def framed(self, value: bytes, headers: Iterable[tuple[str, bytes | None]] | None, *, key: bool = False) -> bytes:
        """A value whose schema is named in a header, in the usual wire form; any other value as it is.

        The header `__value_schema_id` (for keys `__key_schema_id`) holds a one and the schema's 16-byte GUID, or a zero
        and its id; then, for Protobuf, which message it is.

        Raises:
            DecodeError: The header is none of these, or the registry knows no such schema.
            RegistryUnavailable, RegistryRejected: The schema could not be asked for.
        """
        named = next((found for name, found in headers or () if name == wire.header(key=key) and found), None)
        if named is None:
            return value
        reference, rest = wire.split_header(named)
        if isinstance(reference, int):
            return wire.frame(reference, rest + value)
        guid = reference.bytes
        if guid not in self._ids:
            try:
                self._ids[guid] = self._registry.id_of_guid(str(reference))
            except RegistryRejected as error:
                self._unknown(error, f"GUID {reference}")
        return wire.frame(self._ids[guid], rest + value)

    def decode(self, value: bytes, cls: type[T]) -> T:
        """The event in a value, as an instance of a class.

        Raises:
            DecodeError: The value is None, not in wire form, of an unknown schema, of a schema that cannot be read as
                `cls`, or damaged; bytes left over count as damage.
            EventDefinitionError: No schema can be derived from `cls`.
            RegistryUnavailable, RegistryRejected: The schema could not be asked for.
        """
        try:
            decode = self._decoders[cls][value[:5]]
        except (KeyError, TypeError):
            decode = self._decoder(value, cls)
        try:
            return decode(value, 5)  # type: ignore[no-any-return]  # generated code has no types
        except DecodeError as error:
            _raise(error, wire.schema_id(value))

    def decode_many(self, values: Sequence[bytes], cls: type[T]) -> list[T]:
        """The events in many values, in their order, as `decode` gives them: quicker where the values share a schema.

        Raises:
            DecodeError: As `decode`; `index` says which value it is.
            EventDefinitionError, RegistryUnavailable, RegistryRejected: As `decode`.
        """
        found: list[T] = []
        for start, run in schema_runs(values):
            try:
                found += self.decode_run(run, cls)
            except DecodeError as error:
                error.index = start + (error.index or 0)
                raise
        return found

    def decode_run(self, values: Sequence[bytes], cls: type) -> list[Any]:
        """As `decode_many`, for values that are known to share a schema: at least one of them."""
        try:
            decode = self._decoders[cls][values[0][:5]]
        except (KeyError, TypeError):
            decode = self._decoder(values[0], cls)
        try:
            return decode_many(decode, values, 5)
        except DecodeError as error:
            _raise(error, wire.schema_id(values[0]))

    def decode_leading(self, values: list[bytes | None], cls: type) -> list[Any]:
        """As `decode_many`, for those from the first on that share its schema; the first is not None."""
        first: Any = values[0]
        try:
            decode = self._decoders[cls][first[:5]]
        except KeyError:
            decode = self._decoder(first, cls)
        try:
            return decode_leading(decode, values, 5)
        except DecodeError as error:
            _raise(error, wire.schema_id(first))

    def columns(self, values: Sequence[bytes], fields: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        """Some fields of many values as NumPy arrays by their names, as `ottla.serde.avro.ColumnReader` has them: no
        object is made for a record. `schema_runs` cuts values into such that share a schema.

        Args:
            values: Values written with one Avro schema; at least one.
            fields: Names of the writer's fields; a record's field by its path (`"customer.city"`).

        Raises:
            DecodeError: As `decode`, and `index` says which value it is; they do not share a schema; the schema is not
                Avro, or has no such field.
            RegistryUnavailable, RegistryRejected: The schema could not be asked for.
            ImportError: NumPy is not installed.
        """
        try:
            return self._column_reader(values, fields)(values, 5)
        except DecodeError as error:
            _raise(error, wire.schema_id(values[0]))

    def record_batch(self, values: Sequence[bytes], fields: Sequence[str]) -> pa.RecordBatch:
        """The same as `columns`, as a `pyarrow.RecordBatch`: see `ottla.serde.avro.record_batch`.

        Raises: As `columns`.
        """
        try:
            return record_batch(self._column_reader(values, fields), values, 5)
        except DecodeError as error:
            _raise(error, wire.schema_id(values[0]))

    def _column_reader(self, values: Sequence[bytes], fields: Sequence[str]) -> ColumnReader:
        schema_id = wire.schema_id(values[0])
        prefix = values[0][:5]
        if None in values or len({value[:5] for value in values}) > 1:
            index = next(i for i, value in enumerate(values) if value is None or value[:5] != prefix)
            error = DecodeError("it has another schema than the first value, and columns are read of one at a time")
            error.index = index
            raise error
        reader = self._readers.get((prefix, tuple(fields)))
        if reader is None:
            written = self._schema(schema_id)
            if written.kind != "AVRO":
                raise DecodeError(f"the schema is of type {written.kind}, and columns are read from Avro alone")
            reader = self._readers[prefix, tuple(fields)] = ColumnReader(written.text, fields)
        return reader

    def decode_to_dict(self, value: bytes) -> Any:
        """The event in a value without its class: records as dicts, enums as strings, logical types as Python values
        (Decimal, datetime, UUID, ...), everything else as it is. For tools that show records.

        Raises:
            DecodeError: As `decode`.
            RegistryUnavailable, RegistryRejected: The schema could not be asked for.
        """
        try:
            decode = self._generic[value[:5]]
        except (KeyError, TypeError):
            schema_id = wire.schema_id(value)
            try:
                written = self._schema(schema_id)
                decode = format_of_kind(written.kind).generic_decoder(written)
            except DecodeError as error:
                _raise(error, schema_id)
            self._generic[value[:5]] = decode
        try:
            return decode(value, 5)
        except DecodeError as error:
            _raise(error, wire.schema_id(value))

    def _decoder(self, value: bytes, cls: type) -> Decoder:
        schema_id = wire.schema_id(value)
        try:
            written = self._schema(schema_id)
            decode = format_of_kind(written.kind).decoder(written, cls)
        except DecodeError as error:
            _raise(error, schema_id)
        self._decoders.setdefault(cls, {})[value[:5]] = decode
        return decode

    def _schema(self, schema_id: int) -> Registered:
        try:
            return self._registry.registered(schema_id)
        except RegistryRejected as error:
            self._unknown(error, "id")

    def _unknown(self, error: RegistryRejected, named: str) -> NoReturn:
        if error.status == 404 or error.code in _UNKNOWN_SCHEMA:
            raise DecodeError(
                f"the schema registry knows no schema with this {named}, so the value cannot be read. "
                "It was written with another registry, or the schema was deleted"
            ) from error
        raise error


def schema_runs(values: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Values that stand side by side and share a schema, with the index of the first."""
    start = 0
    while start < len(values):
        prefix = values[start] and values[start][:5]
        end = start + 1
        while end < len(values) and values[end] and values[end][:5] == prefix:
            end += 1
        yield start, values[start:end]
        start = end


def _raise(error: DecodeError, schema_id: int) -> NoReturn:
    error.schema_id = schema_id
    raise error
