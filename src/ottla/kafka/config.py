"""librdkafka configuration: Ottla's own choices, the settings of TLS and SASL, then whatever the user sets."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

import confluent_kafka

from ottla.errors import ConfigurationError
from ottla.kafka.security import security_config
from ottla.settings import KafkaSettings

Client = TypeVar("Client")

# Options that are not librdkafka's but its Python binding's: their underscores stay.
PYTHON_OPTIONS = frozenset({"error_cb", "oauth_cb", "on_commit", "on_delivery", "stats_cb", "throttle_cb"})

REPEATED_AFTER_S = 30.0
"""A line that the client library repeats is logged again after so long, with the number left out meanwhile."""


class Repetition(logging.Filter):
    """Passes a line once per `REPEATED_AFTER_S`: while a broker is away, each client says so at each attempt."""

    _VARYING = re.compile(r"\(after \d+ms in state [^)]*\)|#\d+")

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it. Adds how many were left out since the last."""
        line = self._VARYING.sub("", record.getMessage())
        now = time.monotonic()
        said_at, left_out = self._said.get(line, (None, 0))
        if said_at is not None and now - said_at < REPEATED_AFTER_S:
            self._said[line] = (said_at, left_out + 1)
            return False
        if len(self._said) >= 1000:  # lines that never come again
            self._said.clear()
        self._said[line] = (now, 0)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} times before)", ()
        return True


client_log = logging.getLogger("ottla.kafka.client")
client_log.addFilter(Repetition())


def client_config(settings: KafkaSettings, **chosen: Any) -> dict[str, Any]:
    """Merges, weakest first: the caller's choices for this kind of client, then the user's `kafka.properties`.

    Args:
        settings: Where the brokers are, and the user's own librdkafka properties.
        chosen: Properties with underscores for dots (`linger_ms=5`).

    Raises:
        ConfigurationError: The settings of TLS and SASL do not fit together. The message lists every fault.
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
    config.update(security_config(settings))
    config.update(settings.properties)
    return config


def open_client(kind: Callable[[dict[str, Any]], Client], settings: KafkaSettings, **chosen: Any) -> Client:
    """A client of the library with this configuration.

    Raises:
        ConfigurationError: The library does not take it: an unknown property, or a certificate it cannot read.
    """
    config = client_config(settings, **chosen)
    try:
        return kind(config)
    except confluent_kafka.KafkaException as error:
        raise ConfigurationError(
            f"librdkafka does not take this configuration: {error.args[0].str()}. `ottla config show` lists the "
            f"kafka settings in force; librdkafka's own names are those in kafka.properties"
        ) from None
