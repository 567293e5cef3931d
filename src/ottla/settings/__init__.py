"""What can be configured, and where it comes from."""

from __future__ import annotations

from ottla.settings.kinds import (
    DatabaseSettings,
    HttpSettings,
    KafkaSettings,
    ListenerSettings,
    RegistrySettings,
    SerdeSettings,
    Settings,
    StreamsSettings,
)
from ottla.settings.sources import Given, is_configured, load_settings, origins

__all__ = [
    "DatabaseSettings",
    "Given",
    "HttpSettings",
    "KafkaSettings",
    "ListenerSettings",
    "RegistrySettings",
    "SerdeSettings",
    "Settings",
    "StreamsSettings",
    "is_configured",
    "load_settings",
    "origins",
]
