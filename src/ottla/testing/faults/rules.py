"""What is to go wrong: which requests, how often, and what happens to them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Drop:
    """The connection is cut when the request arrives; or, with `answer`, when the broker has answered it."""

    answer: bool


@dataclass(frozen=True)
class Delay:
    """The answer waits, and so does everything behind it on that connection."""

    seconds: float


@dataclass(frozen=True)
class Refuse:
    """An answer that says an error code."""

    code: int


@dataclass(frozen=True)
class Forget:
    """An answer of Metadata that knows topics and no broker."""


Harm = Drop | Delay | Refuse | Forget


class Fault:
    """One fault that is set. Thread-safe. As a context manager it is healed at the end of the block.

    Attributes:
        api: The API whose requests it hits; None: every one.
    """

    def __init__(self, api: str | None, key: int | None, harm: Harm, times: int | None) -> None:
        self.api = api
        self._key = key
        self._harm = harm
        self._left = times
        self._hits = 0
        self._changed = threading.Condition()

    @property
    def hits(self) -> int:
        """How many requests it has hit."""
        with self._changed:
            return self._hits

    def wait(self, hits: int = 1, *, timeout_s: float = 30.0) -> None:
        """Waits until it has hit so many requests. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._hits < hits:
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(
                        f"{self.api or 'any request'}: {self._hits} of {hits} requests came within {timeout_s:g} s"
                    )

    def heal(self) -> None:
        """Ends it."""
        with self._changed:
            self._left = 0

    def strikes(self, key: int) -> Harm | None:
        """What happens to a request of the API `key`, if anything. It counts as hit then."""
        with self._changed:
            if self._left == 0 or self._key not in (None, key):
                return None
            if self._left is not None:
                self._left -= 1
            self._hits += 1
            self._changed.notify_all()
            return self._harm

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.heal()
