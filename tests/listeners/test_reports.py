from __future__ import annotations

import gc
from typing import Any

from ottla.kafka.record import RecordMetadata
from ottla.listeners.publisher import _Many, _OfMany


class _Producer:
    def __init__(self) -> None:
        self.asked: list[Any] = []

    def again(self, error: Any, message: Any, report: Any) -> bool:
        self.asked.append(report)
        return bool(error == "purged")


class _Delivered:
    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return 1, 99


async def test_events_published_together_are_done_when_each_is_acknowledged_or_refused() -> None:
    producer: Any = _Producer()
    many = _Many(producer, 3)
    reports = [_OfMany(many, number, "orders") for number in range(3)]
    reports[2](None, _Delivered())
    reports[0]("purged", _Delivered())  # It is sent again, and reported again.
    assert (many.left, producer.asked) == (2, [reports[0]])
    reports[1]("too large", _Delivered())
    reports[0](None, _Delivered())
    await many.done.wait()
    found = RecordMetadata("orders", 3, 7, 99)
    assert many.metadata == [found, None, found]
    assert many.refusals == ["topic orders: too large"]


def test_the_garbage_collector_does_not_look_at_delivery_reports() -> None:
    assert not gc.is_tracked(_OfMany([], 0, "orders"))
