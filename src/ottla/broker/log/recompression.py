"""`compression.type` of a topic: what is written there is compressed as the topic wants it, not as the producer did.

gzip is the standard library's, zstd Python 3.14's or the package `zstandard`'s or `cramjam`'s, lz4 and snappy those of
the package `cramjam` (the extra `compression`). What nothing here can compress is refused when it is set.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from importlib.util import find_spec

from ottla.broker.log.batch import COMPRESSION_MASK, CRC_FROM, HEADER_SIZE, BatchHeader
from ottla.broker.log.compression import GZIP, LZ4, NONE, SNAPPY, XERIAL, ZSTD, open_records
from ottla.broker.log.rewriting import signed_batch

CODECS = {"uncompressed": NONE, "gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}
SNAPPY_BLOCK_BYTES = 32 << 10
_LIBRARIES = {
    "zstd": ("compression.zstd", "zstandard", "cramjam"),
    "lz4": ("cramjam",),
    "snappy": ("cramjam",),
}


def missing(name: str) -> str | None:
    """What would have to be installed for a value of `compression.type`, in words; None if all is there."""
    libraries = _LIBRARIES.get(name)
    if libraries is None or any(_is_there(library) for library in libraries):
        return None
    return f"nothing here compresses {name}; install ottla[compression], or leave it to the producers (producer)"


def _is_there(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False


def recompressed(header: BatchHeader, data: bytes, codec: int, level: int) -> tuple[BatchHeader, memoryview]:
    """A batch with the same records, compressed by another codec: its header, and its bytes from the attributes on.

    Raises:
        Unopened: The codec it came with cannot be opened here, or its bytes are not what that codec makes.
    """
    body = _COMPRESSORS[codec](open_records(header.codec, data[HEADER_SIZE:]), level)
    attributes = header.attributes & ~COMPRESSION_MASK | codec
    changed, batch = signed_batch(header._replace(attributes=attributes), body)
    return changed, memoryview(batch)[CRC_FROM:]


def _gzip(data: bytes, level: int) -> bytes:
    stream = zlib.compressobj(level=level, wbits=31)
    return stream.compress(data) + stream.flush()


def _zstd(data: bytes, level: int) -> bytes:
    if _is_there("compression.zstd"):
        return bytes(importlib.import_module("compression.zstd").compress(data, level))
    if _is_there("zstandard"):
        return bytes(importlib.import_module("zstandard").ZstdCompressor(level=level).compress(data))
    return bytes(importlib.import_module("cramjam").zstd.compress(data, level))


def _lz4(data: bytes, level: int) -> bytes:
    # Java reads independent blocks only.
    stream = importlib.import_module("cramjam").lz4.Compressor(level=level, content_checksum=False, block_linked=False)
    stream.compress(data)
    return bytes(stream.finish())


def _snappy(data: bytes, _: int) -> bytes:
    """Java's framing, which all clients read: a header, then blocks with their length before them."""
    compress = importlib.import_module("cramjam").snappy.compress_raw
    parts = [XERIAL + struct.pack(">ii", 1, 1)]
    for at in range(0, len(data), SNAPPY_BLOCK_BYTES):
        block = bytes(compress(data[at : at + SNAPPY_BLOCK_BYTES]))
        parts += [struct.pack(">i", len(block)), block]
    return b"".join(parts)


_COMPRESSORS = {NONE: lambda data, _: data, GZIP: _gzip, SNAPPY: _snappy, LZ4: _lz4, ZSTD: _zstd}
