"""In what order, and how many at once, the records of a partition are handled."""

from __future__ import annotations

import msgspec

from ottla.errors import ConfigurationError

PARALLEL_MAX = 10_000


class Order(msgspec.Struct, frozen=True):
    """Made by `per_partition`, `per_key` and `unordered`.

    Attributes:
        parallel: The most records of one partition that are in hand at once.
        by_key: Whether records of one key follow each other.
    """

    parallel: int = 1
    by_key: bool = False

    def __str__(self) -> str:
        if self.parallel == 1 and not self.by_key:
            return "per_partition"
        return f"{'per_key' if self.by_key else 'unordered'}({self.parallel})"


per_partition = Order()
"""One after the other, in the order of the partition: the default."""


def per_key(parallel: int) -> Order:
    """Records of one key one after the other, also through retries; up to `parallel` keys of a partition at once.

    Records without a key have no order to keep. The position that is committed stays before the first unfinished
    record; which records beyond it are finished is kept with it, so that they are not handled again.

    Raises:
        ConfigurationError: `parallel` is not 1 to 10,000.
    """
    return Order(_checked("per_key", parallel), by_key=True)


def unordered(parallel: int) -> Order:
    """Up to `parallel` records of a partition at once, in whatever order they finish; committed as with `per_key`.

    Raises:
        ConfigurationError: `parallel` is not 1 to 10,000.
    """
    return Order(_checked("unordered", parallel))


def _checked(name: str, parallel: int) -> int:
    if not isinstance(parallel, int) or isinstance(parallel, bool) or not 1 <= parallel <= PARALLEL_MAX:
        raise ConfigurationError(
            f"order={name}({parallel!r}): how many records of a partition may be in hand at once, 1 to {PARALLEL_MAX}"
        )
    return parallel
