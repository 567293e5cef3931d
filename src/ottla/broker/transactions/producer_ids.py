"""Producer ids: each is given once, also over crashes."""

from __future__ import annotations

from collections.abc import Callable

from ottla.broker.catalog import Catalog
from ottla.broker.log.flusher import Syncable

Callback = Callable[[], None]


class ProducerIds:
    """Gives ids out of blocks that are reserved in the catalogue's journal.

    Args:
        catalog: Reserves.
        durable: Calls back once what was written to a journal is as durable as the flush policy promises.
    """

    def __init__(self, catalog: Catalog, durable: Callable[[Syncable, Callback], None]) -> None:
        self._catalog = catalog
        self._durable = durable
        self._unsynced = 0  # reservations on their way to the disk

    def take(self) -> int:
        """A new id, to be told to nobody before `when_durable`. Raises OSError: no block could be reserved."""
        producer_id, reserved = self._catalog.next_producer_id()
        if reserved:
            self._unsynced += 1
            self._durable(self._catalog.journal, self._synced)
        return producer_id

    def _synced(self) -> None:
        self._unsynced -= 1

    def when_durable(self, done: Callback) -> None:
        """Calls `done` once all ids taken so far will never be given again; at once if that is so already."""
        if self._unsynced:
            self._durable(self._catalog.journal, done)
        else:
            done()
