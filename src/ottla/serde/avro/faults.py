"""What generated code raises inside itself, and how it becomes a DecodeError with a position and a field."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from ottla.errors import DecodeError

DEPTH_MAX = 256
"""How deep a value may contain itself, when read and when written. Beyond it lies an attack or a cycle."""


class Malformed(Exception):
    """Bytes that cannot be what the schema says. Never leaves the codec: it becomes a DecodeError.

    Attributes:
        reason: What is wrong, in words.
        position: Where; None for "where the reader stands".
    """

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


def decode_fault(error: Exception, b: bytes, p: int, title: str, fields: Mapping[int, str]) -> DecodeError:
    """The DecodeError for whatever went wrong in generated code.

    Args:
        error: What was raised.
        b: The value.
        p: Where the reader stood.
        title: What was being read (`"shop.OrderCreated"`).
        fields: Which field each line of the generated function reads. The traceback's line then tells the field
            without a single instruction spent on it while all goes well.
    """
    traceback = error.__traceback__
    field = fields.get(traceback.tb_lineno, "") if traceback else ""
    where = f"{title}.{field}" if field else title
    reason, position = _reason(error, b, p)
    return DecodeError(f"cannot read {where}: {reason}", position=min(max(position, 0), len(b)))


def _reason(error: Exception, b: bytes, p: int) -> tuple[str, int]:
    if isinstance(error, Malformed) and error.position is not None:
        return error.reason, error.position
    at_end = p >= len(b) if isinstance(error, IndexError) else p > len(b)
    if at_end or isinstance(error, struct.error):
        return f"the value ends after {len(b)} bytes, in the middle of it", len(b)
    if isinstance(error, Malformed):
        return error.reason, p
    if isinstance(error, UnicodeDecodeError):
        # The reader had already stepped over the text.
        return f"the text is not UTF-8 ({error.reason})", p - len(error.object) + error.start
    if isinstance(error, IndexError):
        return f"byte 0x{b[p]:02x} is not allowed here", p
    if isinstance(error, RecursionError):
        return "it is nested too deeply", p
    return f"{type(error).__name__}: {error}", p


def leftover(b: bytes, p: int, title: str) -> DecodeError:
    """The DecodeError for a reader that did not stop at the end."""
    if p > len(b):
        return DecodeError(
            f"cannot read {title}: the value ends after {len(b)} bytes, {p - len(b)} too few", position=len(b)
        )
    count = "1 byte is" if len(b) - p == 1 else f"{len(b) - p} bytes are"
    return DecodeError(
        f"cannot read {title}: {count} left over after the end, so the value was written with another schema than its "
        "id says",
        position=p,
    )
