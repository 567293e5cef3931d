"""What can be configured, and where it comes from."""

from __future__ import annotations

from ottla.settings.kinds import (
    DatabaseSettings,
    HttpSettings,
    KafkaSettings,
    ListenerSettings,
    LoggingSettings,
    RegistrySettings,
    SerdeSettings,
    Settings,
    StreamsSettings,
    TokenSource,
    TracingSettings,
)
from ottla.settings.secrets import HIDDEN, hide, is_pem
from ottla.settings.security import key_of, security_faults, text_of
from ottla.settings.sources import Given, is_configured, load_settings, origins

__all__ = [
    "HIDDEN",
    "DatabaseSettings",
    "Given",
    "HttpSettings",
    "KafkaSettings",
    "ListenerSettings",
    "LoggingSettings",
    "RegistrySettings",
    "SerdeSettings",
    "Settings",
    "StreamsSettings",
    "TokenSource",
    "TracingSettings",
    "hide",
    "is_configured",
    "is_pem",
    "key_of",
    "load_settings",
    "origins",
    "security_faults",
    "text_of",
]
