"""The checkpoint of a partition: what is known of its log up to an offset, so that a start need not read all of it.

It stands for records that were durable before it was written. A start takes from it the segments' sizes and times, the
producers and the transactions, and scans what lies behind it. It only repeats what the log says: missing, torn or
flipped it is passed over, and the whole log is read. But a log that ends before a whole checkpoint's offset has lost
durable records, and that is reported.

Form: magic, length and CRC32C of the rest, and JSON.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

from ottla.broker.log.batch import crc_of
from ottla.broker.log.durable import sync_all

FILE = "checkpoint"
BYTES_MAX = 256 << 20  # a larger file is none of ours
_HEAD = struct.Struct(">8sII")
_MAGIC = b"OTTLACP1"


class SegmentState(NamedTuple):
    """One segment as it was. Times in ms since the epoch, -1 for none."""

    base_offset: int
    size: int
    max_timestamp: int
    first_timestamp: int
    created_at: int


class Checkpoint(NamedTuple):
    """State of a partition's log.

    Args:
        offset: The next offset when it was made: it stands for all records before.
        cleaned: Compaction has been through up to here.
        segments: All of them, by offset.
        producers, transactions: Their snapshots.
    """

    offset: int
    cleaned: int
    segments: list[SegmentState]
    producers: list[Any]
    transactions: list[Any]


def encode(checkpoint: Checkpoint) -> bytes:
    """The file's content."""
    body = json.dumps(checkpoint, separators=(",", ":")).encode()
    return _HEAD.pack(_MAGIC, len(body), crc_of(body)) + body


def decode(data: bytes) -> Checkpoint | None:
    """The checkpoint in a file's content; None if it is damaged in any way."""
    if len(data) < _HEAD.size:
        return None
    magic, length, crc = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if magic != _MAGIC or len(body) != length or crc_of(body) != crc:
        return None
    try:
        offset, cleaned, segments, producers, transactions = json.loads(body)
        states = [SegmentState(*map(int, state)) for state in segments]
        return Checkpoint(int(offset), int(cleaned), states, list(producers), list(transactions))
    except (ValueError, TypeError, RecursionError):
        return None  # the checksum is right, the form is not: written by another version


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint of the partition in `folder`, if there is a whole one."""
    try:
        with open(folder / FILE, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(size) if size <= BYTES_MAX else b""
    except OSError:
        return None
    return decode(data or b"")


def write_checkpoint(folder: Path, content: bytes, *, durable: bool) -> None:
    """Puts a checkpoint in place of the old one.

    Args:
        folder: The partition's.
        content: From `encode`.
        durable: Whether it should outlast power loss as well; without, that may leave none.

    Raises:
        OSError: The old one is in place.
    """
    fresh = folder / (FILE + ".new")
    try:
        with open(fresh, "wb", buffering=0) as file:
            if file.write(content) != len(content):
                raise OSError(f"{fresh}: not all of it could be written")
            if durable:
                sync_all(file.fileno())
        os.replace(fresh, folder / FILE)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def remove_checkpoint(folder: Path) -> None:
    """Takes the checkpoint away, before the files it speaks of are changed. Raises OSError."""
    (folder / FILE).unlink(missing_ok=True)
