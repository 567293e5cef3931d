"""Contract: other people's clients and tools, unchanged, on a secured broker."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import AbstractTokenProvider
from aiokafka.helpers import create_ssl_context
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from kafka import KafkaConsumer, KafkaProducer
from ottla.errors import ServerFailed
from ottla.testing import KafkaHome
from tests.conftest import IN_CI
from tests.contracts.clients import PATIENCE_S, wait_until
from tests.contracts.security.acls import acl, grant
from tests.contracts.security.secured import PLAIN_USERS, World
from tests.contracts.security.test_quotas import set_and_wait
from tests.contracts.security.test_sasl import knows_the_cluster

ACLS = "org.apache.kafka.tools.AclCommand"
CONFIGS = "kafka.admin.ConfigCommand"
PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


@pytest.fixture
def topic(world: World, topic_name: str) -> str:
    """A topic that ann and the SCRAM user sue may use."""
    client = world.connect()
    wanted = {"name": topic_name, "num_partitions": 1, "replication_factor": 1}
    assert client.ask("CreateTopics", 4, topics=[wanted])["topics"][0]["error_code"] == 0
    wait_until(lambda: client.fetch(topic_name, 0)["error_code"] == 0, what="the partition is served")
    for user in ("ann", "sue", "olga"):
        grant(world, acl(user, "all", "topic", topic_name), acl(user, "all", "group", topic_name))
    return topic_name


class Tokens(AbstractTokenProvider):
    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"])
async def test_aiokafka_writes_and_reads(world: World, topic: str, mechanism: str) -> None:
    user = {"PLAIN": "ann", "OAUTHBEARER": "olga"}.get(mechanism, "sue")
    config: dict[str, Any] = {
        "bootstrap_servers": world.address("SAFE"),
        "security_protocol": "SASL_SSL",
        "ssl_context": create_ssl_context(cafile=str(world.authority.ca)),
        "sasl_mechanism": mechanism,
    }
    if mechanism == "OAUTHBEARER":
        config["sasl_oauth_token_provider"] = Tokens(world.issuer.token(user))
    else:
        config |= {"sasl_plain_username": user, "sasl_plain_password": PLAIN_USERS.get(user, f"{user}-secret")}
    producer = AIOKafkaProducer(**config)
    await producer.start()
    await producer.send_and_wait(topic, mechanism.encode())
    await producer.stop()
    consumer = AIOKafkaConsumer(**config, group_id=topic, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0)])
    await consumer.start()
    record = await asyncio.wait_for(consumer.getone(), PATIENCE_S)
    await consumer.stop()
    assert record.value == mechanism.encode()


def test_kafka_python_writes_and_reads(world: World, topic: str) -> None:
    config: dict[str, Any] = {
        "bootstrap_servers": world.address("SAFE"),
        "security_protocol": "SASL_SSL",
        "ssl_cafile": str(world.authority.ca),
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "sue",
        "sasl_plain_password": "sue-secret",
    }
    producer = KafkaProducer(**config, enable_idempotence=False)
    producer.send(topic, b"v").get(PATIENCE_S)
    producer.close()
    consumer = KafkaConsumer(
        topic, **config, group_id=topic, auto_offset_reset="earliest", consumer_timeout_ms=int(PATIENCE_S * 1000)
    )
    assert next(iter(consumer)).value == b"v"
    consumer.close()


def test_librdkafkas_admin_client_manages_acls(world: World, user: str) -> None:
    admin = AdminClient(world.config("SASL", "PLAIN", "admin"))
    one = AclBinding(
        ResourceType.TOPIC, user, ResourcePatternType.PREFIXED, f"User:{user}", "*", AclOperation.READ,
        AclPermissionType.ALLOW,
    )  # fmt: skip
    for future in admin.create_acls([one]).values():
        future.result(PATIENCE_S)
    mine = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, f"User:{user}", None, AclOperation.ANY, AclPermissionType.ANY
    )
    wait_until(lambda: admin.describe_acls(mine).result(PATIENCE_S) == [one], what="the ACL is in force")
    for future in admin.delete_acls([mine]).values():
        assert future.result(PATIENCE_S) == [one]


def test_librdkafkas_admin_client_manages_scram_users(world: World, user: str) -> None:
    admin = AdminClient(world.config("SASL", "PLAIN", "admin"))
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192)
    upsert = UserScramCredentialUpsertion(user, info, b"its password")
    for future in admin.alter_user_scram_credentials([upsert]).values():
        future.result(PATIENCE_S)
    assert knows_the_cluster(world, "SASL", "SCRAM-SHA-512", user, "its password")
    described = admin.describe_user_scram_credentials([user])[user].result(PATIENCE_S)
    assert [(one.mechanism, one.iterations) for one in described.scram_credential_infos] == [(info.mechanism, 8192)]
    deletion = UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)
    for future in admin.alter_user_scram_credentials([deletion]).values():
        future.result(PATIENCE_S)
    assert not knows_the_cluster(world, "SASL", "SCRAM-SHA-512", user, "its password")


@pytest.fixture
def home() -> KafkaHome:
    try:
        return KafkaHome.find()
    except ServerFailed as missing:
        (pytest.fail if IN_CI else pytest.skip)(str(missing))


def run(home: KafkaHome, world: World, folder: Path, main: str, *arguments: str) -> str:
    """Runs a tool of Kafka's as the super user admin, through TLS."""
    client = folder / "client.properties"
    client.write_text(
        "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nssl.truststore.type=PEM\n"
        f"ssl.truststore.location={world.authority.ca}\n"
        f'sasl.jaas.config={PLAIN_MODULE} required username="admin" password="admin-secret";\n'
    )
    done = home.run(
        main, "--bootstrap-server", f"localhost:{world.ports['SAFE']}", "--command-config", str(client), *arguments,
        timeout_s=90,
    )  # fmt: skip
    assert done.returncode == 0, f"{main} {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def test_kafkas_acl_command_adds_and_lists(home: KafkaHome, world: World, tmp_path: Path, user: str) -> None:
    said = run(
        home, world, tmp_path, ACLS, "--add", "--allow-principal", f"User:{user}", "--producer", "--topic", user,
        "--resource-pattern-type", "prefixed",
    )  # fmt: skip
    for operation in ("WRITE", "DESCRIBE", "CREATE"):
        assert f"(principal=User:{user}, host=*, operation={operation}, permissionType=ALLOW)" in said
    assert f"name={user}, patternType=PREFIXED" in said


def test_kafkas_config_command_makes_users_and_shows_quotas(
    home: KafkaHome, world: World, tmp_path: Path, user: str
) -> None:
    who = ("--entity-type", "users", "--entity-name", user)
    secret = "SCRAM-SHA-256=[iterations=8192,password=its-password]"
    run(home, world, tmp_path, CONFIGS, "--alter", *who, "--add-config", secret)
    assert knows_the_cluster(world, "SASL", "SCRAM-SHA-256", user, "its-password")
    set_and_wait(world, user, producer_byte_rate=1024.0)
    said = run(home, world, tmp_path, CONFIGS, "--describe", *who)
    assert "producer_byte_rate=1024.0" in said
    assert "SCRAM-SHA-256=iterations=8192" in said


def test_kcat_speaks_tls_and_plain(world: World, topic: str) -> None:
    """Debian's kcat is built on librdkafka 2.0, whose SCRAM sends a wrong nonce: refused here as by Apache Kafka."""
    import shutil

    if shutil.which("kcat") is None:
        pytest.skip("kcat is not installed")
    settings = [
        "security.protocol=sasl_ssl", f"ssl.ca.location={world.authority.ca}", "sasl.mechanism=PLAIN",
        "sasl.username=ann", "sasl.password=ann-secret",
    ]  # fmt: skip
    common = ["kcat", "-b", world.address("SAFE"), "-t", topic, *(part for one in settings for part in ("-X", one))]
    done = subprocess.run([*common, "-P"], input=b"v\n", capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*common, "-C", "-o", "beginning", "-c", "1", "-q"], capture_output=True, timeout=30)
    assert done.stdout == b"v\n"
