"""A little disk space put by, for what makes room on a full disk: deleting topics, retention, DeleteRecords.

They write a line to the catalogue before they remove files, and on a full disk that line would find no room.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

logger = logging.getLogger("ottla.broker")

FILE = "reserve"
BYTES = 64 << 10


class Reserve:
    """The file that holds the space. Belongs to the event loop's thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._held = self._path.exists()
        self.restore()

    def restore(self) -> None:
        """Puts the space by, if it is not; without room there is none until later."""
        if self._held:
            return
        try:
            with self._path.open("wb", buffering=0) as file:
                # Written, not only asked for: not every file system keeps what was asked for.
                self._held = file.write(os.urandom(BYTES)) == BYTES
        except OSError:
            self._held = False
        if not self._held:
            self._path.unlink(missing_ok=True)

    def take(self) -> bool:
        """Gives the space free; whether there was any."""
        if not self._held:
            return False
        logger.warning("the disk is full: using the space that was put by in %s", self._path)
        self._held = False
        self._path.unlink(missing_ok=True)
        return True
