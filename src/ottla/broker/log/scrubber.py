"""Checks the records that a start has taken on trust: in the background, slowly, every batch by length and CRC.

Reading checks them as well, so damage never reaches a client; the scrubber finds it where nobody reads. What it finds
is said in the log with file and position, counted, and answered to readers with CORRUPT_MESSAGE. It is never cut or
skipped.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ottla.broker.log.batch import HEADER_SIZE, is_intact, read_header
from ottla.broker.log.segment import Segment

logger = logging.getLogger("ottla.broker")

BYTES_PER_S = 64 << 20
BLOCK_BYTES = 1 << 20


class Scrubber:
    """One pass over the segments that have not been checked yet.

    Args:
        segments: Those that were there at the start, each with the first offset behind it.
        damaged: Called in the scrubber's thread with what was found, in words.
        bytes_per_s: How fast it reads; 0 for not at all.
    """

    def __init__(
        self, segments: Iterable[tuple[Segment, int]], damaged: Callable[[str], None], bytes_per_s: int = BYTES_PER_S
    ) -> None:
        self._work = [(one, one.path, one.unverified, end) for one, end in segments if one.unverified]
        self._damaged = damaged
        self._bytes_per_s = bytes_per_s
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.finished = not self._work

    def start(self) -> None:
        if self._work and self._bytes_per_s:
            self._thread = threading.Thread(target=self.run, name="scrubber", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def run(self) -> None:
        """Checks all; returns early when closed."""
        for segment, path, until, end_offset in self._work:
            try:
                problem = self._check(path, segment.base_offset, until, end_offset)
            except FileNotFoundError:
                continue  # retention or compaction took it meanwhile
            except OSError as error:
                problem = f"{path}: cannot be read: {error}"
            if self._stopped.is_set():
                return
            if problem:
                self._damaged(problem)
            else:
                segment.unverified = 0
        self.finished = True

    def _check(self, path: Path, offset: int, until: int, end_offset: int) -> str:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            position = 0
            while position < until and not self._stopped.is_set():
                began = time.monotonic()
                checked, offset = intact_bytes(fd, position, until, offset, end_offset)
                if not checked:
                    return f"{path}, position {position}: the batch does not match its checksum or its place"
                position += checked
                self._stopped.wait(max(0.0, checked / self._bytes_per_s - (time.monotonic() - began)))
            return ""
        finally:
            os.close(fd)


def intact_bytes(fd: int, position: int, until: int, offset: int, end_offset: int) -> tuple[int, int]:
    """How many bytes of intact batches begin at `position`, and the least offset that may follow.

    A block's worth, and one batch at least; 0 for damage. Offsets are from `offset` on and before `end_offset`.
    """
    data = os.pread(fd, min(BLOCK_BYTES, until - position), position)
    if len(data) >= HEADER_SIZE:
        size = read_header(data).size
        if len(data) < size <= until - position:
            data = os.pread(fd, size, position)
    at = 0
    while at + HEADER_SIZE <= len(data):
        header = read_header(data, at)
        if not is_intact(data, at, header) or header.base_offset < offset or header.last_offset >= end_offset:
            break
        at += header.size
        offset = header.last_offset + 1
    return at, offset
