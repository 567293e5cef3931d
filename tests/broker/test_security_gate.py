"""Nothing gets past the gate: every API there is, asked before authentication, and by somebody who may do nothing."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottla.broker.api.table import HANDLERS
from ottla.broker.guards.table import GUARDS
from ottla.broker.security.settings import read_security
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Api, Field, Message, parse_table
from tests.broker.running import Client, RunningBroker

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SECURE = {
    "listeners": "SASL_PLAINTEXT://127.0.0.1:0",
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
    "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{PLAIN} user_root="r" user_ann="a";',
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:root",
    "ottla.authentication.timeout.ms": "400",
    "max.connections.per.ip": "20",
}
APIS = [api for api, _ in HANDLERS.values()]
EVERY = [pytest.param(api, version, id=f"{api.name}-{version}") for api in APIS for version in {*api.versions}]
OPEN_TO_ALL = {"ApiVersions", "SaslHandshake", "SaslAuthenticate"}
# What is answered to everybody, with nothing in it that must not be known.
HARMLESS = {"DescribeCluster", "ListGroups", "ListTransactions", "Metadata", "DescribeLogDirs"}
DENIED = {
    ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    ErrorCode.GROUP_AUTHORIZATION_FAILED,
    ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
    ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    folder: Path = tmp_path_factory.mktemp("gate") / "data"
    with RunningBroker(folder, security=read_security(SECURE)) as running:
        root = log_in(running, "root", "r")
        root.create("there")
        root.close()
        yield running


def log_in(broker: RunningBroker, user: str, password: str) -> Client:
    client = broker.connect()
    client.ask("SaslHandshake", 1, mechanism="PLAIN")
    assert client.ask("SaslAuthenticate", 2, auth_bytes=f"\0{user}\0{password}".encode())["error_code"] == 0
    return client


def filled(fields: list[Field], version: int) -> Message:
    """A request that asks for something in every field."""
    return {field.name: _filled(field, version) for field in fields if field.present(version)}


def _filled(field: Field, version: int) -> object:
    if field.name == "session_id":
        return 0
    if field.array:
        return [_filled_one(field, version)]
    return _filled_one(field, version)


def _filled_one(field: Field, version: int) -> object:
    if field.type == "struct":
        return filled(field.fields, version)
    by_name = {
        "resource_type": 2,
        "key_type": 0,
        "acks": -1,
        "max_wait_ms": 0,
        "endpoint_type": 1,
        "topic_id": bytes(16),
    }
    if field.name in by_name:
        return by_name[field.name]
    return {"string": "there", "bool": True, "bytes": b"x", "records": b"x", "uuid": bytes(16), "float64": 1.0}.get(
        field.type, 1
    )


def codes(message: object) -> set[int]:
    """Every error code anywhere in a reply."""
    if isinstance(message, dict):
        own = {value for key, value in message.items() if key.endswith("error_code") and isinstance(value, int)}
        return own.union(*map(codes, message.values()))
    if isinstance(message, (list, tuple)):
        return set().union(*map(codes, message))
    return set()


def test_every_api_has_a_guard() -> None:
    assert {api.name for api in APIS} <= set(GUARDS)


@pytest.mark.parametrize(("api", "version"), EVERY)
def test_before_authentication_only_versions_and_sasl_are_served(broker: RunningBroker, api: Api, version: int) -> None:
    client = broker.connect()
    client.send(api.name, version, **filled(parse_table(api.request), version))
    if api.name in ("ApiVersions", "SaslHandshake"):
        assert client.receive()
    else:
        assert client.is_cut_off()
    client.close()


@pytest.fixture(scope="module")
def nobody(broker: RunningBroker) -> Iterator[Client]:
    """Somebody who is known, and may do nothing."""
    client = log_in(broker, "ann", "a")
    yield client
    client.close()


@pytest.mark.parametrize(("api", "version"), [one for one in EVERY if one.values[0].name not in OPEN_TO_ALL])
def test_who_may_do_nothing_is_denied_everything(broker: RunningBroker, nobody: Client, api: Api, version: int) -> None:
    body = filled(parse_table(api.request), version)
    if api.name == "WriteTxnMarkers":
        body["markers"][0]["topics"] = [{"name": "there", "partition_indexes": [0]}]
    nobody.send(api.name, version, **body)
    answer = nobody.receive()
    found = codes(answer) - {0}
    if api.name in HARMLESS and not found:
        assert "there" not in repr({**answer, "unknown_state_filters": None})
        return
    if api.name == "Fetch" and version >= 13:
        assert found == {ErrorCode.UNKNOWN_TOPIC_ID}
        return
    # Of the partitions beside a refused one AddPartitionsToTxn says that it has not tried.
    assert found & DENIED, answer
    assert found <= DENIED | {ErrorCode.OPERATION_NOT_ATTEMPTED, ErrorCode.UNKNOWN_TOPIC_ID}, answer


def test_nothing_was_changed_by_any_of_that(broker: RunningBroker) -> None:
    root = log_in(broker, "root", "r")
    topics = root.ask("Metadata", 9, topics=None)["topics"]
    assert [(one["name"], len(one["partitions"])) for one in topics] == [("there", 1)]
    every = {"resource_type_filter": 1, "pattern_type_filter": 1, "operation": 1, "permission_type": 1}
    assert root.ask("DescribeAcls", 3, **every)["resources"] == []
    assert root.ask("ListGroups", 4)["groups"] == []
    assert root.ask("DescribeUserScramCredentials", 0, users=[])["results"] == []


def test_who_does_not_say_who_he_is_is_cut_off_after_a_while(broker: RunningBroker) -> None:
    client = broker.connect()
    client.ask("ApiVersions", 3, client_software_name="x", client_software_version="1")
    begun = time.monotonic()
    assert client.is_cut_off()
    assert 0.2 < time.monotonic() - begun < 5


def test_who_is_known_stays(broker: RunningBroker) -> None:
    client = log_in(broker, "ann", "a")
    time.sleep(0.6)  # longer than the time to authenticate
    assert client.ask("ApiVersions", 0)["api_keys"]


def test_a_request_while_a_token_is_judged_closes_the_connection(broker: RunningBroker) -> None:
    client = broker.connect()
    client.ask("SaslHandshake", 1, mechanism="PLAIN")
    client.send("SaslAuthenticate", 2, auth_bytes=b"\0ann\0wrong")
    client.send("SaslAuthenticate", 2, auth_bytes=b"\0ann\0a")
    assert client.receive()["error_code"] == ErrorCode.SASL_AUTHENTICATION_FAILED
    assert client.is_cut_off()


def test_requests_sent_along_with_the_token_are_served_after_it(broker: RunningBroker) -> None:
    client = broker.connect()
    client.send("SaslHandshake", 1, mechanism="PLAIN")
    client.send("SaslAuthenticate", 2, auth_bytes=b"\0root\0r")
    client.send("Metadata", 9, topics=None)
    assert client.receive()["error_code"] == client.receive()["error_code"] == 0
    assert client.receive()["topics"]


def test_connections_from_one_address_are_limited(tmp_path: Path) -> None:
    security = read_security({**SECURE, "max.connections.per.ip": "3"})
    with RunningBroker(tmp_path / "data", security=security) as broker:
        clients = [broker.connect() for _ in range(3)]
        for client in clients:
            client.ask("ApiVersions", 0)
        assert broker.connect().is_cut_off()
        clients.pop().close()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            client = broker.connect()
            try:
                client.ask("ApiVersions", 0)
            except ConnectionError:
                continue
            return
        raise AssertionError("a closed connection makes no room")


def test_the_length_of_a_request_before_authentication_is_limited(broker: RunningBroker) -> None:
    client = broker.connect()
    client.sock.sendall(struct.pack(">i", 524_289))
    assert client.is_cut_off()


# --- memory for requests on their way ---


def test_requests_wait_for_memory_that_others_have_claimed(tmp_path: Path) -> None:
    with RunningBroker(tmp_path / "data", queued_requests_max_bytes=2 << 20) as broker:
        first, second = broker.connect(), broker.connect()
        frame = struct.pack(">hhih", 18, 0, 0, -1) + bytes(1_500_000)
        first.sock.sendall(struct.pack(">i", len(frame)) + frame[:-1])  # all but a byte
        wait_for(lambda: broker.server.memory.used >= 1_500_000)
        second.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            # More than all buffers on the way hold: it can only be sent if somebody reads it.
            second.sock.sendall(struct.pack(">i", len(frame) * 10) + bytes(len(frame) * 10))
        assert broker.server.memory.used < 2 << 20
        first.sock.sendall(frame[-1:])
        wait_for(lambda: broker.server.memory.used in (0, len(frame) * 10))
        second.close()
        wait_for(lambda: broker.server.memory.used == 0)


def wait_for(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
