"""The topics a service needs: created where it may, missed aloud where it may not."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from ottla.errors import KafkaError
from ottla.kafka.admin import Admin
from ottla.settings import KafkaSettings

LOOK_TIMEOUT_S = 2.0


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

    def ensure(self, topics: Iterable[str], *, companions: Mapping[str, str] | None = None) -> None:
        """Makes sure that `topics` exist.

        Args:
            topics: Names.
            companions: Further topics (name to the topic whose partition count they share); where topics may not be
                created, a missing companion is not an error: it may never be needed.

        Raises:
            BrokerUnavailable: No broker answers; nothing is known.
            KafkaError: One is missing and may not, or could not, be created.
        """
        if self._admin is None:
            self._admin = Admin(self._settings, timeout_s=LOOK_TIMEOUT_S)
        wanted = list(topics)
        existing = self._admin.topics(internal=True)
        if not self._settings.create_topics:
            missing = sorted(set(wanted) - existing.keys())
            if missing:
                raise KafkaError(
                    f"topics {', '.join(missing)} do not exist at {self._settings.bootstrap_servers}, and "
                    f"kafka.create_topics is off: create them, for example with `ottla topic create`"
                )
            return
        counts = dict.fromkeys(wanted, self._settings.topic_partitions)
        for name, beside in (companions or {}).items():
            counts[name] = existing.get(beside, self._settings.topic_partitions)
        created = self._admin.ensure_topics(counts)
        if created:
            self._log.info("created topics %s", ", ".join(created))
