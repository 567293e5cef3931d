"""Counts what came out against what went in. Knows nothing of how the service works."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from ottla import Settings
from ottla.kafka.reader import read_topic
from ottla.serde import Deserializer


class Findings:
    """What a reader of committed records finds in the sink, and what is wrong with it."""

    def __init__(self, settings: Settings, deserializer: Deserializer, sink: str, given: dict[str, list[int]]) -> None:
        self.taken: dict[str, list[int]] = defaultdict(list)
        for record in sorted(read_topic(settings.kafka, sink), key=lambda one: (one.partition, one.offset)):
            value: Any = deserializer.decode_to_dict(record.value or b"")
            self.taken[value["key"]].append(value["number"])
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
