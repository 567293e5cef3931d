"""Has everything come to rest? Asked of Kafka, not of the services: what a service has not committed is not done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ottla import Admin, KafkaSettings

Offsets = dict[tuple[str, int], int]


@dataclass(frozen=True)
class Look:
    """What one look found.

    Attributes:
        ends: Where the topics end.
        behind: How many records each service has still to finish.
        settled: Whether nothing will move any more by itself.
    """

    ends: Offsets
    behind: Mapping[str, int]
    settled: bool


class Quiet:
    """Looks at the topics and at the consumer groups of the services.

    Args:
        kafka: Where the topics are.
        listens: The topics each service (which is its consumer group's name too) listens to.
    """

    def __init__(self, kafka: KafkaSettings, listens: Mapping[str, Iterable[str]]) -> None:
        self._admin = Admin(kafka)
        self._listens = {service: frozenset(topics) for service, topics in listens.items()}
        self._topics: list[str] = sorted({topic for topics in self._listens.values() for topic in topics})

    def look(self) -> Look:
        """Looks now. Raises BrokerUnavailable where nobody answers.

        The ends are read before and after the commits: if all commits reach the first ends and the second ends are the
        same, then no handler was at work in between whose events were yet to come.
        """
        ends = self._ends()
        behind = {service: self._behind(service, topics, ends) for service, topics in self._listens.items()}
        settled = not any(behind.values()) and self._ends() == ends
        return Look(ends, behind, settled)

    def _ends(self) -> Offsets:
        return self._admin.end_offsets(self._topics)

    def _behind(self, service: str, topics: frozenset[str], ends: Offsets) -> int:
        committed = self._admin.committed(service)
        return sum(max(0, end - committed.get(place, 0)) for place, end in ends.items() if place[0] in topics)
