"""What a handler may know about the record in hand, besides the event."""

from __future__ import annotations

from datetime import UTC, datetime

from ottla.errors import HandlerError
from ottla.events import Envelope, read_envelope
from ottla.events.envelope import read_flow
from ottla.events.ids import derived_event_id
from ottla.kafka.record import Headers, Message, RecordMetadata
from ottla.listeners.acknowledgement import Acknowledgement

TIMESTAMP_MS_MAX = 253_402_300_799_000
"""The last second of the year 9999. Producers that write microseconds by mistake are far beyond it."""


class Context:
    """One record on its way through a handler.

    Everything but `attempt` and `service` is read from the record when it is asked for, so that a handler that
    never looks at headers never pays for them.

    Attributes:
        service: The name of the app.
        attempt: 1 on the first call, 2 on the first retry, ...; it goes on counting through retry topics.
        acknowledgement: Where `ack="manual"`.
    """

    __slots__ = ("_envelope", "_message", "acknowledgement", "attempt", "service")

    def __init__(self, message: Message, service: str) -> None:
        self._message = message
        self._envelope: Envelope | None = None
        self.service = service
        self.attempt = 1
        self.acknowledgement: Acknowledgement | None = None

    def ack(self) -> None:
        """Acknowledges the record, now or later, from any thread: it may be committed then. With `ack="manual"` only.

        Raises:
            HandlerError: The listener acknowledges by itself, or `nack` was called before.
        """
        self._manual("ack").ack()

    def nack(self, delay_s: float = 0.0) -> None:
        """Asks for the record again, in `delay_s` seconds; its partition, or its key, waits. What the handler returns
        is not published. It counts as no failure.

        Raises:
            HandlerError: The listener acknowledges by itself, the handler has returned, or `ack` was called before.
        """
        self._manual("nack").nack(delay_s)

    def _manual(self, name: str) -> Acknowledgement:
        if self.acknowledgement is None:
            raise HandlerError(f"ctx.{name}() is for handlers with listen(..., ack='manual')")
        return self.acknowledgement

    @property
    def metadata(self) -> RecordMetadata:
        """Where the record lies."""
        return RecordMetadata(self.topic, self.partition, self.offset, self._message.timestamp()[1])

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
    def flow(self) -> tuple[str, str]:
        """The event's id and its correlation id."""
        found = read_flow(self.headers) if self._envelope is None else None
        return found or (self.envelope.id, self.envelope.correlation_id)

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
