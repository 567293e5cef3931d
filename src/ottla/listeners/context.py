"""What a handler may know about the record in hand, besides the event."""

from __future__ import annotations

from datetime import UTC, datetime

from ottla.events import Envelope, read_envelope
from ottla.events.ids import derived_event_id
from ottla.kafka.record import Headers, Message

TIMESTAMP_MS_MAX = 253_402_300_799_000
"""The last second of the year 9999. Producers that write microseconds by mistake are far beyond it."""


class Context:
    """One record on its way through a handler.

    Everything but `attempt` and `service` is read from the record when it is asked for, so that a handler that
    never looks at headers never pays for them.

    Attributes:
        service: The name of the app.
        attempt: 1 on the first call, 2 on the first retry, ...
    """

    __slots__ = ("_envelope", "_message", "attempt", "service")

    def __init__(self, message: Message, service: str) -> None:
        self._message = message
        self._envelope: Envelope | None = None
        self.service = service
        self.attempt = 1

    @property
    def topic(self) -> str:
        return self._message.topic()

    @property
    def partition(self) -> int:
        return self._message.partition()

    @property
    def offset(self) -> int:
        return self._message.offset()

    @property
    def key(self) -> bytes | None:
        return self._message.key()

    @property
    def headers(self) -> Headers:
        return self._message.headers() or []

    @property
    def timestamp(self) -> datetime:
        """When the record was made (or appended, by the topic's `message.timestamp.type`), in UTC; within the years a
        datetime can hold, whatever the producer wrote."""
        return datetime.fromtimestamp(min(max(0, self._message.timestamp()[1]), TIMESTAMP_MS_MAX) / 1000, UTC)

    @property
    def envelope(self) -> Envelope:
        """The CloudEvents attributes. A record that carries none (another framework wrote it) is given an id made
        of its place in the log, which is the same at every delivery."""
        if self._envelope is None:
            self._envelope = read_envelope(self.headers) or self._made_up()
        return self._envelope

    @property
    def event_id(self) -> str:
        """The event's id: the same at every delivery, so it is what idempotence is built on."""
        return self.envelope.id

    @property
    def correlation_id(self) -> str:
        """Shared by every event that one first event led to."""
        return self.envelope.correlation_id

    @property
    def causation_id(self) -> str | None:
        """The id of the event that led to this one; None for a first event."""
        return self.envelope.causation_id

    def _made_up(self) -> Envelope:
        identity = derived_event_id("record", self.topic, str(self.partition), str(self.offset))
        return Envelope(
            id=identity,
            type="",
            source=f"/topics/{self.topic}",
            time=self.timestamp,
            correlation_id=identity,
            causation_id=None,
        )
