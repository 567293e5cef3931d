"""Waiting for something new in a table: PostgreSQL tells (LISTEN/NOTIFY), elsewhere the wait is a poll."""

from __future__ import annotations

import threading
import time
from typing import Any

from ottla.patterns.database import Worker

SLICE_S = 0.2
"""A wait for notices cannot be interrupted: it is so long at most."""


class Notices:
    """Listens on a channel with a connection of its own. Belongs to one thread."""

    def __init__(self, worker: Worker, channel: str) -> None:
        self._worker = worker
        self._channel = channel
        self._connection: Any = None
        self._listening: Any = None

    def listen(self) -> None:
        """Begins, if it can and has not. What is told from now on ends the next `wait`."""
        engine = self._worker.engine
        if self._connection is not None or engine.dialect.name != "postgresql" or engine.dialect.driver != "psycopg":
            return
        self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._connection.exec_driver_sql(f'LISTEN "{self._channel}"')
        self._listening = self._connection.connection.driver_connection

    def wait(self, timeout_s: float, stop: threading.Event) -> None:
        """Returns when something is told, after the timeout, or when `stop` is set.

        Raises:
            Exception: The connection broke (psycopg's or SQLAlchemy's error): `close`, and begin again.
        """
        if self._listening is None:
            stop.wait(timeout_s)
            return
        deadline = time.monotonic() + timeout_s
        while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
            for _ in self._listening.notifies(timeout=min(left, SLICE_S), stop_after=1):
                return

    def close(self) -> None:
        if self._connection is not None:
            connection, self._connection, self._listening = self._connection, None, None
            # Not back to the pool: it listens.
            connection.invalidate()
            connection.close()
