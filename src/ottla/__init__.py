"""Event-driven microservices on Apache Kafka.

The public names, grouped. They load when they are first used, so that `import ottla` costs little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ottla import streams as streams
    from ottla.app import App as App
    from ottla.deadletters.letter import DeadLetter as DeadLetter
    from ottla.deadletters.letter import LetterId as LetterId
    from ottla.deadletters.queue import DeadLetterQueue as DeadLetterQueue
    from ottla.deadletters.selection import Selection as Selection
    from ottla.errors import AggregateError as AggregateError
    from ottla.errors import BatchFailed as BatchFailed
    from ottla.errors import BrokerUnavailable as BrokerUnavailable
    from ottla.errors import ConfigurationError as ConfigurationError
    from ottla.errors import DecodeError as DecodeError
    from ottla.errors import EncodeError as EncodeError
    from ottla.errors import EventDefinitionError as EventDefinitionError
    from ottla.errors import HandlerError as HandlerError
    from ottla.errors import HistoryBroken as HistoryBroken
    from ottla.errors import NotNow as NotNow
    from ottla.errors import OttlaError as OttlaError
    from ottla.errors import PublishError as PublishError
    from ottla.errors import Refused as Refused
    from ottla.errors import RegistryRejected as RegistryRejected
    from ottla.errors import RegistryUnavailable as RegistryUnavailable
    from ottla.errors import RequestError as RequestError
    from ottla.errors import RequestFailed as RequestFailed
    from ottla.errors import RequestTimeout as RequestTimeout
    from ottla.errors import StateUnavailable as StateUnavailable
    from ottla.errors import VersionConflict as VersionConflict
    from ottla.events import Envelope as Envelope
    from ottla.events import derived_event_id as derived_event_id
    from ottla.events import event as event
    from ottla.events import event_type as event_type
    from ottla.events import new_event_id as new_event_id
    from ottla.events import read_envelope as read_envelope
    from ottla.eventsourcing.aggregate import Aggregate as Aggregate
    from ottla.eventsourcing.answers import Decided as Decided
    from ottla.eventsourcing.app import AggregateApp as AggregateApp
    from ottla.eventsourcing.app import Current as Current
    from ottla.eventsourcing.history import Happened as Happened
    from ottla.kafka.admin import Admin as Admin
    from ottla.kafka.reader import TopicReader as TopicReader
    from ottla.kafka.reader import read_topic as read_topic
    from ottla.kafka.record import Record as Record
    from ottla.kafka.record import RecordMetadata as RecordMetadata
    from ottla.listeners.context import Context as Context
    from ottla.listeners.injection import Depends as Depends
    from ottla.listeners.injection import Header as Header
    from ottla.listeners.injection import Key as Key
    from ottla.listeners.order import Order as Order
    from ottla.listeners.order import per_key as per_key
    from ottla.listeners.order import per_partition as per_partition
    from ottla.listeners.order import unordered as unordered
    from ottla.listeners.retry import Retry as Retry
    from ottla.listeners.retry import RetryTopics as RetryTopics
    from ottla.listeners.retry import exponential as exponential
    from ottla.listeners.retry import fixed as fixed
    from ottla.middleware.call_log import CallLog as CallLog
    from ottla.middleware.call_metrics import CallMetrics as CallMetrics
    from ottla.middleware.circuit_breaker import CircuitBreaker as CircuitBreaker
    from ottla.middleware.hook import HandlerCall as HandlerCall
    from ottla.middleware.run_twice import RunTwice as RunTwice
    from ottla.middleware.throttle import Throttle as Throttle
    from ottla.middleware.timeout import Timeout as Timeout
    from ottla.observability.logs import configure_logging as configure_logging
    from ottla.patterns.inbox import Inbox as Inbox
    from ottla.patterns.inbox_redis import RedisInbox as RedisInbox
    from ottla.patterns.outbox import Outbox as Outbox
    from ottla.patterns.projection import Projected as Projected
    from ottla.patterns.projection import Projection as Projection
    from ottla.patterns.requests import Gathered as Gathered
    from ottla.producer import Producer as Producer
    from ottla.registry.client import RegistryClient as RegistryClient
    from ottla.serde.deserializer import Deserializer as Deserializer
    from ottla.settings import DatabaseSettings as DatabaseSettings
    from ottla.settings import HttpSettings as HttpSettings
    from ottla.settings import KafkaSettings as KafkaSettings
    from ottla.settings import ListenerSettings as ListenerSettings
    from ottla.settings import LoggingSettings as LoggingSettings
    from ottla.settings import RegistrySettings as RegistrySettings
    from ottla.settings import Settings as Settings
    from ottla.settings import StreamsSettings as StreamsSettings
    from ottla.settings import TracingSettings as TracingSettings
    from ottla.settings import load_settings as load_settings
    from ottla.streams.app import StreamsApp as StreamsApp

_HOMES = {
    # services
    "App": "app",
    "Context": "listeners.context",
    "Depends": "listeners.injection",
    "Header": "listeners.injection",
    "Key": "listeners.injection",
    "Producer": "producer",
    "configure_logging": "observability.logs",
    "Order": "listeners.order",
    "Retry": "listeners.retry",
    "RetryTopics": "listeners.retry",
    "exponential": "listeners.retry",
    "fixed": "listeners.retry",
    "per_key": "listeners.order",
    "per_partition": "listeners.order",
    "unordered": "listeners.order",
    # stream applications; what they are made of is in ottla.streams
    "StreamsApp": "streams.app",
    # event-sourced aggregates
    "Aggregate": "eventsourcing.aggregate",
    "AggregateApp": "eventsourcing.app",
    "Current": "eventsourcing.app",
    "Decided": "eventsourcing.answers",
    "Happened": "eventsourcing.history",
    # around handlers
    "CallLog": "middleware.call_log",
    "CallMetrics": "middleware.call_metrics",
    "CircuitBreaker": "middleware.circuit_breaker",
    "HandlerCall": "middleware.hook",
    "RunTwice": "middleware.run_twice",
    "Throttle": "middleware.throttle",
    "Timeout": "middleware.timeout",
    # side effects, once
    "Gathered": "patterns.requests",
    "Inbox": "patterns.inbox",
    "Outbox": "patterns.outbox",
    "Projected": "patterns.projection",
    "Projection": "patterns.projection",
    "RedisInbox": "patterns.inbox_redis",
    # events
    "Envelope": "events",
    "derived_event_id": "events",
    "event": "events",
    "event_type": "events",
    "new_event_id": "events",
    "read_envelope": "events",
    # topics, groups and records, for tools
    "Admin": "kafka.admin",
    "DeadLetter": "deadletters.letter",
    "DeadLetterQueue": "deadletters.queue",
    "LetterId": "deadletters.letter",
    "Selection": "deadletters.selection",
    "Deserializer": "serde.deserializer",
    "Record": "kafka.record",
    "RecordMetadata": "kafka.record",
    "RegistryClient": "registry.client",
    "TopicReader": "kafka.reader",
    "read_topic": "kafka.reader",
    # settings
    "DatabaseSettings": "settings",
    "HttpSettings": "settings",
    "KafkaSettings": "settings",
    "ListenerSettings": "settings",
    "LoggingSettings": "settings",
    "RegistrySettings": "settings",
    "Settings": "settings",
    "StreamsSettings": "settings",
    "TracingSettings": "settings",
    "load_settings": "settings",
    # errors
    "AggregateError": "errors",
    "BatchFailed": "errors",
    "BrokerUnavailable": "errors",
    "ConfigurationError": "errors",
    "DecodeError": "errors",
    "EncodeError": "errors",
    "EventDefinitionError": "errors",
    "HandlerError": "errors",
    "HistoryBroken": "errors",
    "NotNow": "errors",
    "OttlaError": "errors",
    "PublishError": "errors",
    "Refused": "errors",
    "RegistryRejected": "errors",
    "RegistryUnavailable": "errors",
    "RequestError": "errors",
    "RequestFailed": "errors",
    "RequestTimeout": "errors",
    "StateUnavailable": "errors",
    "VersionConflict": "errors",
}

_EXTRAS = {"sqlalchemy": "sqlalchemy"}
"""Packages that only some names need, and the extra that brings them."""

_MODULES = ("streams",)
"""Public as they are, with public names of their own: `from ottla import streams`, `from ottla.streams import Sum`."""

__all__ = ["__version__", *_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"ottla has no public name {name!r}; it has {', '.join(sorted(_HOMES))}")
    try:
        value = getattr(import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        raise ImportError(f"ottla.{name} needs {error.name}: pip install 'ottla[{_EXTRAS[error.name]}]'") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
