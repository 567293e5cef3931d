"""What generated readers and writers call: the encodings that do not fit into a `struct` format."""

from __future__ import annotations


class MalformedMessage(ValueError):
    """The bytes of a request are not what its table says. The connection they came from cannot be trusted further."""


def read_uvarint(buffer: memoryview, position: int) -> tuple[int, int]:
    """Reads an unsigned varint of at most five bytes; gives the value and the position after it."""
    value = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 28:
            raise MalformedMessage(f"a varint at byte {position} is longer than five bytes")


def uvarint(value: int) -> bytes:
    """Encodes an unsigned varint."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(buffer: bytes | memoryview, position: int) -> tuple[int, int]:
    """Reads a zig-zag varint or varlong, as records use them; gives the value and the position after it."""
    value = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position
        shift += 7
        if shift > 63:
            raise MalformedMessage(f"a varlong at byte {position} is longer than ten bytes")


def overrun(position: int, need: int, size: int) -> MalformedMessage:
    return MalformedMessage(f"a field at byte {position} wants {need} bytes, the message ends at {size}")
