"""What a group subscribes to: names and patterns of its members, against the topics there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Protocol

from ottla.broker.groups.consumer.member import ConsumerMember
from ottla.broker.groups.consumer.topic_regex import TopicRegex


class TopicLike(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def id(self) -> bytes: ...
    @property
    def partitions(self) -> Sized: ...


class Topics(Protocol):
    """The broker's topics. `changes` counts everything that happens to them."""

    @property
    def topics(self) -> Mapping[str, TopicLike]: ...
    @property
    def by_id(self) -> Mapping[bytes, TopicLike]: ...
    @property
    def changes(self) -> int: ...


class Subscriptions:
    """Resolves subscriptions. Patterns are matched anew only when topics have changed."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._at = -1
        self._may_see: Callable[[str], bool] | None = None
        self._matches: dict[str, frozenset[str]] = {}

    def see(self, may_see: Callable[[str], bool] | None, *, anew: bool) -> None:
        """What patterns may match from now on: what the member may know of that caused them to be matched, as in Kafka.

        Args:
            may_see: Whether a topic may be known to exist; None: all may.
            anew: Whether patterns are to be matched again, though topics have not changed.
        """
        self._may_see = may_see
        if anew and may_see is not None:
            self._matches.clear()

    def names_of(self, member: ConsumerMember) -> set[str]:
        """The existing topics a member subscribes to, by name."""
        names = {name for name in member.topics if name in self._topics.topics}
        return names | self._matching(member.regex) if member.regex else names

    def ids_of(self, member: ConsumerMember) -> frozenset[bytes]:
        return frozenset(self._topics.topics[name].id for name in self.names_of(member))

    def counts(self, members: Iterable[ConsumerMember]) -> dict[bytes, int]:
        """The numbers of partitions of all topics that any member subscribes to, in the order of the topics' names."""
        names: set[str] = set()
        for member in members:
            names |= self.names_of(member)
        topics = [self._topics.topics[name] for name in sorted(names)]
        return {topic.id: len(topic.partitions) for topic in topics}

    def digest(self, members: Iterable[ConsumerMember]) -> str:
        """A short text that changes when a subscribed topic comes, goes, is made anew or grows; empty for none."""
        members = list(members)
        counts = self.counts(members)
        parts = [f"{topic.hex()}:{count}" for topic, count in counts.items()]
        for pattern in sorted({member.regex for member in members if member.regex}):
            parts.append(f"{pattern}:{sorted(self._matching(pattern))}")
        if not counts:
            return ""
        from hashlib import blake2b  # only for groups of the new protocol: it costs start-up time and memory

        return blake2b(";".join(parts).encode(), digest_size=8).hexdigest()

    def _matching(self, pattern: str) -> frozenset[str]:
        if self._at != self._topics.changes:
            self._at = self._topics.changes
            self._matches.clear()
        found = self._matches.get(pattern)
        if found is None:
            compiled = TopicRegex(pattern)
            names = (name for name in self._topics.topics if self._may_see is None or self._may_see(name))
            found = frozenset(name for name in names if compiled.matches(name))
            self._matches[pattern] = found
        return found
