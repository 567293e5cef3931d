"""What a test asks of a broker: kept open for the session, for connecting costs more than asking."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from ottla.deadletters.letter import OPEN, DeadLetter
from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.kafka.record import Headers, Record
from ottla.kafka.tap import Tap
from ottla.listeners.deadletter import dead_letter_topic
from ottla.registry.client import RegistryClient
from ottla.serde.deserializer import Deserializer
from ottla.settings import KafkaSettings

PATIENCE_S = 30.0


class Inspector:
    """Blocking; thread-safe. All names are those in the cluster.

    Args:
        bootstrap_servers: The broker; not through its door of faults.
        registry_url: The schema registry.
    """

    def __init__(self, bootstrap_servers: str, registry_url: str) -> None:
        self._kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
        self.registry_url = registry_url
        self.deserializer = Deserializer(RegistryClient(registry_url))
        self._admin = Admin(self._kafka, timeout_s=PATIENCE_S)
        self._tap: Tap | None = None
        self._producer: Producer | None = None
        self._lock = threading.Lock()

    def prepare(self, group: str, topics: Iterable[str], others: Iterable[str], partitions: int) -> None:
        """Makes topics (and others), and lets the group begin at their first records.

        A group that has committed nothing begins there too, but the client library thinks it over for a tenth of a
        second.
        """
        names = sorted(topics)
        self._admin.ensure_topics(dict.fromkeys([*names, *others], partitions))
        committed = self._admin.committed(group)  # of a run before this one, in the same test
        places = [(name, partition) for name in names for partition in range(partitions)]
        if new := {place: 0 for place in places if place not in committed}:
            self._admin.reset(group, new)

    def write(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Headers | None, partition: int
    ) -> None:
        """Writes a record as it is."""
        with self._lock:
            self._producer = self._producer or Producer(self._kafka, linger_ms=0)
            self._producer.send(topic, value, key=key, headers=headers, partition=partition)
            if self._producer.flush(PATIENCE_S):
                raise TimeoutError(f"topic {topic}: the record was not acknowledged within {PATIENCE_S:g} s")

    def records(self, *topics: str) -> list[Record]:
        """All committed records of those of the topics that exist, by topic, partition and offset."""
        starts = dict.fromkeys(self._admin.end_offsets(topics), 0)
        return sorted(self._read(starts), key=lambda one: (one.topic, one.partition, one.offset))

    def dead_letters(self, *topics: str) -> list[DeadLetter]:
        """The dead letters of topics."""
        return [DeadLetter.of(record, OPEN) for record in self.records(*map(dead_letter_topic, topics))]

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        """(topic, partition) to the offset the group has committed."""
        return self._admin.committed(group)

    def behind(self, group: str, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """(topic, partition) to the number of records that the group has not committed, where there are any."""
        # Committed first: what a record led to was acknowledged before the record was committed, so these ends count
        # it.
        committed = self._admin.committed(group)
        ends = self._admin.end_offsets(topics)
        late = {place: committed.get(place, 0) for place, end in ends.items() if committed.get(place, 0) < end}
        found: dict[tuple[str, int], int] = {}
        # The end may lie behind markers of transactions, which nobody commits.
        for record in self._read(late):
            place = record.topic, record.partition
            found[place] = found.get(place, 0) + 1
        return found

    def forget(self, prefix: str) -> None:
        """Deletes the topics whose names begin so."""
        if names := [name for name in self._admin.topics() if name.startswith(prefix)]:
            self._admin.delete_topics(names)

    def close(self) -> None:
        if self._tap is not None:
            self._tap.close()
        if self._producer is not None:
            self._producer.close()

    def _read(self, starts: dict[tuple[str, int], int]) -> list[Record]:
        if not starts:
            return []
        with self._lock:
            self._tap = self._tap or Tap(self._kafka)
            return self._tap.read(starts, timeout_s=PATIENCE_S)
