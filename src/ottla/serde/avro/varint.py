"""Avro's whole numbers: zigzag, then seven bits a byte, low ones first.

Generated code handles the one-byte case itself and comes here for the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from ottla.serde.avro.faults import Malformed
from ottla.serde.avro.plan import UNKNOWN

# The bit that says "there is more" in all bytes but the last, for each number of bytes.
_CONTINUED = tuple(sum(0x80 << 8 * i for i in range(size - 1)) for size in range(9))


def encode_long(n: int) -> bytes:
    """A whole number of 64 bits.

    Raises:
        OverflowError: It does not fit into 64 bits.
    """
    z = n << 1 if n >= 0 else ~(n << 1)
    if z < 0x200000:
        if z < 0x4000:
            return bytes((z,)) if z < 128 else bytes((z & 127 | 128, z >> 7))
        return bytes((z & 127 | 128, z >> 7 & 127 | 128, z >> 14))
    if z < 0x100000000000000:
        # Up to eight bytes, as timestamps in microseconds take: spread the groups of seven bits over the bytes by
        # halves instead of one by one.
        size = (z.bit_length() + 6) // 7
        z += (z >> 28) * 0xF0000000
        z += (z & 0x0FFFC0000FFFC000) * 3
        z += z & 0x3F803F803F803F80
        return (z | _CONTINUED[size]).to_bytes(size, "little")
    if z >> 64:
        raise OverflowError(f"{n} does not fit into 64 bits")
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
        if 16384 <= n < 0x80000000000000:
            # As in encode_long, which would be one more call.
            z = n << 1
            size = (z.bit_length() + 6) // 7
            z += (z >> 28) * 0xF0000000
            z += (z & 0x0FFFC0000FFFC000) * 3
            z += z & 0x3F803F803F803F80
            return (z | _CONTINUED[size]).to_bytes(size, "little")
        data = encode_long(n)
        if -1024 <= n < 16384:
            self[n] = data
        return data


LONG = LongBytes((n, encode_long(n)) for n in range(-1, 64))

SIZE: dict[int, bytes] = {n: encode_long(n) for n in range(256)}
"""The same for lengths and counts, as a plain dict, which is quicker. KeyError for what is not in it yet."""


class SizeBytes(dict[int, bytes]):
    """What stands in for SIZE once it lacked something, and adds that to it."""

    def __missing__(self, n: int) -> bytes:
        data = encode_long(n)
        if n < 16384:
            SIZE[n] = data
        return data


ANY_SIZE = SizeBytes()

# Tables over one byte; None sends the generated code to the functions below.
SMALL: tuple[int | None, ...] = tuple((b >> 1) ^ -(b & 1) if b < 128 else None for b in range(256))
COUNT: tuple[int | None, ...] = tuple(b >> 1 if b < 128 and not b & 1 else None for b in range(256))


def read_long(b: bytes, p: int) -> tuple[int, int]:
    """A whole number at a position, and the position after it.

    Raises:
        Malformed: More than ten bytes, more than 64 bits, or the value ends first.
    """
    start = p
    try:
        # Up to five bytes without a loop. The bits that say "there is more" are summed up with the rest, and what they
        # come to is taken off at the end.
        z = b[p]
        if z < 128:
            return ~(z >> 1) if z & 1 else z >> 1, p + 1
        byte = b[p + 1]
        z += byte << 7
        if byte < 128:
            z -= 0x80
            return ~(z >> 1) if z & 1 else z >> 1, p + 2
        byte = b[p + 2]
        z += byte << 14
        if byte < 128:
            z -= 0x4080
            return ~(z >> 1) if z & 1 else z >> 1, p + 3
        byte = b[p + 3]
        z += byte << 21
        if byte < 128:
            z -= 0x204080
            return ~(z >> 1) if z & 1 else z >> 1, p + 4
        byte = b[p + 4]
        z += byte << 28
        if byte < 128:
            z -= 0x10204080
            return ~(z >> 1) if z & 1 else z >> 1, p + 5
        z -= 0x810204080
        p += 5
        shift = 35
        while True:
            byte = b[p]
            p += 1
            if byte < 128:
                z |= byte << shift
                break
            z |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise Malformed("a whole number is longer than ten bytes", start)
    except IndexError:
        raise Malformed(f"the value ends after {len(b)} bytes, in the middle of a number", len(b)) from None
    if z >> 64:
        raise Malformed("a whole number has more than 64 bits", start)
    return ~(z >> 1) if z & 1 else z >> 1, p


_eight_bytes = struct.Struct("<Q").unpack_from


def read_big_long(b: bytes, p: int) -> tuple[int, int]:
    """The same as `read_long`, quicker for numbers of eight bytes (timestamps)."""
    try:
        z = _eight_bytes(b, p)[0] ^ 0x0080808080808080
    except struct.error:
        return read_long(b, p)
    if z & 0x8080808080808080:
        return read_long(b, p)
    # Close the gaps between groups of seven bits, then of fourteen, then of twenty-eight.
    z -= (z >> 8 & 0x007F007F007F007F) << 7
    z -= (z >> 16 & 0x00003FFF00003FFF) * 0xC000
    z -= (z >> 32) * 0xF0000000
    return ~(z >> 1) if z & 1 else z >> 1, p + 8


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


def read_branch(b: bytes, p: int, count: int) -> tuple[int, int]:
    """Twice the index of a union's branch: the byte it is written as, where it takes one.

    Raises:
        Malformed: There is no such branch.
    """
    n, q = read_index(b, p)
    if n >= count:
        raise Malformed(f"{n} is not the index of a branch", p)
    return n << 1, q


def read_symbol(b: bytes, p: int, symbols: Sequence[str], values: Sequence[Any], title: str) -> tuple[Any, int]:
    """An enum's value, from the values of the writer's symbols, and the position after it.

    Raises:
        Malformed: There is no such symbol, or the reader does not know it (its value is then UNKNOWN).
    """
    n, q = read_index(b, p)
    if n >= len(values):
        raise Malformed(f"{n} is not the index of a symbol", p)
    if values[n] is UNKNOWN:
        raise Malformed(f"the symbol {symbols[n]} is not in {title}", p)
    return values[n], q


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
