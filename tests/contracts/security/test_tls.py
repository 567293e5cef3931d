"""Contract: TLS and certificates. The mutual listener wants one of every client; its name becomes the principal."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.broker.running import Client
from tests.contracts.clients import PATIENCE_S, wait_until
from tests.contracts.security.acls import acl, grant
from tests.contracts.security.certificates import Authority
from tests.contracts.security.secured import World

TOPIC_DENIED = 29


class SecureClient(Client):
    """A raw connection through TLS."""

    def __init__(self, world: World, listener: str, certificate: Path | None = None, **more: Any) -> None:
        super().__init__(world.ports[listener])
        self.sock = context(world, certificate, **more).wrap_socket(self.sock, server_hostname="localhost")


def context(world: World, certificate: Path | None = None, *, highest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(world.authority.ca))
    if certificate is not None:
        made.load_cert_chain(certificate)
    if highest is not None:
        made.minimum_version = min(highest, made.minimum_version)
        made.maximum_version = highest
    return made


def certificate_of(world: World, user: str, *parts: tuple[x509.ObjectIdentifier, str]) -> Path:
    return world.authority.issue(f"{user}-{world.kind}.pem", *parts)


def may_read(world: World, client: Client, topic: str, principal: str) -> bool:
    """Whether the client is the one whom an ACL for `principal` lets read."""
    assert client.fetch(topic, 0)["error_code"] == TOPIC_DENIED
    grant(world, acl(principal, "read", "topic", topic))
    return bool(client.fetch(topic, 0)["error_code"] == 0)


@pytest.fixture
def topic(world: World, topic_name: str) -> str:
    client = world.connect()
    wanted = {"name": topic_name, "num_partitions": 1, "replication_factor": 1}
    assert client.ask("CreateTopics", 4, topics=[wanted])["topics"][0]["error_code"] == 0
    wait_until(lambda: client.fetch(topic_name, 0)["error_code"] == 0, what="the partition is served")
    return topic_name


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_are_spoken(world: World, user: str, version: ssl.TLSVersion) -> None:
    client = SecureClient(world, "MUTUAL", certificate_of(world, user, (NameOID.COMMON_NAME, user)), highest=version)
    assert client.ask("Metadata", 9, topics=[])["brokers"]
    assert client.sock.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_versions_of_tls_are_refused(world: World, user: str) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        SecureClient(world, "SAFE", highest=ssl.TLSVersion.TLSv1_1)


def test_the_principal_is_the_certificates_name(world: World, user: str, topic: str) -> None:
    parts = [
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.ORGANIZATION_NAME, 'A, "B" + C'),
        (NameOID.COMMON_NAME, f"{user} x"),
    ]
    client = SecureClient(world, "MUTUAL", certificate_of(world, user, *parts))
    assert may_read(world, client, topic, f'CN={user} x,O=A\\, \\"B\\" \\+ C,C=DE')


def test_unusual_attributes_are_named_by_their_numbers(world: World, user: str, topic: str) -> None:
    parts = [(NameOID.EMAIL_ADDRESS, "a@b.c"), (NameOID.COMMON_NAME, f"{user} x"), (NameOID.SERIAL_NUMBER, "7")]
    client = SecureClient(world, "MUTUAL", certificate_of(world, user, *parts))
    assert may_read(world, client, topic, f"2.5.4.5=#130137,CN={user} x,1.2.840.113549.1.9.1=#16056140622e63")


def test_the_first_rule_that_fits_makes_the_principal(world: World, user: str, topic: str) -> None:
    parts = [(NameOID.ORGANIZATIONAL_UNIT_NAME, "Services"), (NameOID.COMMON_NAME, user.upper())]
    name = certificate_of(world, user, (NameOID.ORGANIZATION_NAME, "O"), *parts)
    assert may_read(world, SecureClient(world, "MUTUAL", name), topic, user)


def test_no_certificate_is_refused_where_one_is_required(world: World) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError, BrokenPipeError)):
        SecureClient(world, "MUTUAL").ask("Metadata", 9, topics=[])


def test_a_certificate_of_another_authority_is_refused(world: World, tmp_path: Path) -> None:
    forged = Authority(tmp_path).issue("forged.pem", (NameOID.COMMON_NAME, "admin"))
    with pytest.raises((ssl.SSLError, ConnectionResetError, BrokenPipeError)):
        SecureClient(world, "MUTUAL", forged).ask("Metadata", 9, topics=[])


def test_sasl_counts_behind_tls_not_the_certificate(world: World) -> None:
    client = SecureClient(world, "SAFE")
    client.send("Metadata", 9, topics=[])
    assert client.is_cut_off()


def test_a_client_without_tls_is_cut_off(world: World) -> None:
    client = Client(world.ports["MUTUAL"])
    client.send("ApiVersions", 3, client_software_name="x", client_software_version="1")
    with contextlib.suppress(ConnectionResetError):
        # A last word in TLS (an alert) may come first; it is no answer.
        assert client.sock.recv(4)[:1] in (b"", b"\x15")


def test_a_slow_handshake_holds_nobody_up(world: World, user: str) -> None:
    idle = [socket.create_connection(("127.0.0.1", world.ports["MUTUAL"])) for _ in range(20)]
    for sock in idle:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01")  # the first bytes of a handshake, and no more
    begun = time.monotonic()
    client = SecureClient(world, "MUTUAL", certificate_of(world, user, (NameOID.COMMON_NAME, user)))
    assert client.ask("Metadata", 9, topics=[])["brokers"]
    assert time.monotonic() - begun < 5
    for sock in idle:
        sock.close()


def test_requests_arrive_however_they_are_cut(world: World, user: str) -> None:
    """Records of TLS and requests begin and end where they like: one byte in each, and all in one."""
    client = SecureClient(world, "MUTUAL", certificate_of(world, user, (NameOID.COMMON_NAME, user)))
    sent: list[bytes] = []
    plain = client.sock
    client.sock = _Collector(sent)  # type: ignore[assignment]
    for _ in range(30):
        client.send("Metadata", 9, topics=[])
    client.sock = plain
    stream = b"".join(sent)
    for at in range(200):
        plain.sendall(stream[at : at + 1])
    plain.sendall(stream[200:])
    for _ in range(30):
        assert client.receive()["brokers"]


class _Collector:
    def __init__(self, into: list[bytes]) -> None:
        self.sendall = into.append


def test_large_batches_go_both_ways(world: World, topic: str) -> None:
    """Far more than a record of TLS and a socket's buffer hold, and more than once."""
    grant(world, acl("alice", "all", "topic", topic), acl("alice", "idempotent_write", "cluster"))
    failures: list[Any] = []
    producer = Producer({**world.config("MUTUAL"), "message.max.bytes": 900_000, "linger.ms": 5})
    values = [bytes([number]) * 300_000 for number in range(40)]
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(PATIENCE_S) == 0
    assert failures == []
    from confluent_kafka import Consumer, TopicPartition

    grant(world, acl("alice", "read", "group", "unused"))
    consumer = Consumer({**world.config("MUTUAL"), "group.id": "unused", "fetch.max.bytes": 12_000_000})
    consumer.assign([TopicPartition(topic, 0, 0)])
    read: list[bytes] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(read) < len(values) and time.monotonic() < deadline:
        read += [message.value() for message in consumer.consume(10, timeout=1.0) if not message.error()]
    consumer.close()
    assert read == values
