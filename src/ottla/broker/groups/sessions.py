"""The sessions of a classic group's members: whoever is silent for too long is out."""

from __future__ import annotations

from collections.abc import Callable

from ottla.broker.groups.clock import Clock
from ottla.broker.groups.member import Member

NEW_MEMBER_TIMEOUT_MS = 300_000
"""How long a member that was never answered may wait for a rebalance: it may be gone, and cannot send heartbeats."""


class Sessions:
    """Timers, one per member.

    Args:
        clock: The time.
        is_member: Whether a member is still in the group.
        expired: Called with a member whose session has ended.
    """

    def __init__(self, clock: Clock, is_member: Callable[[Member], bool], expired: Callable[[Member], None]) -> None:
        self._clock = clock
        self._is_member = is_member
        self._expired = expired

    def touch(self, member: Member) -> None:
        """A sign of life: the session starts anew."""
        seconds = (NEW_MEMBER_TIMEOUT_MS if member.is_new else member.session_timeout_ms) / 1000
        member.deadline = self._clock.now() + seconds
        # One timer per member that looks again later, instead of one per heartbeat; unless it would look too late.
        if member.timer is None or member.deadline < member.timer_at:
            self._watch(member, seconds)

    def _watch(self, member: Member, seconds: float) -> None:
        if member.timer is not None:
            member.timer.cancel()
        member.timer_at = self._clock.now() + seconds
        member.timer = self._clock.call_later(seconds, lambda: self._look(member))

    def _look(self, member: Member) -> None:
        member.timer = None
        if not self._is_member(member):
            return
        left = member.deadline - self._clock.now()
        # Whoever waits for an answer cannot be expected to say anything meanwhile.
        if not member.is_new and (member.joining is not None or member.syncing is not None):
            left = max(left, member.session_timeout_ms / 1000)
        if left > 0:
            self._watch(member, left)
        else:
            self._expired(member)
