"""Contract: quotas are kept, described, and make those who use too much wait."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

import pytest

from tests.broker.batches import batch
from tests.broker.running import Client
from tests.contracts.clients import wait_until
from tests.contracts.security.acls import acl, grant
from tests.contracts.security.requests import connect_as
from tests.contracts.security.secured import World

INVALID_REQUEST, CLUSTER_DENIED, THROTTLING = 42, 31, 89
EXACT, DEFAULT, ANY = 0, 1, 2
RATE = 100_000
# Twice this is a fifth more than fits into the ten seconds that count; too much still if a slow machine takes two more.
HALF = 600_000


def entity(**names: str | None) -> list[dict[str, Any]]:
    return [{"entity_type": kind.replace("_", "-"), "entity_name": name} for kind, name in names.items()]


def alter(client: Client, of: list[dict[str, Any]], *, validate_only: bool = False, **values: float | None) -> int:
    ops = [{"key": key, "value": value or 0.0, "remove": value is None} for key, value in values.items()]
    answer = client.ask("AlterClientQuotas", 1, entries=[{"entity": of, "ops": ops}], validate_only=validate_only)
    (entry,) = answer["entries"]
    assert sorted(entry["entity"], key=str) == sorted(of, key=str)
    code: int = entry["error_code"]
    return code


def describe(client: Client, *components: tuple[str, int, str | None], strict: bool = True) -> list[dict[str, Any]]:
    wanted = [{"entity_type": kind, "match_type": how, "match": match} for kind, how, match in components]
    answer = client.ask("DescribeClientQuotas", 1, components=wanted, strict=strict)
    assert answer["error_code"] == 0
    entries: list[dict[str, Any]] = answer["entries"]
    return entries


def values(entries: list[dict[str, Any]]) -> dict[str, float]:
    (entry,) = entries
    return {one["key"]: one["value"] for one in entry["values"]}


def set_and_wait(world: World, user: str, **quotas: float) -> None:
    """Quotas of a user, in force: Apache Kafka's broker learns of them a moment after its controller."""
    client = world.connect()
    assert alter(client, entity(user=user), **quotas) == 0
    wait_until(lambda: describe(client, ("user", EXACT, user)), what="the quota is there")
    time.sleep(0.2)  # its description comes from the same image, but is applied by another thread
    client.close()


def test_quotas_are_described_as_they_were_set(world: World, user: str) -> None:
    client = world.connect()
    assert alter(client, entity(user=user), producer_byte_rate=1024.0, request_percentage=12.5) == 0
    found = wait_until(lambda: describe(client, ("user", EXACT, user)), what="the quota is there")
    assert values(found) == {"producer_byte_rate": 1024.0, "request_percentage": 12.5}
    assert found[0]["entity"] == entity(user=user)
    assert alter(client, entity(user=user), producer_byte_rate=None) == 0
    wait_until(
        lambda: values(describe(client, ("user", EXACT, user))) == {"request_percentage": 12.5}, what="one is gone"
    )
    assert alter(client, entity(user=user), request_percentage=None) == 0
    wait_until(lambda: describe(client, ("user", EXACT, user)) == [], what="all are gone")


def test_filters_are_exact_default_or_any_and_strict_or_not(world: World, user: str) -> None:
    client = world.connect()
    both = entity(user=user, client_id="c")
    assert alter(client, both, producer_byte_rate=1.0) == 0
    assert alter(client, entity(user=user), producer_byte_rate=2.0) == 0
    assert alter(client, entity(user=user, client_id=None), producer_byte_rate=3.0) == 0
    mine = ("user", EXACT, user)
    wait_until(lambda: len(describe(client, mine, strict=False)) == 3, what="three quotas")
    assert values(describe(client, mine)) == {"producer_byte_rate": 2.0}
    assert values(describe(client, mine, ("client-id", EXACT, "c"))) == {"producer_byte_rate": 1.0}
    assert values(describe(client, mine, ("client-id", DEFAULT, None))) == {"producer_byte_rate": 3.0}
    assert len(describe(client, mine, ("client-id", ANY, None))) == 2
    assert len([one for one in describe(client, strict=False) if entity(user=user)[0] in one["entity"]]) == 3
    for one in (both, entity(user=user), entity(user=user, client_id=None)):
        alter(client, one, producer_byte_rate=None)


def test_validating_changes_nothing(world: World, user: str) -> None:
    client = world.connect()
    assert alter(client, entity(user=user), validate_only=True, producer_byte_rate=1.0) == 0
    assert describe(client, ("user", EXACT, user)) == []


@pytest.mark.parametrize(
    ("of", "quotas"),
    [
        (entity(user="u"), {"no_such_key": 1.0}),
        (entity(user="u"), {"producer_byte_rate": -1.0}),
        (entity(user="u"), {"producer_byte_rate": 0.0}),
        (entity(user="u"), {"producer_byte_rate": 1.5}),
        (entity(user="u"), {"connection_creation_rate": 1.0}),
        (entity(ip="127.0.0.1"), {"producer_byte_rate": 1.0}),
        (entity(ip="not an address"), {"connection_creation_rate": 1.0}),
        (entity(ip="127.0.0.1", user="u"), {"connection_creation_rate": 1.0}),
        (entity(planet="mars"), {"producer_byte_rate": 1.0}),
        ([], {"producer_byte_rate": 1.0}),
    ],
    ids=["unknown key", "negative", "zero", "fraction", "a key of addresses", "a key of users", "no address",
         "address and user", "unknown type", "empty entity"],
)  # fmt: skip
def test_what_cannot_be_a_quota_is_refused(world: World, of: list[dict[str, Any]], quotas: dict[str, float]) -> None:
    assert alter(world.connect(), of, **quotas) == INVALID_REQUEST


def test_a_filter_that_makes_no_sense_is_refused(world: World) -> None:
    client = world.connect()
    for component in (
        {"entity_type": "", "match_type": ANY, "match": None},
        {"entity_type": "user", "match_type": 7, "match": None},
        {"entity_type": "user", "match_type": DEFAULT, "match": "x"},
    ):
        answer = client.ask("DescribeClientQuotas", 1, components=[component], strict=False)
        assert answer["error_code"] == INVALID_REQUEST, component


def test_quotas_are_settings_of_the_cluster(world: World, user: str) -> None:
    client = connect_as(world, user)
    assert alter(client, entity(user=user), producer_byte_rate=1.0) == CLUSTER_DENIED
    assert client.ask("DescribeClientQuotas", 1, components=[], strict=False)["error_code"] == CLUSTER_DENIED
    grant(world, acl(user, "describe_configs", "cluster"), acl(user, "alter_configs", "cluster"))
    assert alter(client, entity(user=user), producer_byte_rate=1.0) == 0
    assert alter(client, entity(user=user), producer_byte_rate=None) == 0


# --- what they do ---


@pytest.fixture
def client(world: World, user: str, topic_name: str) -> Client:
    """A client that may use a topic of its own, named like it."""
    admin = world.connect()
    wanted = {"name": topic_name, "num_partitions": 1, "replication_factor": 1}
    assert admin.ask("CreateTopics", 4, topics=[wanted])["topics"][0]["error_code"] == 0
    wait_until(lambda: admin.fetch(topic_name, 0)["error_code"] == 0, what="the partition is served")
    grant(world, acl(user, "all", "topic", topic_name))
    return connect_as(world, user)


def produced(client: Client, topic: str, size: int) -> int:
    """Produces so many bytes; gives the time to wait, in milliseconds."""
    data = [{"name": topic, "partition_data": [{"index": 0, "records": batch([b"x" * size])}]}]
    answer = client.ask("Produce", 9, acks=-1, timeout_ms=1000, topic_data=data)
    assert answer["responses"][0]["partition_responses"][0]["error_code"] == 0
    throttle: int = answer["throttle_time_ms"]
    return throttle


def fetched(client: Client, topic: str, offset: int) -> tuple[int, int]:
    """Fetches one batch; gives the time to wait and the number of bytes."""
    part = {"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1}
    topics = [{"topic": topic, "partitions": [part]}]
    answer = client.ask("Fetch", 11, max_wait_ms=100, min_bytes=1, max_bytes=1 << 20, topics=topics)
    size = sum(len(part["records"] or b"") for one in answer["responses"] for part in one["partitions"])
    return answer["throttle_time_ms"], size


def test_a_producer_above_its_rate_waits(world: World, user: str, client: Client, topic_name: str) -> None:
    set_and_wait(world, user, producer_byte_rate=RATE)
    assert produced(client, topic_name, HALF) == 0
    wait_ms = produced(client, topic_name, HALF)
    assert 50 < wait_ms < 3000, "at most about 20 % of ten seconds"
    begun = time.monotonic()
    client.ask("Metadata", 9, topics=[])
    assert time.monotonic() - begun > wait_ms / 1000 * 0.7, "nothing is read from who has to wait"


def test_a_consumer_above_its_rate_gets_its_records_later(
    world: World, user: str, client: Client, topic_name: str
) -> None:
    for _ in range(2):
        produced(client, topic_name, HALF)
    set_and_wait(world, user, consumer_byte_rate=RATE)
    wait_ms, size = fetched(client, topic_name, 0)
    assert (wait_ms, size > HALF) == (0, True)
    wait_ms, size = fetched(client, topic_name, 1)
    assert (50 < wait_ms < 3000, size) == (True, 0)
    wait_until(lambda: fetched(client, topic_name, 1)[1] > HALF, what="the records come")


def test_others_do_not_wait_for_one_who_must(world: World, user: str, client: Client, topic_name: str) -> None:
    set_and_wait(world, user, producer_byte_rate=1000.0)
    assert produced(client, topic_name, 30_000) > 1000
    begun = time.monotonic()
    assert produced(world.connect(), topic_name, 30_000) == 0
    assert time.monotonic() - begun < 1


def test_without_a_quota_nobody_waits(client: Client, topic_name: str) -> None:
    for _ in range(3):
        assert produced(client, topic_name, HALF) == 0


def created(client: Client, version: int, *names: str, partitions: int = 1) -> tuple[list[int], int]:
    """Creates topics; gives the codes and the time to wait."""
    topics = [{"name": name, "num_partitions": partitions, "replication_factor": 1} for name in names]
    answer = client.ask("CreateTopics", version, topics=topics, timeout_ms=20_000)
    return [one["error_code"] for one in answer["topics"]], answer["throttle_time_ms"]


def test_partitions_above_the_rate_are_refused_until_the_time_is_over(world: World, user: str) -> None:
    grant(world, acl(user, "all", "topic", user, prefixed=True))
    client = connect_as(world, user)
    set_and_wait(world, user, controller_mutation_rate=2.0)
    first, second, third = (f"{user}-{n}" for n in range(3))
    codes, wait_ms = created(client, 7, first, second, third, partitions=12)
    assert codes == [0, 0, THROTTLING], "eleven seconds of the rate, and once more than that"
    assert 500 < wait_ms < 1100, "until what is overdrawn is there again: 2 partitions"
    begun = time.monotonic()
    wanted = [{"name": first, "count": 20, "assignments": None}]
    grown = client.ask("CreatePartitions", 3, topics=wanted, timeout_ms=20_000)
    assert time.monotonic() - begun > wait_ms / 1000 * 0.7, "nothing is read from who has to wait"
    assert (grown["results"][0]["error_code"], grown["throttle_time_ms"]) == (0, 0)
    gone = client.ask("DeleteTopics", 6, topics=[{"name": first, "topic_id": bytes(16)}], timeout_ms=20_000)
    assert gone["responses"][0]["error_code"] == THROTTLING
    assert 1000 < gone["throttle_time_ms"] < 4100
    others = world.connect().ask("DeleteTopics", 5, topic_names=[first, second], timeout_ms=20_000)
    assert [one["error_code"] for one in others["responses"]] == [0, 0]


def test_old_clients_are_served_above_the_rate_and_wait(world: World, user: str) -> None:
    grant(world, acl(user, "all", "topic", user, prefixed=True))
    client = connect_as(world, user)
    set_and_wait(world, user, controller_mutation_rate=2.0)
    codes, wait_ms = created(client, 5, user, f"{user}-2", partitions=12)
    assert codes == [0, 0]
    assert 500 < wait_ms < 1100
    world.connect().ask("DeleteTopics", 5, topic_names=[user, f"{user}-2"], timeout_ms=20_000)


def test_an_address_that_connects_too_often_is_kept_waiting_and_closed(world: World) -> None:
    admin, address = world.connect(), "127.0.0.2"
    port = int(world.address("OPEN").rpartition(":")[2])
    assert alter(admin, entity(ip=address), connection_creation_rate=1.0) == 0
    wait_until(lambda: describe(admin, ("ip", EXACT, address)), what="the quota is there")
    time.sleep(0.2)
    request = struct.pack(">ihhih", 10, 18, 0, 1, -1)
    opened: list[socket.socket] = []
    try:
        refused = None
        for _ in range(20):
            opened.append(socket.create_connection(("127.0.0.1", port), 20, source_address=(address, 0)))
            opened[-1].sendall(request)
            begun = time.monotonic()
            try:
                answered = bool(opened[-1].recv(1))
            except ConnectionResetError:
                answered = False  # closed with our request unread
            if not answered:
                refused = time.monotonic() - begun
                break
        assert refused is not None, "20 connections at once"
        assert 9 <= len(opened) <= 12, "ten seconds' worth are served"
        assert 0.1 < refused < 5
        assert world.connect().ask("ApiVersions", 0)["error_code"] == 0, "others are not concerned"
    finally:
        for sock in opened:
            sock.close()
        alter(admin, entity(ip=address), connection_creation_rate=None)
