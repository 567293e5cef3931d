"""Who commits offsets, and what a group says to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ottla.broker.wire.errors import ErrorCode

Check = Callable[[tuple[bytes, int]], "ErrorCode | None"]
"""Whether offsets of a partition (topic id, number) may be committed: None if so."""


@dataclass(frozen=True)
class Committer:
    """The sender of an OffsetCommit or TxnOffsetCommit, in its own words.

    Attributes:
        epoch: Its generation or member epoch; negative from outside of any group.
        version: The version of OffsetCommit.
        transactional: Whether the offsets are part of a transaction.
    """

    member_id: str
    instance_id: str | None
    epoch: int
    version: int = 9
    transactional: bool = False

    @property
    def is_nobody(self) -> bool:
        """Whether it names neither a member nor a generation, as older clients' transactions do."""
        return self.epoch == -1 and not self.member_id and self.instance_id is None
