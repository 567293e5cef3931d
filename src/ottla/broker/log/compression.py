"""Opening compressed batches, only for look-ups by time and for the key check of compacted topics.

gzip is always there. The others are opened if their package is: `lz4`, `python-snappy` or `cramjam`, `zstandard` (or
Python 3.14's own). Without it the caller does with what the batch header says.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Callable
from typing import Any

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
OPENED_BYTES_MAX = 256 << 20  # a batch that opens to more is not opened: no bomb may fill the memory
XERIAL = b"\x82SNAPPY\x00"


class Unopened(Exception):
    """The codec's library is missing, or the bytes are not what the codec makes."""


def open_records(codec: int, data: bytes) -> bytes:
    """The records of a batch, decompressed. Raises Unopened."""
    opener = _OPENERS.get(codec)
    if opener is None:
        raise Unopened(f"codec {codec} is unknown")
    try:
        return opener(data)
    except Unopened:
        raise
    except Exception as error:
        raise Unopened(f"codec {codec}: {error}") from error


def _gzip(data: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    opened = stream.decompress(data, OPENED_BYTES_MAX)
    if stream.unconsumed_tail:
        raise Unopened("the batch opens to more than is sensible")
    return opened


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unopened(f"the package {name} is not installed") from error


def _lz4(data: bytes) -> bytes:
    opened: bytes = _library("lz4.frame").decompress(data)
    return opened


def _zstd(data: bytes) -> bytes:
    try:
        opened: bytes = importlib.import_module("compression.zstd").decompress(data)
    except ImportError:
        opened = _library("zstandard").ZstdDecompressor().decompress(data, max_output_size=OPENED_BYTES_MAX)
    return opened


def _snappy(data: bytes) -> bytes:
    raw: Callable[[bytes], Any]
    try:
        raw = importlib.import_module("cramjam").snappy.decompress_raw
    except ImportError:
        raw = _library("snappy").uncompress
    if not data.startswith(XERIAL):
        return bytes(raw(data))
    parts, position = [], 16  # Java's framing: a header of 16 bytes, then blocks with their length before them
    while position + 4 <= len(data):
        (size,) = struct.unpack_from(">i", data, position)
        parts.append(bytes(raw(data[position + 4 : position + 4 + size])))
        position += 4 + size
    return b"".join(parts)


_OPENERS: dict[int, Callable[[bytes], bytes]] = {NONE: bytes, GZIP: _gzip, SNAPPY: _snappy, LZ4: _lz4, ZSTD: _zstd}
