"""Making what was written survive power loss, on Linux and on macOS.

macOS's fsync leaves the data in the drive's cache; F_FULLFSYNC does not. File systems that cannot do that (network
drives) get the plain fsync, as there is nothing better.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import cast

_SYNC_FILE_RANGE_WRITE = 2
_FALLOC_FL_KEEP_SIZE = 1
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


def start_writing(fd: int, position: int, size: int) -> None:
    """Lets the disk begin with what was written there, without waiting: a sync that comes soon finds less to do.

    Only Linux has it (sync_file_range). It promises nothing, so that a failure is left to the sync.
    """
    call = _system_call("sync_file_range")
    if call is not None:
        call(fd, position, size, _SYNC_FILE_RANGE_WRITE)


def reserve(fd: int, position: int, size: int) -> None:
    """Asks for disk space behind the end of a file, which keeps its size: a sync then has no space to find.

    Only Linux has it (fallocate). Without it, or without space, nothing changes.
    """
    call = _system_call("fallocate")
    if call is not None:
        call(fd, _FALLOC_FL_KEEP_SIZE, position, size)


@cache
def _system_call(name: str) -> Callable[..., int] | None:
    if sys.platform != "linux" or sys.maxsize < 1 << 32:  # elsewhere the arguments have other sizes
        return None
    import ctypes  # some milliseconds, which only who writes much shall pay

    try:
        call = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError):
        return None
    wide = ctypes.c_int64
    call.argtypes = {
        "sync_file_range": (ctypes.c_int, wide, wide, ctypes.c_uint),
        "fallocate": (ctypes.c_int, ctypes.c_int, wide, wide),
    }[name]
    return cast("Callable[..., int]", call)


def write_at(fd: int, chunks: Sequence[bytes | memoryview], position: int) -> int:
    """Writes chunks one after another from a position of the file on; gives how many bytes were written.

    macOS has pwritev since its version 11.
    """
    if hasattr(os, "pwritev"):
        return os.pwritev(fd, chunks, position)
    return os.pwrite(fd, b"".join(chunks), position)
