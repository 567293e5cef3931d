"""Counts what came out against what went in. Knows nothing of how the service works."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from ottla import Settings
from ottla.kafka.reader import read_topic
from ottla.serde import Deserializer


def taken_from(settings: Settings, deserializer: Deserializer, sink: str) -> list[tuple[str, int]]:
    """What a reader of committed records finds in a topic, in the order of its partitions."""
    found: list[tuple[str, int]] = []
    for record in sorted(read_topic(settings.kafka, sink), key=lambda one: (one.partition, one.offset)):
        value: Any = deserializer.decode_to_dict(record.value or b"")
        found.append((value["key"], value["number"]))
    return found


class Findings:
    """What is wrong with what came out, key by key.

    Args:
        came: Keys and numbers in their order.
        given: What went in.
    """

    def __init__(self, came: Iterable[tuple[str, int]], given: dict[str, list[int]]) -> None:
        self.taken: dict[str, list[int]] = defaultdict(list)
        for key, number in came:
            self.taken[key].append(number)
        self._given = given

    @property
    def count(self) -> int:
        return sum(map(len, self.taken.values()))

    @property
    def lost(self) -> list[tuple[str, int]]:
        return [
            (key, number)
            for key, numbers in self._given.items()
            for number in sorted(set(numbers) - set(self.taken.get(key, ())))
        ]

    @property
    def doubled(self) -> list[tuple[str, int]]:
        return [
            (key, number)
            for key, numbers in self.taken.items()
            for number, count in Counter(numbers).items()
            if count > 1
        ]

    @property
    def invented(self) -> list[tuple[str, int]]:
        return [
            (key, number)
            for key, numbers in self.taken.items()
            for number in sorted(set(numbers) - set(self._given.get(key, ())))
        ]

    @property
    def disordered(self) -> list[str]:
        """Keys whose numbers did not first come out in the order in which they went in. (A redelivery repeats some of
        them: that is doubling, not disorder.)"""
        return [key for key, numbers in self.taken.items() if list(dict.fromkeys(numbers)) != self._expected(key)]

    def _expected(self, key: str) -> list[int]:
        came = set(self.taken[key])
        return [number for number in self._given.get(key, ()) if number in came]
