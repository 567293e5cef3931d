"""What topics are called, for those who write without Kafka."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ottla.kafka.topics import ServiceTopics


class TopicNames(ServiceTopics):
    """Leaves it to others that topics exist: whoever writes into an outbox does not need a broker."""

    def ensure(self, topics: Iterable[str], **_: Any) -> None:
        """Does nothing."""
