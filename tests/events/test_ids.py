"""Event ids."""

from __future__ import annotations

import time
import uuid

import pytest

from ottla.events import derived_event_id, new_event_id
from ottla.events.ids import new_event_ids


def test_new_ids_are_unique_uuids_of_version_7() -> None:
    ids = [new_event_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    parsed = uuid.UUID(ids[0])
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert str(parsed) == ids[0]


def test_new_ids_sort_by_the_millisecond_they_were_made_in() -> None:
    ids = [new_event_id() for _ in range(1000)]
    assert [i[:13] for i in ids] == sorted(i[:13] for i in ids)


def test_an_id_tells_the_millisecond_it_was_made_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for millis in (1_700_000_000_000, 1_700_000_000_000, 1_700_000_000_001, 1_600_000_000_000):
        monkeypatch.setattr(time, "time_ns", lambda now=millis: now * 1_000_000 + 999_999)
        for one in (new_event_id(), *new_event_ids(2)):
            assert uuid.UUID(one).int >> 80 == millis


def test_a_derived_id_depends_on_its_inputs_alone() -> None:
    assert derived_event_id("cause", "service", "handler", "T", "0") == derived_event_id(
        "cause", "service", "handler", "T", "0"
    )
    # Written down: another value would give every redelivered record new ids after an upgrade.
    assert derived_event_id("cause", "service", "0") == "3c05a216-5bd5-5f6a-a734-1ae5f34f7f26"
    assert uuid.UUID(derived_event_id("cause")).version == 5


def test_derived_ids_differ_where_any_part_differs() -> None:
    inputs = [("a",), ("a", ""), ("a", "b"), ("ab",), ("", "ab"), ("a", "b", "c"), ("a", "bc"), ("1:a",), ("a", "1:b")]
    assert len({derived_event_id(*parts) for parts in inputs}) == len(inputs)


def test_any_text_can_be_a_cause() -> None:
    assert derived_event_id("grün \ud800 \0")


def test_many_ids_at_once_are_as_good_as_single_ones() -> None:
    ids = list(new_event_ids(1000))
    assert len(set(ids)) == 1000
    for one in ids:
        parsed = uuid.UUID(one)
        assert str(parsed) == one
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
