"""Opening compressed batches: for look-ups by time, for the key check of compacted topics, and for compaction.

gzip is the standard library's; lz4 and snappy are opened here, in Python; zstd by Python 3.14's own library or by the
package `zstandard`, if it is there. Without it the caller does with what the batch header says. Compaction compresses
again with gzip and zstd; what came as lz4 or snappy, which nothing in Python's library compresses, becomes gzip.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Callable
from typing import Any

from ottla.broker.wire.primitives import read_uvarint

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
OPENED_BYTES_MAX = 64 << 20  # a batch that opens to more is not opened: no bomb may fill the memory
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


def close_records(codec: int, data: bytes) -> tuple[int, bytes]:
    """Records compressed again, and the codec that was used. Raises Unopened if zstd's library is missing."""
    if codec == NONE:
        return NONE, data
    if codec == ZSTD:
        try:
            return ZSTD, importlib.import_module("compression.zstd").compress(data)
        except ImportError:
            return ZSTD, _library("zstandard").ZstdCompressor().compress(data)
    stream = zlib.compressobj(wbits=31)
    return GZIP, stream.compress(data) + stream.flush()


def _gzip(data: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    opened = stream.decompress(data, OPENED_BYTES_MAX)
    if stream.unconsumed_tail:
        raise Unopened("the batch opens to more than is sensible")
    if not stream.eof or stream.unused_data:
        raise Unopened("the gzip stream does not end where the batch does")
    return opened


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unopened(f"the package {name} is not installed") from error


def _lz4(data: bytes) -> bytes:
    """The LZ4 frame format: a header, then blocks, each plain or compressed."""
    flags = data[4]
    position = 7 + (8 if flags & 0x08 else 0) + (4 if flags & 0x01 else 0)
    opened = bytearray()
    while True:
        (size,) = struct.unpack_from("<I", data, position)
        position += 4
        if size == 0:
            return bytes(opened)
        plain, size = size & 0x80000000, size & 0x7FFFFFFF
        block = data[position : position + size]
        if plain:
            opened += block
        else:
            _lz4_block(block, opened)
        position += size + (4 if flags & 0x10 else 0)


def _lz4_block(block: bytes, opened: bytearray) -> None:
    position = 0
    while position < len(block):
        token = block[position]
        literals, position = _lz4_length(block, position + 1, token >> 4)
        opened += block[position : position + literals]
        position += literals
        if position >= len(block):
            return
        distance = block[position] | block[position + 1] << 8
        length, position = _lz4_length(block, position + 2, token & 0x0F)
        _copy_back(opened, distance, length + 4)


def _lz4_length(block: bytes, position: int, length: int) -> tuple[int, int]:
    if length == 15:
        while True:
            more = block[position]
            position += 1
            length += more
            if more != 255:
                break
    return length, position


def _copy_back(opened: bytearray, distance: int, length: int) -> None:
    """Repeats what was opened `distance` bytes ago; the copy may run into itself."""
    if not 0 < distance <= len(opened) or len(opened) + length > OPENED_BYTES_MAX:
        raise Unopened("a copy reaches out of the data")
    start = len(opened) - distance
    piece = bytes(opened[start : start + min(distance, length)])
    times, rest = divmod(length, len(piece))
    opened += piece * times + piece[:rest]


def _zstd(data: bytes) -> bytes:
    try:
        opened: bytes = importlib.import_module("compression.zstd").decompress(data)
    except ImportError:
        opened = _library("zstandard").ZstdDecompressor().decompress(data, max_output_size=OPENED_BYTES_MAX)
    return opened


def _snappy(data: bytes) -> bytes:
    if not data.startswith(XERIAL):
        return _snappy_block(data)
    parts, position = [], 16  # Java's framing: a header of 16 bytes, then blocks with their length before them
    while position + 4 <= len(data):
        (size,) = struct.unpack_from(">i", data, position)
        parts.append(_snappy_block(data[position + 4 : position + 4 + size]))
        position += 4 + size
    return b"".join(parts)


def _snappy_block(block: bytes) -> bytes:
    """The raw snappy format: the length, then literals and copies."""
    _, position = read_uvarint(memoryview(block), 0)
    opened = bytearray()
    while position < len(block):
        tag = block[position]
        position += 1
        kind, length = tag & 3, (tag >> 2) + 1
        if kind == 0:
            if length > 60:
                width = length - 60
                length = int.from_bytes(block[position : position + width], "little") + 1
                position += width
            opened += block[position : position + length]
            position += length
        elif kind == 1:
            distance = (tag >> 5) << 8 | block[position]
            _copy_back(opened, distance, (length - 1 & 7) + 4)
            position += 1
        else:
            width = 2 if kind == 2 else 4
            _copy_back(opened, int.from_bytes(block[position : position + width], "little"), length)
            position += width
    return bytes(opened)


_OPENERS: dict[int, Callable[[bytes], bytes]] = {NONE: bytes, GZIP: _gzip, SNAPPY: _snappy, LZ4: _lz4, ZSTD: _zstd}
