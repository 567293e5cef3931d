"""Asks again and again whether the shop has come to rest; in a thread, because a broker that is away means waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from ottla import KafkaSettings, OttlaError
from shop.demo.expectations import LISTENS
from shop.demo.settle import Offsets, Quiet

_EVERY_S = 0.25


class RestWatcher(threading.Thread):
    """Looks every quarter of a second from `begin` on; reading its attributes is safe from any thread.

    Attributes:
        since: When the shop was first seen at rest, on the clock of `time.monotonic()`; None while something moves.
        seen_from: When the latest look that saw it at rest began: of what happened later it knows nothing.
        moved_at: When an offset was last seen to have changed.
        behind: Records each service has still to finish.
        trouble: Why the last question had no answer.
    """

    def __init__(self, bootstrap_servers: str, listens: Mapping[str, frozenset[str]] = LISTENS) -> None:
        super().__init__(name="rest", daemon=True)
        self._listens = listens
        self._kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
        self._begun = threading.Event()
        self._stopping = threading.Event()
        self._seen: tuple[Offsets, Mapping[str, int]] | None = None
        self.since: float | None = None
        self.seen_from = 0.0
        self.moved_at = time.monotonic()
        self.behind: Mapping[str, int] = {}
        self.trouble: str | None = None

    def begin(self) -> None:
        self._begun.set()

    def stop(self) -> None:
        self._stopping.set()
        self._begun.set()

    def run(self) -> None:
        self._begun.wait()
        quiet: Quiet | None = None
        while not self._stopping.wait(_EVERY_S if quiet else 0):
            try:
                quiet = quiet or Quiet(self._kafka, self._listens)
                self._look(quiet)
                self.trouble = None
            except OttlaError as error:
                self.since, self.trouble = None, str(error)

    def _look(self, quiet: Quiet) -> None:
        began = time.monotonic()
        look = quiet.look()
        now = time.monotonic()
        if self._seen != (look.ends, look.behind):
            self._seen, self.moved_at, self.since = (look.ends, look.behind), now, None
        self.behind = look.behind
        if not look.settled:
            self.since = None
        else:
            self.seen_from = began
            if self.since is None:
                self.since = now
