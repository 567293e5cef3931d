"""Contract: a service, the admin and the command line on a secured broker, by settings alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ottla import Admin, App, BrokerUnavailable, KafkaSettings, ListenerSettings, RegistrySettings, Settings
from ottla import event as declare_event
from ottla.errors import KafkaError
from ottla.settings import load_settings
from ottla.testing import EmbeddedRegistry
from tests.cli.conftest import Ottla, ottla  # noqa: F401  # a fixture
from tests.contracts.clients import wait_until
from tests.contracts.security.acls import acl, grant
from tests.contracts.security.secured import PLAIN_USERS, World
from tests.contracts.security.tokens import Issuer
from tests.listeners.harness import eventually

USERS = {"PLAIN": "ann", "SCRAM-SHA-256": "sue", "SCRAM-SHA-512": "sue", "OAUTHBEARER": "olga", "mutual TLS": "alice"}
PASSWORDS = {**PLAIN_USERS, "sue": "sue-secret"}

# What the client does by itself is the same with either broker.
client_alone = pytest.mark.parametrize("broker_kind", ["embedded"], scope="session")

tokens: list[str] = []


def fetch_token() -> tuple[str, float]:
    """Named by its place in a setting, as a service's own would be."""
    return tokens[-1], time.time() + 300


@pytest.fixture(scope="session")
def registry(_secured_world: World) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(_secured_world.broker.bootstrap_servers) as started:
        yield started


def kafka_settings(world: World, issuer: Issuer, mechanism: str, prefix: str) -> KafkaSettings:
    """What a user of this mechanism configures."""
    common: dict[str, Any] = {
        "bootstrap_servers": world.address("MUTUAL" if mechanism == "mutual TLS" else "SAFE"),
        "ssl_ca": str(world.authority.ca),
        "prefix": prefix,
        "topic_partitions": 1,
        "topic_replication": 1,
    }
    if mechanism == "mutual TLS":
        return KafkaSettings(security_protocol="ssl", ssl_certificate=str(world._alice), **common)
    common |= {"security_protocol": "sasl_ssl", "sasl_mechanism": mechanism}
    if mechanism == "OAUTHBEARER":
        tokens.append(issuer.token(USERS[mechanism]))
        return KafkaSettings(sasl_token=f"{__name__}:fetch_token", **common)
    user = USERS[mechanism]
    return KafkaSettings(sasl_username=user, sasl_password=PASSWORDS[user], **common)


def allow(world: World, user: str, prefix: str) -> None:
    """Everything under the prefix, and nothing else, as on a cluster that several share."""
    kinds = ("topic", "group", "transactional_id")
    grant(world, *(acl(user, "all", kind, prefix, prefixed=True) for kind in kinds))


async def handle_one(settings: Settings, name: str) -> None:
    """A service publishes, handles, publishes what it returned, and writes in a transaction."""

    @declare_event("ordered", key="order_id")
    class Ordered(msgspec.Struct):
        order_id: str

    @declare_event("reserved", key="order_id")
    class Reserved(msgspec.Struct):
        order_id: str

    seen: list[Any] = []
    app = App(name, settings=settings)

    @app.listen(Ordered)
    def reserve(order: Any) -> Any:
        if order.order_id == "bad":
            raise ValueError("no such order")
        return Reserved(order.order_id)

    @app.listen(Reserved, exactly_once=True)
    async def note(reserved: Any) -> None:
        seen.append(reserved.order_id)

    async with app.running():
        where = await app.publish(Ordered("o-1"))
        assert where.topic == f"{settings.kafka.prefix}ordered"
        async with app.transaction() as transaction:
            await transaction.publish(Ordered("bad"))
        await eventually(lambda: seen == ["o-1"], what="the order was reserved")
        graves = f"{settings.kafka.prefix}ordered-dlq"
        admin = Admin(settings.kafka)
        await eventually(lambda: admin.end_offsets([graves]).get((graves, 0)), what="a dead letter")
        await eventually(lambda: app.health.wrong() == [], what="health")
    assert admin.committed(f"{settings.kafka.prefix}{name}").keys() == {
        (f"{settings.kafka.prefix}ordered", 0),
        (f"{settings.kafka.prefix}reserved", 0),
    }


@pytest.mark.parametrize("mechanism", USERS)
async def test_a_service_works_through_every_mechanism_under_its_prefix(
    world: World, issuer: Issuer, registry: EmbeddedRegistry, topic_name: str, mechanism: str
) -> None:
    prefix = f"{topic_name}."
    allow(world, USERS[mechanism], prefix)
    settings = Settings(
        kafka=kafka_settings(world, issuer, mechanism, prefix),
        registry=RegistrySettings(url=registry.url),
        listener=ListenerSettings(commit_interval_s=0.05),
    )
    await handle_one(settings, "service")


async def test_herokus_variables_are_enough(
    world: World, registry: EmbeddedRegistry, topic_name: str, tmp_path: Path
) -> None:
    prefix = f"{topic_name}."
    allow(world, "alice", prefix)
    pem = world._alice.read_text()
    key, _, certificate = pem.partition("-----BEGIN CERTIFICATE-----")
    port = world.ports["MUTUAL"]
    environ = {
        "KAFKA_URL": f"kafka+ssl://127.0.0.1:{port},kafka+ssl://127.0.0.1:{port}",
        "KAFKA_TRUSTED_CERT": world.authority.ca.read_text(),
        "KAFKA_CLIENT_CERT": "-----BEGIN CERTIFICATE-----" + certificate,
        "KAFKA_CLIENT_CERT_KEY": key.replace("\n", "\\n"),
        "KAFKA_PREFIX": prefix,
        "OTTLA_REGISTRY__URL": registry.url,
        "OTTLA_KAFKA__TOPIC_PARTITIONS": "1",
    }
    await handle_one(load_settings(directory=tmp_path, environ=environ), "service")


def test_the_command_line_reads_the_same_settings(
    world: World,
    topic: str,
    ottla: Ottla,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTTLA_KAFKA__BOOTSTRAP_SERVERS", world.address("SAFE"))
    monkeypatch.setenv("OTTLA_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("OTTLA_KAFKA__SSL_CA", world.authority.ca.read_text().replace("\n", "\\n"))
    monkeypatch.setenv("OTTLA_KAFKA__SASL_MECHANISM", "scram-sha-512")
    monkeypatch.setenv("OTTLA_KAFKA__SASL_USERNAME", "sue")
    monkeypatch.setenv("OTTLA_KAFKA__SASL_PASSWORD", "sue-secret")
    grant(world, acl("sue", "describe", "topic", topic))
    outcome = ottla("topic", "list", "--json")
    assert outcome.status == 0, outcome.err
    assert topic in [one["name"] for one in outcome.document["topics"]]
    assert "sue-secret" not in ottla("config", "show").out


def test_a_wrong_password_is_told_without_it(world: World, issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    right = kafka_settings(world, issuer, "SCRAM-SHA-512", "")
    wrong = msgspec.structs.replace(right, sasl_password="wr0ng-passw0rd")
    with caplog.at_level(logging.DEBUG), pytest.raises((BrokerUnavailable, KafkaError)) as told:
        Admin(wrong, timeout_s=1.0).topics()
    assert "wr0ng-passw0rd" not in str(told.value) + caplog.text
    assert "turns us away" in str(told.value)
    assert "uthentication failed" in str(told.value)


@client_alone
async def test_a_service_that_is_given_no_token_says_so_at_its_start(world: World, issuer: Issuer) -> None:
    def fetch() -> tuple[str, float]:
        raise OSError("s3cret of the issuer")

    kafka = msgspec.structs.replace(kafka_settings(world, issuer, "OAUTHBEARER", ""), sasl_token=fetch)
    app = App("service", settings=Settings(kafka=kafka))
    with pytest.raises(BrokerUnavailable, match=r"kafka\.sasl_token raised OSError") as told:
        async with app.running():
            pass
    assert "s3cret" not in str(told.value)


@client_alone
def test_tokens_are_fetched_again_before_they_expire(world: World, issuer: Issuer, topic: str) -> None:
    grant(world, acl("olga", "describe", "topic", topic))
    given = list[float]()

    def fetch() -> tuple[str, float]:
        given.append(time.time())
        # Where the library believes that it expires soon, it asks again soon.
        return issuer.token("olga"), time.time() + 2

    admin = Admin(msgspec.structs.replace(kafka_settings(world, issuer, "OAUTHBEARER", ""), sasl_token=fetch))
    wait_until(lambda: len(given) >= 3, what="a third token")
    assert topic in admin.topics()
