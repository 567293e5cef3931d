"""OpenTelemetry spans by the messaging conventions (semantic conventions 1.37, messaging and Kafka).

`send <topic>` for each record that is published, `poll <topic>` for records that come, `process <topic>` around all
that is done for a record (its attempts, what it publishes), `commit` for offsets. The W3C trace context travels in the
record's headers: the span that handles a record is a child of the one that sent it; one that handles a batch is linked
to all of them. Without the package, or where no tracer provider is set up, there is no `Tracing`, and nothing is paid.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ottla.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span

Headers = list[tuple[str, bytes | None]]
Delivered = Callable[[Any, Any], None]

LINKS_MAX = 128
"""Links of one span, which is OpenTelemetry's own limit unless it is raised."""


def tracing_for(service: str, settings: Settings) -> Tracing | None:
    """The spans of a service; None where nobody wants or collects them."""
    if not settings.tracing.enabled:
        return None
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None  # Nobody has set one up: its spans would go nowhere.
    return Tracing(service, settings.kafka.named(service))


class Tracing:
    """Implements the core's Companion and the producer's SendTracer. Thread-safe.

    Args:
        service: The client id in the spans.
        group: The consumer group.
    """

    def __init__(self, service: str, group: str) -> None:
        from opentelemetry import context, propagate, trace

        self._context, self._propagate, self._trace = context, propagate, trace
        self._tracer = trace.get_tracer("ottla")
        self._service = service
        self._group = group

    note = None

    # ------------------------------------------------------------------ publishing

    def sending(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None, on_delivery: Delivered | None
    ) -> tuple[Headers, Delivered]:
        headers = headers or []
        made = self._made_by(headers)
        attributes = self._attributes(topic, "send", "send")
        if key is not None and (text := _text(key)) is not None:
            attributes["messaging.kafka.message.key"] = text
        if value is None:
            attributes["messaging.kafka.message.tombstone"] = True
        if (event_id := _header(headers, "ce_id")) is not None:
            attributes["messaging.message.id"] = event_id
        # A record that belongs to a trace already (a dead letter, a replay) keeps its place in it.
        links = [made] if made is not None else []
        kind = self._trace.SpanKind.PRODUCER
        span = self._tracer.start_span(f"send {topic}", kind=kind, attributes=attributes, links=links)
        if made is None:
            carrier: dict[str, str] = {}
            self._propagate.inject(carrier, self._trace.set_span_in_context(span))
            headers = [*headers, *((name, text.encode()) for name, text in carrier.items())]

        def delivered(error: Any, message: Any) -> None:
            if error is None:
                span.set_attribute("messaging.destination.partition.id", str(message.partition()))
                span.set_attribute("messaging.kafka.offset", message.offset())
            else:
                self._mark(span, error.name() if hasattr(error, "name") else type(error).__name__, str(error))
            span.end()
            if on_delivery is not None:
                on_delivery(error, message)

        return headers, delivered

    # ------------------------------------------------------------------ listening

    @contextmanager
    def handling(self, records: Sequence[Any]) -> Iterator[None]:
        first = records[0]
        attributes = self._attributes(first.context.topic, "process", "process")
        attributes["messaging.destination.partition.id"] = str(first.context.partition)
        attributes["ottla.handler"] = first.listener.name
        parent: Context | None = None
        links: list[Link] = []
        if len(records) == 1:
            attributes["messaging.kafka.offset"] = first.context.offset
            attributes["messaging.message.id"] = first.context.event_id
            if first.context.key is not None and (text := _text(first.context.key)) is not None:
                attributes["messaging.kafka.message.key"] = text
            if not self._is_open():  # Within a batch's span it stays there.
                parent = self._propagate.extract(_carrier(first.context.headers))
        else:
            attributes["messaging.batch.message_count"] = len(records)
            links = self._links(one.context.headers for one in records)
        span = self._tracer.start_span(
            f"process {first.context.topic}",
            context=parent,
            kind=self._trace.SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
        )
        before = self._context.get_current()
        self._context.attach(self._trace.set_span_in_context(span))
        try:
            yield
        except Exception as error:
            self._mark(span, type(error).__name__, str(error))
            raise
        finally:
            # Not detach() with a token: a way that is given up may be ended from elsewhere.
            self._context.attach(before)
            span.end()

    def failed(self, error: BaseException) -> None:
        self._trace.get_current_span().record_exception(error)

    def given_up(self, error: BaseException) -> None:
        self._mark(self._trace.get_current_span(), type(error).__name__, str(error))

    def received(self, messages: Sequence[Any]) -> None:
        first = messages[0]
        attributes = self._attributes(first.topic(), "poll", "receive")
        attributes["messaging.destination.partition.id"] = str(first.partition())
        attributes["messaging.batch.message_count"] = len(messages)
        links = self._links(message.headers() or [] for message in messages[:LINKS_MAX])
        kind = self._trace.SpanKind.CLIENT
        self._tracer.start_span(f"poll {first.topic()}", kind=kind, attributes=attributes, links=links).end()

    def committed(self, topics: Sequence[str], seconds: float, error: Any) -> None:
        name = f"commit {topics[0]}" if len(topics) == 1 else "commit"
        attributes = self._attributes(topics[0] if len(topics) == 1 else None, "commit", "settle")
        began = time.time_ns() - int(seconds * 1e9)
        span = self._tracer.start_span(name, kind=self._trace.SpanKind.CLIENT, attributes=attributes, start_time=began)
        if error is not None:
            self._mark(span, error.name() if hasattr(error, "name") else type(error).__name__, str(error))
        span.end()

    # ------------------------------------------------------------------ parts

    def _attributes(self, topic: str | None, name: str, kind: str) -> dict[str, Any]:
        found = {
            "messaging.system": "kafka",
            "messaging.operation.name": name,
            "messaging.operation.type": kind,
            "messaging.client.id": self._service,
        }
        if topic is not None:
            found["messaging.destination.name"] = topic
        if name != "send":
            found["messaging.consumer.group.name"] = self._group
        return found

    def _is_open(self) -> bool:
        return bool(self._trace.get_current_span().get_span_context().is_valid)

    def _made_by(self, headers: Headers) -> Link | None:
        """The span that a record's headers name."""
        carrier = _carrier(headers)
        if not carrier:
            return None
        context = self._propagate.extract(carrier, self._context.Context())
        made = self._trace.get_current_span(context).get_span_context()
        return self._trace.Link(made) if made.is_valid else None

    def _links(self, all_headers: Any) -> list[Link]:
        found = (self._made_by(headers) for headers in all_headers)
        return [link for link in found if link is not None][:LINKS_MAX]

    def _mark(self, span: Span, kind: str, text: str) -> None:
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR, text)


def _carrier(headers: Headers) -> dict[str, str]:
    return {name: value.decode("utf-8", "replace") for name, value in headers if value and name in _FIELDS}


_FIELDS = frozenset({"traceparent", "tracestate", "baggage", "b3"})


def _header(headers: Headers, name: str) -> str | None:
    return next((value.decode("utf-8", "replace") for found, value in headers if found == name and value), None)


def _text(key: bytes) -> str | None:
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None  # It has no form as text: the conventions leave it out then.
