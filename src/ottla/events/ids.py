"""Event ids: new ones, and ids derived from the event that caused another."""

from __future__ import annotations

import hashlib
import os
import time
import uuid

# The namespace of derived ids. Fixed for ever: another value would give a redelivered record new ids.
_NAMESPACE = uuid.UUID("5f0c3f0e-6f4b-5a53-9d5e-0d7c7a1e2b41").bytes


def new_event_id() -> str:
    """A fresh, unique event id: a UUID version 7 (RFC 9562), so ids sort by the millisecond they were made in."""
    millis = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    high = (millis & 0xFFFFFFFFFFFF) << 16 | 0x7000 | (random >> 62 & 0x0FFF)
    low = 0x8000000000000000 | (random & 0x3FFFFFFFFFFFFFFF)
    return _text(f"{high:016x}{low:016x}")


def derived_event_id(cause_id: str, *parts: str) -> str:
    """The id of an event that follows from another: the same inputs give the same id, in any process, at any time.

    A redelivered record therefore republishes its events under the ids they had before, and a consumer that remembers
    ids sees a duplicate for what it is.

    Args:
        cause_id: Id of the event that was handled.
        parts: What tells the caused events apart (service, handler, type, index). Each part is set off by its length,
            so ("ab", "c") and ("a", "bc") differ.

    Returns:
        A UUID version 5 (RFC 9562: SHA-1 over a namespace and a name).
    """
    name = "".join(f"{len(part)}:{part}" for part in (cause_id, *parts))
    digest = bytearray(hashlib.sha1(_NAMESPACE + name.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest())
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return _text(digest[:16].hex())


def _text(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
