"""Avro's whole numbers: zigzag, then seven bits a byte, low ones first.

Generated code handles the one-byte case itself and comes here for the rest.
"""

from __future__ import annotations

import struct

from ottla.serde.avro.faults import Malformed

_LOW, _HIGH = -(2**63), 2**63


def encode_long(n: int) -> bytes:
    """A whole number of 64 bits.

    Raises:
        OverflowError: It does not fit into 64 bits.
    """
    if not _LOW <= n < _HIGH:
        raise OverflowError(f"{n} does not fit into 64 bits")
    z = n << 1 if n >= 0 else ~(n << 1)
    if 0x1FFFFFFFFFFFF < z < 0x100000000000000:
        # Eight bytes, as every timestamp in microseconds takes from 1979 on: spread the groups of seven bits over
        # eight bytes by halves instead of one by one.
        z = z & 0x000000000FFFFFFF | (z & 0x00FFFFFFF0000000) << 4
        z = z & 0x00003FFF00003FFF | (z & 0x0FFFC0000FFFC000) << 2
        z = z & 0x007F007F007F007F | (z & 0x3F803F803F803F80) << 1
        return (z | 0x0080808080808080).to_bytes(8, "little")
    out = bytearray()
    while z > 127:
        out.append(z & 127 | 128)
        z >>= 7
    out.append(z)
    return bytes(out)


class LongBytes(dict[int, bytes]):
    """The bytes of a whole number, by lookup: `LONG[n]`. What is not in the table is computed, and kept if it is small.

    A dict's own lookup is the fastest branch-free way from a small number to its bytes, and it checks the type at once.
    A float or Decimal without a fraction is taken as the whole number it is; anything else is a TypeError.
    """

    def __missing__(self, n: int) -> bytes:
        if n.__class__ is not int:
            whole = int(n)
            if isinstance(n, str | bytes | bytearray) or whole != n:
                raise TypeError(f"{n!r} is not a whole number")
            n = whole
        data = encode_long(n)
        if -1024 <= n < 16384:
            self[n] = data
        return data


LONG = LongBytes((n, encode_long(n)) for n in range(-1, 64))

# Tables over one byte; None sends the generated code to the functions below.
SMALL: tuple[int | None, ...] = tuple((b >> 1) ^ -(b & 1) if b < 128 else None for b in range(256))
COUNT: tuple[int | None, ...] = tuple(b >> 1 if b < 128 and not b & 1 else None for b in range(256))


def read_long(b: bytes, p: int) -> tuple[int, int]:
    """A whole number at a position, and the position after it.

    Raises:
        Malformed: More than ten bytes, more than 64 bits, or the value ends first.
    """
    start = p
    z = shift = 0
    try:
        byte = b[p]
        more = b[p + 1] if byte > 127 else 0
        if more < 128:
            # One byte or two: most of what comes here.
            z = byte & 127 | more << 7
            return (z >> 1) ^ -(z & 1), p + (2 if byte > 127 else 1)
        while True:
            byte = b[p]
            p += 1
            z |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 63:
                raise Malformed("a whole number is longer than ten bytes", start)
    except IndexError:
        raise Malformed(f"the value ends after {len(b)} bytes, in the middle of a number", len(b)) from None
    if z >> 64:
        raise Malformed("a whole number has more than 64 bits", start)
    return (z >> 1) ^ -(z & 1), p


_eight_bytes = struct.Struct("<Q").unpack_from


def read_big_long(b: bytes, p: int) -> tuple[int, int]:
    """The same as `read_long`, quicker for numbers of eight bytes (timestamps)."""
    try:
        z = _eight_bytes(b, p)[0]
    except struct.error:
        return read_long(b, p)
    if z & 0x8080808080808080 != 0x0080808080808080:
        return read_long(b, p)
    z = z & 0x007F007F007F007F | (z & 0x7F007F007F007F00) >> 1
    z = z & 0x00003FFF00003FFF | (z & 0x3FFF00003FFF0000) >> 2
    z = z & 0x000000000FFFFFFF | (z & 0x0FFFFFFF00000000) >> 4
    return (z >> 1) ^ -(z & 1), p + 8


def read_length(b: bytes, p: int) -> tuple[int, int]:
    """The length of a string or bytes, checked against what is left.

    Raises:
        Malformed: It is negative or reaches beyond the end.
    """
    n, q = read_long(b, p)
    if n < 0:
        raise Malformed(f"a length is negative ({n})", p)
    if n > len(b) - q:
        raise Malformed(f"a length of {n} bytes, but only {len(b) - q} are left", p)
    return n, q


def read_index(b: bytes, p: int) -> tuple[int, int]:
    """The index of an enum's symbol or a union's branch.

    Raises:
        Malformed: It is negative.
    """
    n, q = read_long(b, p)
    if n < 0:
        raise Malformed(f"an index is negative ({n})", p)
    return n, q


def read_count(b: bytes, p: int) -> tuple[int, int]:
    """How many items the next block of an array or map has. A negative count is followed by the block's size.

    Raises:
        Malformed: More items than bytes are left (every item takes at least one).
    """
    n, q = read_long(b, p)
    if n < 0:
        n = -n
        size, q = read_long(b, q)
        if not 0 <= size <= len(b) - q:
            raise Malformed(f"a block of {size} bytes, but {len(b) - q} are left", p)
    if n > len(b) - q:
        raise Malformed(f"a block of {n} items, but only {len(b) - q} bytes are left", p)
    return n, q


# An item that takes no byte (a null, a record without fields) lets two bytes ask for any number of objects.
EMPTY_ITEMS_MAX = 64


def read_count_of_empty(b: bytes, p: int) -> tuple[int, int]:
    """The same for items that take no byte, which nothing in the data limits.

    Raises:
        Malformed: More than 64.
    """
    n, q = read_long(b, p)
    if n < 0:
        n = -n
        _, q = read_long(b, q)
    if n > EMPTY_ITEMS_MAX:
        raise Malformed(f"a block of {n} items that take no byte; {EMPTY_ITEMS_MAX} are allowed", p)
    return n, q


def skip_long(b: bytes, p: int) -> int:
    """The position after a whole number."""
    return read_long(b, p)[1]


def read_block(b: bytes, p: int) -> tuple[int, int, int]:
    """A block's count, its size in bytes (-1 if not told), and the position of its first item: for skipping.

    Raises:
        Malformed: The told size reaches beyond the end.
    """
    n, q = read_long(b, p)
    if n >= 0:
        return n, -1, q
    size, q = read_long(b, q)
    if not 0 <= size <= len(b) - q:
        raise Malformed(f"a block of {size} bytes, but {len(b) - q} are left", p)
    return -n, size, q
