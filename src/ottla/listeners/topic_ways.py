"""How the records of each topic are handled; those of a retry topic as those of the topic it belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from ottla.listeners.agreement import RetryPlan, exact_topics, order_of
from ottla.listeners.declaration import Listener
from ottla.listeners.exactly_once import FEED, WAITING_WINDOW, WINDOW
from ottla.listeners.order import Order


class TopicWays:
    """What a runner's handlers say of their topics.

    Attributes:
        topics: Those that were subscribed to: retry topics are in the other attributes only.
        orders, batches: By topic: the order, and how many records a handler is given at once.
        asynchronous, exact, own_commits: The topics with a coroutine among their handlers; those that are handled
            exactly once; those whose handlers commit for themselves.

    Args:
        listeners: The handlers.
        plan: Which topics have retry topics.

    Raises:
        ConfigurationError: The handlers of a topic want it in different ways.
    """

    def __init__(self, listeners: Sequence[Listener], plan: RetryPlan | None) -> None:
        self._plan = plan
        self.topics = sorted(frozenset().union(*(one.topics for one in listeners)))
        self.orders: dict[str, Order] = {topic: order_of(topic, listeners) for topic in self.topics}
        self.batches = {topic: max(one.batch for one in listeners if topic in one.topics) for topic in self.topics}
        self.asynchronous = {topic for one in listeners if one.is_async for topic in one.topics}
        self.exact = set(exact_topics(listeners))
        # Handlers that commit for themselves do: two who commit the same could overtake each other.
        self.own_commits = {topic for one in listeners if one.ack in ("record", "batch") for topic in one.topics}
        for name, (topic, _) in plan.levels.items() if plan is not None else ():
            self.orders[name], self.batches[name] = self.orders[topic], self.batches[topic]
            for those in (self.asynchronous, self.exact, self.own_commits):
                if topic in those:
                    those.add(name)

    def home(self, topic: str) -> str:
        """The topic that a retry topic belongs to; any other is its own."""
        return self._plan.levels[topic][0] if self._plan is not None and topic in self._plan.levels else topic

    def waits(self, topic: str) -> bool:
        """Whether records wait for others of their key in a topic."""
        return self._plan is not None and self._plan.is_waiting(topic)

    def in_hand_max(self, topic: str, limit: int) -> int:
        """How many records of a partition may be unfinished, of `limit` that would be allowed."""
        if topic not in self.exact:
            return limit
        if self.waits(topic):
            return min(limit, WAITING_WINDOW)
        return min(limit, WINDOW) if self.orders[topic].parallel > 1 else limit

    def feed_max(self, limit: int) -> int:
        """How many records are taken from the client library at once, of `limit` that would be allowed."""
        careful = any(self.orders[topic].parallel > 1 or self.waits(topic) for topic in self.exact)
        return min(limit, FEED) if careful else limit
