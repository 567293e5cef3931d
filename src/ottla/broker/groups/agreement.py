"""What the members of a classic group have in common: the assignor that is to be used, and the topics they read."""

from __future__ import annotations

from collections.abc import Iterable

from ottla.broker.groups.consumer_protocol import PROTOCOL_TYPE, Malformed, read_subscription
from ottla.broker.groups.member import Member


def common_protocols(names: Iterable[str], members: Iterable[Member]) -> set[str]:
    """Those of the named assignors that all members know."""
    common = set(names)
    for member in members:
        common &= {name for name, _ in member.protocols}
    return common


def vote(members: list[Member]) -> str:
    """Each member votes for its best assignor among those all share."""
    common = common_protocols([name for name, _ in members[0].protocols], members)
    votes: dict[str, int] = {}
    for member in members:
        choice = next(name for name, _ in member.protocols if name in common)
        votes[choice] = votes.get(choice, 0) + 1
    return max(votes, key=lambda name: votes[name])


def subscribed_topics(protocol_type: str | None, protocol: str | None, members: Iterable[Member]) -> set[str] | None:
    """The topics that members read; None if nobody can know."""
    if protocol_type != PROTOCOL_TYPE:
        return None
    try:
        metadata = [read_subscription(member.metadata(protocol)) for member in members]
    except Malformed:
        return None  # a plug-in's own format: nothing to learn from it
    return {topic for one in metadata for topic in one.topics}
