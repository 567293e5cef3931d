"""What was said: every event in the shop's topics, and every dead letter, read from the first record to the last.

Events are told apart by their id: an event that lies in its topic twice (published again after a crash) is one event.
"""

from __future__ import annotations

import struct
import threading
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from ottla import Admin, KafkaSettings, Record, derived_event_id, event_type, read_envelope, read_topic
from ottla.errors import DecodeError
from shop import events
from shop.events import ShopEvent

CLASSES: dict[str, type[ShopEvent]] = {event_type(cls).name: cls for cls in events.ALL}
TOPICS: tuple[str, ...] = tuple(dict.fromkeys(event_type(cls).topic for cls in events.ALL))

# What the books need to know of an event beyond its ids. Of the rest only the ids are kept: the files may be long.
KEPT: tuple[type[ShopEvent], ...] = (
    events.OrderCancelled,
    events.InventoryReserved,
    events.InventoryReleased,
)

_DEAD = "-dlq"
_CHUNK = 1000

Place = tuple[str, int, int]


class Decoder(Protocol):
    """What is needed of `ottla.serde.Deserializer`. Both raise DecodeError for what is no event."""

    def record_name(self, value: bytes) -> str: ...

    def decode(self, value: bytes, cls: type[ShopEvent]) -> ShopEvent: ...


@dataclass(frozen=True)
class Told:
    """One event: its id, the order it is about, the event it followed from, and (for some types) its content."""

    event_id: str
    order_id: str
    causation_id: str | None
    event: ShopEvent | None = None


@dataclass(frozen=True)
class DeadLetter:
    """A record that a service gave up on: where it lies, what it is about, and why."""

    place: Place
    order_id: str
    event_id: str | None
    reason: str


@dataclass
class Said:
    """Everything that was said in the shop.

    Attributes:
        events: By type name and event id.
        copies: How many records repeat an event that was there before.
        strangers: Where records lie that are no event of the shop; with the type that they claim to be, if they do.
        dead: Dead letters by service and the place of their record.
    """

    events: dict[str, dict[str, Told]] = field(default_factory=lambda: {name: {} for name in CLASSES})
    copies: int = 0
    strangers: dict[Place, str | None] = field(default_factory=dict)
    dead: dict[str, dict[Place, DeadLetter]] = field(default_factory=lambda: defaultdict(dict))

    def of(self, cls: type[ShopEvent]) -> dict[str, Told]:
        """The events of one type, by id."""
        return self.events[event_type(cls).name]

    def add(self, record: Record, decoder: Decoder) -> None:
        """Takes in one record of one of the shop's topics. A tombstone says nothing."""
        if record.value is None:
            return
        place = (record.topic, record.partition, record.offset)
        name = None
        try:
            name = decoder.record_name(record.value)
            cls = CLASSES.get(name)
            if cls is None or event_type(cls).topic != record.topic:
                self.strangers[place] = None
                return
            event = decoder.decode(record.value, cls)
        except DecodeError:
            self.strangers[place] = name if name in CLASSES else None
            return
        envelope = read_envelope(record.headers)
        # A record without an envelope is known by its place, as it is to the services (`Context.event_id`).
        event_id = envelope.id if envelope else derived_event_id("record", *map(str, place))
        if event_id in self.events[name]:
            self.copies += 1
            return
        causation_id = envelope.causation_id if envelope else None
        self.events[name][event_id] = Told(event_id, event.order_id, causation_id, event if cls in KEPT else None)

    def add_dead(self, record: Record) -> None:
        """Takes in one record of a dead-letter topic."""
        headers = dict(record.headers)
        place = (
            _text(headers.get("kafka_dlt-original-topic")),
            _number(">i", headers.get("kafka_dlt-original-partition")),
            _number(">q", headers.get("kafka_dlt-original-offset")),
        )
        self.dead[_text(headers.get("ottla-service"))][place] = DeadLetter(
            place,
            _text(record.key),
            _text(headers.get("ottla-event-id")) or None,
            _text(headers.get("kafka_dlt-exception-message")),
        )


def read_said(kafka: KafkaSettings, decoder: Decoder, topics: Iterable[str] = TOPICS) -> Said:
    """Reads all topics and their dead-letter topics to their present ends. A topic that does not exist holds nothing.

    Topics are read side by side: for a small one, finding its leader and its end takes longer than its records.

    Raises:
        BrokerUnavailable: No broker answers.
    """
    said = Said()
    taking_in = threading.Lock()
    existing = Admin(kafka).topics()

    def read(topic: str) -> None:
        records = read_topic(kafka, topic)
        while chunk := list(islice(records, _CHUNK)):
            with taking_in:
                for record in chunk:
                    if topic.endswith(_DEAD):
                        said.add_dead(record)
                    else:
                        said.add(record, decoder)

    names = [name for topic in topics for name in (topic, f"{topic}{_DEAD}") if name in existing]
    with ThreadPoolExecutor(max(1, len(names)), thread_name_prefix="read") as pool:
        for done in [pool.submit(read, name) for name in names]:
            done.result()
    return said


def _text(value: bytes | None) -> str:
    return value.decode("utf-8", "replace") if value else ""


def _number(form: str, value: bytes | None) -> int:
    return int(struct.unpack(form, value)[0]) if value and len(value) == struct.calcsize(form) else -1
