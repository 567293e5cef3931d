"""What administrators set survives kill -9 and restarts, and what the broker decides is written down."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from ottla.testing import EmbeddedBroker
from tests.broker.running import Client
from tests.contracts.security.acls import acl
from tests.contracts.security.users import upsertion

FIRST = "SCRAM-SHA-512=[name=admin,password=first]"
PROPERTIES = {
    "listeners": "SASL_PLAINTEXT://127.0.0.1:{port}",
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
    "listener.name.sasl_plaintext.plain.sasl.jaas.config": 'x.PlainLoginModule required user_root="r" user_ann="a";',
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:root;User:admin",
    "ottla.add.scram": FIRST,
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path / "data", properties=PROPERTIES) as started:
        yield started


def log_in(broker: EmbeddedBroker, user: str = "root", password: str = "r") -> Client:
    client = Client(broker.port)
    client.ask("SaslHandshake", 1, mechanism="PLAIN")
    assert client.ask("SaslAuthenticate", 2, auth_bytes=f"\0{user}\0{password}".encode())["error_code"] == 0
    return client


def state(client: Client) -> dict[str, Any]:
    any_acl = {"resource_type_filter": 1, "pattern_type_filter": 1, "operation": 1, "permission_type": 1}
    return {
        "acls": client.ask("DescribeAcls", 3, **any_acl)["resources"],
        "users": client.ask("DescribeUserScramCredentials", 0, users=[])["results"],
        "quotas": client.ask("DescribeClientQuotas", 1, components=[], strict=False)["entries"],
    }


def test_acls_credentials_and_quotas_survive_kill_9(broker: EmbeddedBroker) -> None:
    client = log_in(broker)
    wanted = [
        acl("ann", "read", "topic", "t"),
        acl("ann", "write", "topic", "t"),
        acl("*", "all", "group", "g", deny=True),
    ]
    client.ask("CreateAcls", 3, creations=wanted)
    gone = {"resource_type_filter": 2, "pattern_type_filter": 3, "operation": 4, "permission_type": 1}
    assert client.ask("DeleteAcls", 3, filters=[gone])["filter_results"][0]["matching_acls"]
    client.ask("AlterUserScramCredentials", 0, upsertions=[upsertion("sue", "secret", 2)])
    entity = [{"entity_type": "user", "entity_name": None}, {"entity_type": "client-id", "entity_name": "c"}]
    ops = [{"key": "producer_byte_rate", "value": 1e6, "remove": False}]
    client.ask("AlterClientQuotas", 1, entries=[{"entity": entity, "ops": ops}], validate_only=False)
    before = state(client)
    assert (len(before["acls"]), len(before["users"]), len(before["quotas"])) == (2, 2, 1)
    broker.kill()
    broker.start()
    assert state(log_in(broker)) == before
    broker.restart()
    assert state(log_in(broker)) == before


def test_the_first_user_is_made_once_and_his_new_password_stays(broker: EmbeddedBroker) -> None:
    def knows(password: str) -> bool:
        refused: list[Any] = []
        config = {
            "bootstrap.servers": broker.bootstrap_servers,
            "security.protocol": "sasl_plaintext",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "admin",
            "sasl.password": password,
            "log_level": 0,
            "error_cb": refused.append,
        }
        client = AdminClient(config)
        try:
            return bool(client.list_topics(timeout=2).brokers)
        except Exception:
            client.poll(0)
            assert any(error.name() == "_AUTHENTICATION" for error in refused), refused
            return False

    assert knows("first")
    log_in(broker).ask("AlterUserScramCredentials", 0, upsertions=[upsertion("admin", "second", 2)])
    broker.restart()
    assert knows("second")
    assert not knows("first")


def test_what_is_kept_is_readable_by_its_owner_alone_and_holds_no_password(broker: EmbeddedBroker) -> None:
    log_in(broker).ask("AlterUserScramCredentials", 0, upsertions=[upsertion("sue", "geheim", 2)])
    journal = broker.data_dir / "catalog.journal"
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    assert b"geheim" not in journal.read_bytes()


def audit_lines(broker: EmbeddedBroker) -> list[dict[str, Any]]:
    lines = broker.log_path.read_text("utf-8").splitlines()
    return [json.loads(line[line.index("{") :]) for line in lines if '"event"' in line]


def test_denials_and_failed_authentications_are_written_down_whatever_the_log_level(broker: EmbeddedBroker) -> None:
    client = log_in(broker, "ann", "a")
    client.ask("Metadata", 9, topics=[{"name": "secret"}], allow_auto_topic_creation=False)
    client.ask("Metadata", 9, topics=None)  # filtered, not denied
    intruder = Client(broker.port)
    intruder.ask("SaslHandshake", 1, mechanism="PLAIN")
    intruder.ask("SaslAuthenticate", 2, auth_bytes=b"\0ann\0geheim")
    denial, failure = audit_lines(broker)
    assert denial == {
        "event": "authorization", "result": "denied", "principal": "User:ann", "host": "127.0.0.1",
        "operation": "DESCRIBE", "resource": "TOPIC:LITERAL:secret", "api": "Metadata", "version": 9,
        "client_id": "test", "rule": "no ACL covers the resource",
    }  # fmt: skip
    assert failure == {
        "event": "authentication", "result": "failed", "principal": "User:ann", "host": "127.0.0.1",
        "listener": "SASL_PLAINTEXT", "mechanism": "PLAIN", "fault": "wrong password",
    }  # fmt: skip
    assert "geheim" not in broker.log_path.read_text("utf-8")


def test_a_name_cannot_forge_a_line_of_the_audit_log(broker: EmbeddedBroker) -> None:
    intruder = Client(broker.port)
    intruder.ask("SaslHandshake", 1, mechanism="PLAIN")
    intruder.ask("SaslAuthenticate", 2, auth_bytes=b'\0x\n{"event": "authorization"}\0y')
    (line,) = audit_lines(broker)
    assert line["principal"] == 'User:x\n{"event": "authorization"}'


def test_quotas_need_no_other_security(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "data") as broker:
        client = Client(broker.port)
        entity = [{"entity_type": "client-id", "entity_name": "test"}]
        ops = [{"key": "request_percentage", "value": 0.01, "remove": False}]
        answer = client.ask("AlterClientQuotas", 1, entries=[{"entity": entity, "ops": ops}], validate_only=False)
        assert answer["entries"][0]["error_code"] == 0
        assert any(client.ask("Metadata", 9, topics=None)["throttle_time_ms"] for _ in range(50))
        assert client.ask("DescribeAcls", 3, resource_type_filter=1, operation=1, permission_type=1)["error_code"] == 54
