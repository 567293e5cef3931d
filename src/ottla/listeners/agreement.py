"""What the handlers of one topic must agree on: its order, its transactions, its retry topics."""

from __future__ import annotations

from collections.abc import Iterable

from ottla.errors import ConfigurationError
from ottla.listeners.declaration import Listener
from ottla.listeners.order import Order
from ottla.listeners.retry import RetryTopics
from ottla.listeners.ticket import WAITING, retry_topic


def exact_topics(listeners: Iterable[Listener]) -> frozenset[str]:
    """The topics whose handlers want their outputs and offsets in one transaction.

    Raises:
        ConfigurationError: The handlers of a topic do not agree.
    """
    wanted: dict[str, Listener] = {}
    for listener in listeners:
        for topic in listener.topics:
            other = wanted.setdefault(topic, listener)
            if other.exactly_once != listener.exactly_once:
                raise ConfigurationError(
                    f"handlers {other.name} (exactly_once={other.exactly_once}) and {listener.name} "
                    f"(exactly_once={listener.exactly_once}) both listen to {topic}: its offsets can be committed in "
                    f"one way only, give both the same"
                )
    return frozenset(topic for topic, listener in wanted.items() if listener.exactly_once)


def order_of(topic: str, listeners: Iterable[Listener]) -> Order:
    """The order in which a topic's records are handled.

    Raises:
        ConfigurationError: The handlers do not agree.
    """
    here = [one for one in listeners if topic in one.topics]
    for one in here:
        if one.order != here[0].order:
            raise ConfigurationError(
                f"handlers {here[0].name} (order={here[0].order}) and {one.name} (order={one.order}) both listen to "
                f"{topic}: its records can be handled in one order only, give both the same"
            )
    return here[0].order


class RetryPlan:
    """The retry topics of an app.

    Attributes:
        topics: The topics that have some, with what their handlers say.
        levels: Each retry topic, with the topic it belongs to and its number (1, 2, ...; `WAITING` for the one in
            which records wait for others of their key).

    Raises:
        ConfigurationError: Handlers of a topic do not agree, or want an order that there is not.
    """

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self.topics: dict[str, RetryTopics] = {}
        self.levels: dict[str, tuple[str, int]] = {}
        said: dict[str, Listener] = {}
        for listener in listeners:
            topics = listener.retry.topics
            if topics is None:
                continue
            for topic in sorted(listener.topics):
                other = said.setdefault(topic, listener)
                self._check(topic, other, listener)
                self.topics[topic] = topics
                for level in _levels(topics):
                    self.levels[retry_topic(topic, level)] = (topic, level)

    def names(self, topic: str) -> list[str]:
        """The retry topics of a topic."""
        found = self.topics.get(topic)
        return [retry_topic(topic, level) for level in _levels(found)] if found else []

    def is_waiting(self, topic: str) -> bool:
        """Whether records wait for others of their key in a topic."""
        return topic in self.levels and self.levels[topic][1] == WAITING

    def keeps_order(self, topic: str) -> bool:
        found = self.topics.get(topic)
        return found is not None and found.keep_key_order

    @staticmethod
    def _check(topic: str, one: Listener, other: Listener) -> None:
        first, second = one.retry.topics, other.retry.topics
        assert first is not None, "asked for handlers that have retry topics"
        assert second is not None, "the same"
        if (first.delays, first.keep_key_order) != (second.delays, second.keep_key_order):
            raise ConfigurationError(
                f"handlers {one.name} and {other.name} both listen to {topic} and want other retry topics: give both "
                f"the same delays and the same keep_key_order"
            )
        if second.keep_key_order and other.order.parallel > 1 and not other.order.by_key:
            raise ConfigurationError(
                f"handler {other.name}: keep_key_order=True with order={other.order}, which keeps no order: take "
                f"per_key({other.order.parallel})"
            )


def _levels(topics: RetryTopics) -> range:
    return range(WAITING if topics.keep_key_order else 1, len(topics.delays) + 1)
