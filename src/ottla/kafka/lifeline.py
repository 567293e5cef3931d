"""Ends a reader whose client has lost the brokers for good: its owner opens another one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ottla.errors import BrokerUnavailable
from ottla.kafka.reach import Reach
from ottla.settings import KafkaSettings

LOOK_S = 1.0


class Lifeline:
    """Belongs to the thread that polls the client.

    Args:
        settings: Where the brokers are.
        on_error: Told of client-level errors too.
    """

    def __init__(self, settings: KafkaSettings, on_error: Callable[[Any], None] | None = None) -> None:
        self._reach = Reach(settings)
        self._on_error = on_error
        self._away = False
        self._look_at = 0.0

    def told(self, error: Any) -> None:
        """The client's `error_cb`."""
        if error.name() == "_ALL_BROKERS_DOWN":
            self._away = True
        if self._on_error is not None:
            self._on_error(error)

    def check(self, client: Any) -> None:
        """To be called again and again; nearly always it costs nothing.

        Raises:
            BrokerUnavailable: The client will never reach a broker again. Others do.
        """
        if not self._away or time.monotonic() < self._look_at:
            return
        if self._reach.is_lost(client):
            raise BrokerUnavailable("the client has lost the brokers, which answer others: another one is needed")
        self._away = not self._reach.has_brokers
        self._look_at = time.monotonic() + LOOK_S
