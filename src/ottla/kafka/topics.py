"""The topics a service needs: created where it may, missed aloud where it may not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from ottla.errors import BrokerUnavailable, KafkaError
from ottla.kafka.admin import Admin
from ottla.settings import KafkaSettings

LOOK_TIMEOUT_S = 2.0

T = TypeVar("T")


class ServiceTopics:
    """Makes sure that topics exist. Thread-safe, blocking; it connects when it is first asked.

    Args:
        settings: `create_topics` decides whether missing ones are created, with `topic_partitions` partitions.
        log: Where it says what it created.
    """

    def __init__(self, settings: KafkaSettings, log: logging.Logger) -> None:
        self._settings = settings
        self._log = log
        self._admin: Admin | None = None

    def named(self, topic: str) -> str:
        """What a topic is called in the cluster: with `kafka.prefix`."""
        return self._settings.named(topic)

    def exists(self, topic: str) -> bool:
        """Whether a topic is there. Raises BrokerUnavailable, KafkaError as `ensure`."""
        return self._ask(lambda admin: topic in admin.topics(internal=True))

    def ensure(
        self,
        topics: Iterable[str],
        *,
        companions: Mapping[str, str] | None = None,
        twins: Mapping[str, str] | None = None,
    ) -> None:
        """Makes sure that `topics` exist.

        Args:
            topics: Names.
            companions: Further topics (name to the topic whose partition count they share); where topics may not be
                created, a missing companion is not an error: it may never be needed.
            twins: Topics that must exist (name to the topic whose partition count they must have).

        Raises:
            BrokerUnavailable: No broker answers; nothing is known.
            KafkaError: One is missing and may not, or could not, be created; or a twin has another partition count.
        """
        names = list(topics)
        self._ask(lambda admin: self._ensure(admin, names, companions or {}, twins or {}))

    def _ensure(
        self, admin: Admin, topics: Iterable[str], companions: Mapping[str, str], twins: Mapping[str, str]
    ) -> None:
        wanted = [*topics, *twins]
        existing = admin.topics(internal=True)
        if not self._settings.create_topics:
            missing = sorted(set(wanted) - existing.keys())
            if missing:
                raise KafkaError(
                    f"topics {', '.join(missing)} do not exist at {self._settings.bootstrap_servers}, and "
                    f"kafka.create_topics is off: create them, for example with `ottla topic create`"
                )
            _compare(twins, existing)
            return
        counts = dict.fromkeys(wanted, self._settings.topic_partitions)
        for name, beside in {**companions, **twins}.items():
            counts[name] = existing.get(beside, self._settings.topic_partitions)
        created = admin.ensure_topics(counts)
        if created:
            self._log.info("created topics %s", ", ".join(created))
        _compare(twins, counts | existing)

    def _ask(self, question: Callable[[Admin], T]) -> T:
        if self._admin is None:
            self._admin = Admin(self._settings, timeout_s=LOOK_TIMEOUT_S)
            return question(self._admin)
        try:
            return question(self._admin)
        except BrokerUnavailable:
            return question(self._admin)  # whose client may have lost the brokers, and is a new one now


def _compare(twins: Mapping[str, str], counts: Mapping[str, int]) -> None:
    for name, beside in twins.items():
        if counts[name] != counts[beside]:
            raise KafkaError(
                f"topic {name} has {counts[name]} partitions and {beside} has {counts[beside]}: they must have the "
                f"same number, for records go from each to the partition of the same number. Add partitions to the one "
                f"that has fewer"
            )
