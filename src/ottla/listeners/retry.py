"""How often a failing handler is tried again, and how long it waits in between."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
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
class RetryTopics:
    """Further attempts through topics: the partition goes on meanwhile, and the attempts survive restarts.

    Attributes:
        delays: Seconds. `delays[n - 1]` is how long a record lies in `<topic>-retry-<n>` before it is tried once more.
        keep_key_order: Whether later records of the same key wait behind one that lies in a retry topic. They wait in
            `<topic>-retry-waiting`, and each has all of its own attempts (`ottla.listeners.parked` has the proof of
            order).
        only: Exceptions that go this way; after others the record is dead-lettered.
    """

    delays: Sequence[float]
    keep_key_order: bool = False
    only: tuple[type[BaseException], ...] = (Exception,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "delays", tuple(self.delays))
        if not self.delays or any(delay < 0 for delay in self.delays):
            raise ConfigurationError(
                f"RetryTopics(delays={list(self.delays)}): one wait in seconds per retry topic, at least one, none "
                f"below zero"
            )


@dataclass(frozen=True)
class Retry:
    """What happens when a handler raises.

    Attributes:
        attempts: Calls in place, the first included. 1 never retries in place. After the last one the record goes to
            the first retry topic, or, where there is none, to the dead-letter topic.
        backoff: Seconds to wait before each further attempt: `fixed`, `exponential`, or any function of the number of
            failures.
        fatal: Exceptions that are never retried: the record is dead-lettered at once.
        only: Exceptions that are retried in place; others are not (they may go to a retry topic still).
        topics: Retry topics, for attempts that nothing waits for.
    """

    attempts: int = 3
    backoff: Backoff = field(default_factory=lambda: exponential(0.1, 10.0))
    fatal: tuple[type[BaseException], ...] = (DecodeError, EncodeError, EventDefinitionError)
    only: tuple[type[BaseException], ...] = (Exception,)
    topics: RetryTopics | None = None

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigurationError(
                f"Retry(attempts={self.attempts}): a handler is called at least once; attempts counts that call too"
            )

    @property
    def attempts_in_all(self) -> int:
        """Calls in place and one from each retry topic."""
        return self.attempts + (len(self.topics.delays) if self.topics is not None else 0)

    def again_in(self, error: BaseException, failures: int) -> float | None:
        """Seconds until the next attempt in place, or None if there is none."""
        if failures >= self.attempts or isinstance(error, self.fatal) or not isinstance(error, self.only):
            return None
        return max(0.0, self.backoff(failures))

    def later_in(self, error: BaseException, parks: int) -> float | None:
        """Seconds the record is to lie in the next retry topic, or None if it is to be dead-lettered.

        Args:
            error: What the handler raised.
            parks: In how many retry topics it lay for a failure of its own.
        """
        topics = self.topics
        if topics is None or parks >= len(topics.delays) or isinstance(error, self.fatal):
            return None
        return topics.delays[parks] if isinstance(error, topics.only) else None
