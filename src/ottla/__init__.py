"""Event-driven microservices on Apache Kafka.

The public names, grouped. They load when they are first used, so that `import ottla` costs little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .app import App as App
    from .errors import ConfigurationError as ConfigurationError
    from .errors import DecodeError as DecodeError
    from .errors import EncodeError as EncodeError
    from .errors import EventDefinitionError as EventDefinitionError
    from .errors import HandlerError as HandlerError
    from .errors import OttlaError as OttlaError
    from .errors import PublishError as PublishError
    from .errors import RegistryRejected as RegistryRejected
    from .errors import RegistryUnavailable as RegistryUnavailable
    from .events import Envelope as Envelope
    from .events import derived_event_id as derived_event_id
    from .events import event as event
    from .events import event_type as event_type
    from .events import new_event_id as new_event_id
    from .kafka.record import Record as Record
    from .kafka.record import RecordMetadata as RecordMetadata
    from .listeners.context import Context as Context
    from .listeners.retry import Retry as Retry
    from .listeners.retry import exponential as exponential
    from .listeners.retry import fixed as fixed
    from .settings import DatabaseSettings as DatabaseSettings
    from .settings import HttpSettings as HttpSettings
    from .settings import KafkaSettings as KafkaSettings
    from .settings import ListenerSettings as ListenerSettings
    from .settings import RegistrySettings as RegistrySettings
    from .settings import Settings as Settings
    from .settings import load_settings as load_settings

_HOMES = {
    # services
    "App": "app",
    "Context": "listeners.context",
    "Retry": "listeners.retry",
    "exponential": "listeners.retry",
    "fixed": "listeners.retry",
    # events
    "Envelope": "events",
    "derived_event_id": "events",
    "event": "events",
    "event_type": "events",
    "new_event_id": "events",
    # records
    "Record": "kafka.record",
    "RecordMetadata": "kafka.record",
    # settings
    "DatabaseSettings": "settings",
    "HttpSettings": "settings",
    "KafkaSettings": "settings",
    "ListenerSettings": "settings",
    "RegistrySettings": "settings",
    "Settings": "settings",
    "load_settings": "settings",
    # errors
    "ConfigurationError": "errors",
    "DecodeError": "errors",
    "EncodeError": "errors",
    "EventDefinitionError": "errors",
    "HandlerError": "errors",
    "OttlaError": "errors",
    "PublishError": "errors",
    "RegistryRejected": "errors",
    "RegistryUnavailable": "errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"ottla has no public name {name!r}; it has {', '.join(sorted(_HOMES))}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
