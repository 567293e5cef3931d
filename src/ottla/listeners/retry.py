"""How often a failing handler is tried again, and how long it waits in between."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from ottla.errors import ConfigurationError, DecodeError, EncodeError, EventDefinitionError

Backoff = Callable[[int], float]
"""Given the number of failed attempts (1, 2, ...), the seconds to wait before the next one."""


def fixed(seconds: float) -> Backoff:
    """The same wait each time."""
    return lambda failures: seconds


def exponential(first: float, longest: float, *, factor: float = 2.0, jitter: float = 0.2) -> Backoff:
    """Waits that grow.

    Args:
        first: Seconds after the first failure.
        longest: No wait is longer than this many seconds.
        factor: Each wait is this many times the one before.
        jitter: Each wait is shortened or lengthened by up to this share, so that services that failed together
            do not come back together. 0 for none.
    """

    def wait(failures: int) -> float:
        # The exponent is capped: 2.0 ** 5000 overflows, and the answer has long been `longest`.
        plain = min(longest, first * factor ** min(failures - 1, 64))
        return min(longest, plain * (1 + random.uniform(-jitter, jitter)))

    return wait


@dataclass(frozen=True)
class Retry:
    """What happens when a handler raises.

    Attributes:
        attempts: Calls in all, the first included. 1 never retries. After the last one the record goes to the
            dead-letter topic.
        backoff: Seconds to wait before each further attempt.
        fatal: Exceptions that are never retried: the record is dead-lettered at once.
    """

    attempts: int = 3
    backoff: Backoff = field(default_factory=lambda: exponential(0.1, 10.0))
    fatal: tuple[type[BaseException], ...] = (DecodeError, EncodeError, EventDefinitionError)

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigurationError(
                f"Retry(attempts={self.attempts}): a handler is called at least once; attempts counts that call too"
            )

    def again_in(self, error: BaseException, failures: int) -> float | None:
        """Seconds until the next attempt, or None if there is none."""
        if failures >= self.attempts or isinstance(error, self.fatal):
            return None
        return max(0.0, self.backoff(failures))
