"""Putting compacted segments in the place of what they were made from, so that a crash leaves the one or the other.

BASE.cleaned     being written; worth nothing
BASE-END.swap    whole and durable: takes the place of all segments from BASE up to END (excluded), which are
                 removed, durably, before it gets the name of a segment. Whoever finds one finishes that.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from ottla.broker.log import index
from ottla.broker.log.checkpoint import remove_checkpoint
from ottla.broker.log.durable import sync_folder
from ottla.broker.log.scrubber import intact_bytes
from ottla.broker.log.segment import SUFFIX, Segment
from ottla.errors import CorruptLog

logger = logging.getLogger("ottla.broker")

CLEANED, SWAP = ".cleaned", ".swap"
_SWAP_NAME = re.compile(r"(\d{20})-(\d{20})\.swap")
LEFTOVERS = (CLEANED, SWAP, ".index-new", ".new")


def cleaned_path(folder: Path, base: int) -> Path:
    """Where a compacted segment is written."""
    return folder / f"{base:020d}{CLEANED}"


def commit(folder: Path, base: int, end: int) -> Path:
    """From here on the compacted segment counts, whatever happens. Its file must be durable. Gives its path.

    Raises:
        OSError: It does not count (unless the folder could not be synced: then a start decides).
    """
    # The checkpoint speaks of the old files' sizes.
    remove_checkpoint(folder)
    path = folder / f"{base:020d}-{end:020d}{SWAP}"
    os.rename(cleaned_path(folder, base), path)
    sync_folder(folder)
    return path


def remove_replaced(folder: Path, bases: list[int]) -> None:
    """Removes the segments that a committed one stands for, durably. Raises OSError."""
    for base in bases:
        (folder / Segment.file_name(base)).unlink(missing_ok=True)
        (folder / f"{base:020d}{index.SUFFIX}").unlink(missing_ok=True)
    sync_folder(folder)


def finish(path: Path) -> Path:
    """Gives a committed segment its name, once those it stands for are gone. The caller syncs the folder."""
    final = path.with_name(path.name.split("-")[0] + SUFFIX)
    os.rename(path, final)
    return final


def clear_up(folder: Path) -> bool:
    """After a stop: finishes what was committed, removes what was not. Gives whether segments changed.

    Raises:
        CorruptLog: A committed segment is damaged, and what it was made from is gone.
    """
    changed = False
    for path in sorted(folder.iterdir()):
        named = _SWAP_NAME.fullmatch(path.name)
        if named:
            base, end = map(int, named.groups())
            if not _is_whole(path, base, end):
                _give_up(path, [segment for segment in _bases(folder) if base <= segment < end])
                changed = True
                continue
            logger.info("%s: finishing a compaction", path)
            remove_checkpoint(folder)
            remove_replaced(folder, [segment for segment in _bases(folder) if base <= segment < end])
            finish(path)
            sync_folder(folder)
            changed = True
        elif path.name.endswith(LEFTOVERS):
            path.unlink(missing_ok=True)
    return changed


def _is_whole(path: Path, base: int, end: int) -> bool:
    """Whether a compacted segment is intact up to its end, and holds what it is named after."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        position, size, offset = 0, os.fstat(fd).st_size, base
        while position < size:
            checked, offset = intact_bytes(fd, position, size, offset, end)
            if not checked:
                return False
            position += checked
        return offset == end
    finally:
        os.close(fd)


def _give_up(path: Path, replaced: list[int]) -> None:
    """A compacted segment is damaged: what it was made from counts, as long as that is there. Raises CorruptLog."""
    if not replaced or replaced[0] != int(path.name[:20]):
        raise CorruptLog(
            f"{path}: a compacted segment is damaged, and what it was made from is gone. Restore it from a backup, or "
            f"delete this partition's folder to go on without its records."
        )
    logger.critical("%s: a compacted segment is damaged; going on with what it was made from", path)
    path.unlink()


def _bases(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob(f"*{SUFFIX}") if path.stem.isdecimal())
