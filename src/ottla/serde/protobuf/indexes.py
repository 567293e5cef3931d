"""Confluent's message indexes: which message of a .proto file a payload is.

Behind the schema's id stand a count and so many indexes, each as a zigzag varint: the message's place among the file's
messages, the nested message's place in that, and so on. The first message of the file is by far the most frequent, so
that is the single byte 0 instead of 1, 0.

Source: Confluent's "Schema Registry serializers: wire format".
"""

from __future__ import annotations

from ottla.errors import DecodeError

FIRST = b"\0"
_COUNT_MAX = 64


def write_indexes(indexes: tuple[int, ...]) -> bytes:
    """The bytes of a message's indexes."""
    if indexes == (0,):
        return FIRST
    return b"".join(_varint(number << 1) for number in (len(indexes), *indexes))


def read_indexes(value: bytes, position: int) -> tuple[tuple[int, ...], int]:
    """The indexes at a position, and the position behind them.

    Raises:
        DecodeError: There are none.
    """
    count, position = _zigzag(value, position)
    if count == 0:
        return (0,), position
    if not 0 < count <= _COUNT_MAX:
        raise DecodeError(f"{count} message indexes: this is no Protobuf in Confluent's wire form", position=position)
    indexes = []
    for _ in range(count):
        index, position = _zigzag(value, position)
        if index < 0:
            raise DecodeError(f"message index {index} is negative", position=position)
        indexes.append(index)
    return tuple(indexes), position


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _zigzag(value: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if position >= len(value) or shift > 28:
            raise DecodeError("the message indexes are cut off", position=position)
        byte = value[position]
        position += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return (number >> 1) ^ -(number & 1), position
