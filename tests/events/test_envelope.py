"""The envelope travels in CloudEvents headers, and reading it never fails on what others wrote."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ottla.events import Envelope, envelope_headers, read_envelope
from ottla.events.envelope import read_flow, time_now

TIME = datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ENVELOPE = Envelope("id-1", "shop.OrderCreated", "orders", TIME, "flow-1", "cause-1")


def test_an_envelope_is_written_as_cloudevents_binary_headers() -> None:
    assert envelope_headers(ENVELOPE) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"id-1"),
        ("ce_type", b"shop.OrderCreated"),
        ("ce_source", b"orders"),
        ("ce_time", b"2020-01-02T03:04:05.678901Z"),
        ("content-type", b"application/avro"),
        ("ce_correlationid", b"flow-1"),
        ("ce_causationid", b"cause-1"),
    ]


def test_the_time_of_a_new_envelope_is_that_of_the_clock_to_a_millisecond() -> None:
    for _ in range(3):
        before = time.time_ns()
        told = datetime.fromisoformat(time_now().decode())
        assert timedelta(milliseconds=-1) < told - datetime.fromtimestamp(before / 1e9, UTC) < timedelta(seconds=20)
        while time.time_ns() // 1_000_000 == before // 1_000_000:
            pass


@pytest.mark.parametrize("causation_id", ["cause-1", None])
def test_an_envelope_comes_back(causation_id: str | None) -> None:
    envelope = Envelope("id-1", "T", "grün", TIME.replace(microsecond=0), "flow-1", causation_id)
    assert read_envelope(envelope_headers(envelope)) == envelope


def test_a_time_in_another_zone_is_the_same_instant_in_utc() -> None:
    local = TIME.astimezone(timezone(timedelta(hours=5, minutes=30)))
    found = read_envelope(envelope_headers(Envelope("i", "t", "s", local, "c")))
    assert found is not None
    assert (found.time, found.time.tzinfo) == (TIME, UTC)


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="must be aware"):
        envelope_headers(Envelope("i", "t", "s", datetime(2020, 1, 1), "c"))


@pytest.mark.parametrize("headers", [None, [], [("ce_type", b"T")], [("ce_id", None)], [("ce_id", b"")]])
def test_a_record_without_an_event_id_has_no_envelope(headers: list[tuple[str, bytes | None]] | None) -> None:
    assert read_envelope(headers) is None


def test_an_event_of_another_producer_needs_only_an_id() -> None:
    received = datetime(2021, 1, 1, tzinfo=UTC)
    found = read_envelope([("ce_id", b"x"), ("ce_time", b"yesterday")], received_at=received)
    assert found == Envelope("x", "", "", received, "x", None)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        (b"2020-01-02T03:04:05Z", TIME.replace(microsecond=0)),
        (b"2020-01-02T05:04:05.678901+02:00", TIME),
        (b"2020-01-02T03:04:05.678901234Z", TIME),
        (b"2020-01-02T03:04:05", TIME.replace(microsecond=0)),
    ],
)
def test_times_of_other_producers_are_read(text: bytes, time: datetime) -> None:
    found = read_envelope([("ce_id", b"x"), ("ce_time", text)])
    assert found is not None
    assert found.time == time


def test_headers_that_are_not_utf8_do_not_stop_the_reader() -> None:
    found = read_envelope([("ce_id", b"x"), ("ce_source", b"\xff"), ("other", b"\xff"), ("ce_time", b"\xff")])
    assert found is not None
    assert found.source == "\ufffd"


def test_a_header_given_twice_counts_with_its_last_value() -> None:
    found = read_envelope([("ce_id", b"first"), ("ce_id", b"last")])
    assert found is not None
    assert found.id == "last"


@pytest.mark.parametrize(
    "headers",
    [
        None,
        [],
        [("ce_type", b"x")],
        [("ce_id", b"")],
        [("ce_id", b"a")],
        [("ce_id", b"a"), ("ce_correlationid", b"b")],
        [("ce_id", b"a"), ("ce_id", b"c"), ("ce_correlationid", None)],
        [("ce_id", "text"), ("ce_correlationid", b"\xff")],
    ],
)
def test_the_ids_of_a_flow_are_those_of_the_envelope(headers: list[tuple[str, str | bytes | None]] | None) -> None:
    envelope = read_envelope(headers)
    assert read_flow(headers) == (envelope and (envelope.id, envelope.correlation_id))
