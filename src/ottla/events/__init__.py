"""Event declarations, the envelope, and schemas derived from Python types."""

from ottla.events.annotations import Digits, FieldNumber, Fixed, FormerNames, Millis
from ottla.events.declaration import EventType, event, event_type
from ottla.events.envelope import Envelope, envelope_headers, read_envelope
from ottla.events.ids import derived_event_id, new_event_id
from ottla.events.schema import avro_schema, schema_text
from ottla.events.upcasting import upcast

__all__ = [
    "Digits",
    "Envelope",
    "EventType",
    "FieldNumber",
    "Fixed",
    "FormerNames",
    "Millis",
    "avro_schema",
    "derived_event_id",
    "envelope_headers",
    "event",
    "event_type",
    "new_event_id",
    "read_envelope",
    "schema_text",
    "upcast",
]
