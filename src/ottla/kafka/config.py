"""librdkafka configuration: Ottla's own choices, then whatever the user sets."""

from __future__ import annotations

import logging
from typing import Any

from ottla.settings import KafkaSettings

# Options that are not librdkafka's but its Python binding's: their underscores stay.
PYTHON_OPTIONS = frozenset({"error_cb", "oauth_cb", "on_commit", "on_delivery", "stats_cb", "throttle_cb"})

client_log = logging.getLogger("ottla.kafka.client")


def client_config(settings: KafkaSettings, **chosen: Any) -> dict[str, Any]:
    """Merges, weakest first: the caller's choices for this kind of client, then the user's `kafka.properties`.

    Args:
        settings: Where the brokers are, and the user's own librdkafka properties.
        chosen: Properties with underscores for dots (`linger_ms=5`).
    """
    config: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap_servers,
        # A broker that restarts must be found again within a second, not within librdkafka's default ten.
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "logger": client_log,
    }
    for name, value in chosen.items():
        if value is not None:
            config[name if name in PYTHON_OPTIONS else name.replace("_", ".")] = value
    config.update(settings.properties)
    return config
