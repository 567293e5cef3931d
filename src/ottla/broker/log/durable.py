"""Making what was written survive power loss, on Linux and on macOS.

macOS's fsync leaves the data in the drive's cache; F_FULLFSYNC does not. File systems that cannot do that (network
drives) get the plain fsync, as there is nothing better.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.ENOTTY, errno.ENODEV)


def sync_file(fd: int) -> None:
    """Makes a file's data durable, and so much about the file as its reading needs. Raises OSError."""
    if sys.platform == "darwin":
        _sync_fully(fd)
    else:
        os.fdatasync(fd)


def sync_all(fd: int) -> None:
    """Makes data and all there is to know of a file or folder durable. Raises OSError."""
    if sys.platform == "darwin":
        _sync_fully(fd)
    else:
        os.fsync(fd)


def sync_folder(path: Path) -> None:
    """Makes a folder's entries durable (a new or removed file is only that once its folder is synced)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_all(fd)
    finally:
        os.close(fd)


def _sync_fully(fd: int) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined,unused-ignore]  # macOS only
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        os.fsync(fd)


def write_at(fd: int, chunks: Sequence[bytes | memoryview], position: int) -> int:
    """Writes chunks one after another from a position of the file on; gives how many bytes were written.

    macOS has pwritev since its version 11.
    """
    if hasattr(os, "pwritev"):
        return os.pwritev(fd, chunks, position)
    return os.pwrite(fd, b"".join(chunks), position)
