"""Random ids, as Kafka writes them.

Not the `uuid` module: importing it (and with it `platform`) takes longer than everything a broker ever does with it.
"""

from __future__ import annotations

import os
from binascii import b2a_base64


def random_id() -> bytes:
    """A random UUID (version 4, RFC 9562): 16 bytes."""
    made = bytearray(os.urandom(16))
    made[6] = made[6] & 0x0F | 0x40
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)


def short_form(made: bytes) -> str:
    """The 22 characters (base64, for URLs, without padding) in which Kafka shows ids."""
    return b2a_base64(made, newline=False).translate(_FOR_URLS).decode().rstrip("=")


def long_form(made: bytes) -> str:
    """The usual text of a UUID, with hyphens."""
    text = made.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_FOR_URLS = bytes.maketrans(b"+/", b"-_")
