"""Which records beyond the committed position are finished, as text for the metadata of a Kafka commit.

A tag, then base64 of run lengths (LEB128): from the position on, so many offsets not finished, so many finished, and
so on. Brokers keep 4,096 bytes (offset.metadata.max.bytes); runs that do not fit are left out from the end, and the
records they tell of may be handled again: at-least-once allows that.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable

TAG = "ottla-finished:1:"
METADATA_CHARACTERS_MAX = 4000
_BYTES_MAX = (METADATA_CHARACTERS_MAX - len(TAG)) // 4 * 3
_OFFSETS_MAX = 1_000_000
"""Nobody has so many records in hand: a run that claims more is damage, and must not cost memory."""


def encode(position: int, finished: Iterable[int]) -> str:
    """The text for the `finished` offsets from `position` on; empty if there are none."""
    data = bytearray()
    at = position
    for first, last in _runs(offset for offset in finished if offset >= position):
        run = _varint(first - at) + _varint(last - first + 1)
        if len(data) + len(run) > _BYTES_MAX:
            break
        data += run
        at = last + 1
    return TAG + urlsafe_b64encode(data).decode().rstrip("=") if data else ""


def decode(position: int, metadata: str | None) -> set[int]:
    """The finished offsets that `encode` wrote down. Anything else (other people's metadata) tells of none."""
    if not metadata or not metadata.startswith(TAG):
        return set()
    text = metadata[len(TAG) :]
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return set()
    finished: set[int] = set()
    at, index = position, 0
    try:
        while index < len(data):
            gap, index = _read_varint(data, index)
            count, index = _read_varint(data, index)
            if len(finished) + count > _OFFSETS_MAX:
                return set()
            at += gap
            finished.update(range(at, at + count))
            at += count
    except IndexError:
        return set()
    return finished


def _runs(offsets: Iterable[int]) -> Iterable[tuple[int, int]]:
    first = last = None
    for offset in sorted(offsets):
        if first is None or last is None:
            first = last = offset
        elif offset == last + 1:
            last = offset
        else:
            yield first, last
            first = last = offset
    if first is not None and last is not None:
        yield first, last


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def _read_varint(data: bytes, index: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[index]
        index += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, index
        shift += 7
