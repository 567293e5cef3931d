"""Contract: connections, framing and version negotiation, with bytes sent by hand."""

from __future__ import annotations

import struct

import pytest

from ottla.testing import Broker
from tests.contracts import wire
from tests.contracts.wire import Connection

# What librdkafka 2.x, aiokafka and the Java clients of the 4.x line ask for: (API key, version).
ASKED_FOR = {
    "librdkafka": [
        (0, 10), (1, 16), (2, 7), (3, 13), (8, 9), (9, 9), (10, 2), (11, 5), (12, 3), (13, 1), (14, 3), (18, 3),
        (19, 4), (20, 4), (21, 2), (22, 4), (32, 1), (37, 2), (42, 2),
    ],
    "aiokafka": [(0, 7), (1, 11), (2, 3), (3, 5), (8, 3), (9, 3), (11, 5), (18, 0), (19, 3)],
}  # fmt: skip


def test_api_versions_lists_itself(connection: Connection) -> None:
    lowest, highest = wire.api_versions(connection)[wire.API_VERSIONS]
    assert lowest == 0
    assert highest >= 3


@pytest.mark.parametrize("client", ASKED_FOR)
def test_every_version_a_client_asks_for_is_offered(connection: Connection, client: str) -> None:
    offered = wire.api_versions(connection)
    absent = [(key, v) for key, v in ASKED_FOR[client] if not offered.get(key, (0, -1))[0] <= v <= offered[key][1]]
    assert absent == []


def test_produce_is_offered_from_version_0_so_that_old_librdkafka_compresses(connection: Connection) -> None:
    assert wire.api_versions(connection)[wire.PRODUCE][0] == 0


@pytest.mark.parametrize("key", [29, 30, 31])
def test_the_oldest_version_of_acls_is_not_offered_any_more(connection: Connection, key: int) -> None:
    assert wire.api_versions(connection)[key] == (1, 3)


@pytest.mark.parametrize("version", [5, 99, 32767])
def test_an_unknown_version_of_api_versions_gets_an_answer_of_version_0(connection: Connection, version: int) -> None:
    answer = connection.ask(wire.API_VERSIONS, version, b"\x00\x00\x00\x00")
    assert answer.int16() == wire.UNSUPPORTED_VERSION
    assert wire.API_VERSIONS in wire.read_api_versions(answer)


def test_after_an_unknown_version_of_api_versions_the_connection_still_serves(connection: Connection) -> None:
    connection.ask(wire.API_VERSIONS, 99, b"\x00")
    assert wire.api_versions(connection)


def test_the_flexible_answer_to_api_versions_has_no_tags_in_its_header(connection: Connection) -> None:
    compact_ascii = b"\x05test"
    # Version 3 has a flexible request header: a tag section follows the client id.
    answer = connection.ask(wire.API_VERSIONS, 3, b"\x00" + compact_ascii + compact_ascii + b"\x00")
    assert answer.int16() == wire.NONE
    keys = []
    for _ in range(answer.uvarint() - 1):
        keys.append(answer.int16())
        answer.int32()
        assert answer.uvarint() == 0
    assert wire.API_VERSIONS in keys


def test_an_unknown_api_closes_the_connection(connection: Connection) -> None:
    connection.send(9999, 0, b"")
    assert connection.closed_by_broker()


def test_an_unsupported_version_of_a_known_api_closes_the_connection(connection: Connection) -> None:
    connection.send(wire.METADATA, 99, b"\x00\x00\x00\x00")
    assert connection.closed_by_broker()


@pytest.mark.parametrize("size", [0x7FFFFFFF, 200 * 1024 * 1024, -1])
def test_a_request_of_impossible_size_closes_the_connection(connection: Connection, size: int) -> None:
    connection.send_bytes(struct.pack(">i", size) + b"\x00" * 16)
    assert connection.closed_by_broker()


def test_a_body_that_ends_too_early_closes_the_connection(connection: Connection) -> None:
    five_topics_of_which_none_follows = struct.pack(">i", 5)
    connection.send(wire.METADATA, 1, five_topics_of_which_none_follows)
    assert connection.closed_by_broker()


def test_an_array_longer_than_any_request_closes_the_connection(connection: Connection) -> None:
    connection.send(wire.METADATA, 1, struct.pack(">i", 0x7FFFFFFF))
    assert connection.closed_by_broker()


def test_a_broken_connection_leaves_others_alone(broker: Broker, connection: Connection) -> None:
    with Connection(broker) as other:
        other.send_bytes(struct.pack(">i", -1))
        assert other.closed_by_broker()
    assert wire.api_versions(connection)


def test_a_request_in_single_bytes_is_answered(connection: Connection) -> None:
    for byte in wire.request(wire.API_VERSIONS, 0, 7, b""):
        connection.send_bytes(bytes([byte]))
    assert connection.receive()[0] == 7


def test_pipelined_requests_are_answered_in_order(connection: Connection) -> None:
    correlations = [41, 7, 2_147_483_647, -1, 12]
    connection.send_bytes(b"".join(wire.request(wire.API_VERSIONS, 0, number, b"") for number in correlations))
    assert [connection.receive()[0] for _ in correlations] == correlations


def test_an_answer_waits_for_the_long_poll_before_it(connection: Connection, topic: str) -> None:
    long_poll = connection.send(wire.FETCH, 11, wire.fetch_body(topic, 0, max_wait_ms=400))
    behind_it = connection.send(wire.API_VERSIONS, 0, b"")
    assert [connection.receive()[0], connection.receive()[0]] == [long_poll, behind_it]


def test_a_request_without_a_client_id_is_answered(connection: Connection) -> None:
    sent = connection.send(wire.API_VERSIONS, 0, b"", client_id=None)
    assert connection.receive()[0] == sent
