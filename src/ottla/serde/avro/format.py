"""Avro as one of the formats."""

from __future__ import annotations

from ottla.events.schema import schema_text
from ottla.serde import avro
from ottla.serde.formats import Decoder, Encoder
from ottla.serde.registry import Registered


class AvroFormat:
    kind = "AVRO"
    content_type = b"application/avro"
    prefix = b""
    one_type = True

    def schema_text(self, cls: type) -> str:
        return schema_text(cls)

    def encoder(self, cls: type) -> Encoder:
        return avro.encoder(cls)

    def record_name(self, written: Registered, value: bytes) -> str:
        return avro.schema_name(written.text)

    def decoder(self, written: Registered, cls: type) -> Decoder:
        return avro.decoder(written.text, cls)

    def generic_decoder(self, written: Registered) -> Decoder:
        return avro.generic_decoder(written.text)


AVRO = AvroFormat()
