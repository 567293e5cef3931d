"""Event ids: new ones, and ids derived from the event that caused another."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from functools import lru_cache

# The namespace of derived ids. Fixed for ever: another value would give a redelivered record new ids.
_NAMESPACE = uuid.UUID("5f0c3f0e-6f4b-5a53-9d5e-0d7c7a1e2b41").bytes

_VARIANT = {f"{n:x}": f"{n & 3 | 8:x}" for n in range(16)}


# The random parts of further ids: the operating system is asked for many at once. A child process must not use its
# parent's.
_random: list[str] = []
os.register_at_fork(after_in_child=_random.clear)
_AT_ONCE = 256

# The millisecond of the last id and its text: whoever sends many events makes many ids in each.
_now: tuple[int, str] = (0, "")


def new_event_id() -> str:
    """A fresh, unique event id: a UUID version 7 (RFC 9562), so ids sort by the millisecond they were made in."""
    try:
        random = _random.pop()
    except IndexError:
        random, *more = _random_parts(_AT_ONCE)
        _random.extend(more)
    return _time_part() + random


def new_event_ids(count: int) -> Iterator[str]:
    """As many fresh ids, for less than one by one: they share their millisecond, and one look for randomness."""
    millis = _time_part()
    return (millis + random for random in _random_parts(count))


def _time_part() -> str:
    global _now
    millis = time.time_ns() // 1_000_000
    known, text = _now
    if millis != known:
        digits = f"{millis & 0xFFFFFFFFFFFF:012x}"
        text = f"{digits[:8]}-{digits[8:]}-7"
        _now = millis, text
    return text


def _random_parts(count: int) -> Iterator[str]:
    """What follows the version in so many ids."""
    digits = os.urandom(10 * count).hex()
    return (
        f"{digits[at : at + 3]}-{_VARIANT[digits[at + 3]]}{digits[at + 4 : at + 7]}-{digits[at + 7 : at + 19]}"
        for at in range(0, 20 * count, 20)
    )


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
    name = _NAMESPACE + f"{len(cause_id)}:{cause_id}".encode("utf-8", "surrogatepass") + _told_apart(parts)
    digits = hashlib.sha1(name, usedforsecurity=False).hexdigest()
    # Version 5 in the thirteenth digit, variant 10 in the two high bits of the seventeenth.
    return _text(f"{digits[:12]}5{digits[13:16]}{_VARIANT[digits[16]]}{digits[17:32]}")


@lru_cache(maxsize=4096)
def _told_apart(parts: tuple[str, ...]) -> bytes:
    return "".join([f"{len(part)}:{part}" for part in parts]).encode("utf-8", "surrogatepass")


def _text(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
