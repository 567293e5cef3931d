"""Credentials, TLS, and registries that only read: as processes, with both clients."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from starlette.testclient import TestClient

from ottla.errors import ConfigurationError, RegistryRejected, RegistryUnavailable
from ottla.registry import RegistryClient
from ottla.registry.server.access import hashed, read_accounts
from ottla.registry.server.app import create_app
from ottla.registry.server.registry import Registry
from ottla.testing import EmbeddedBroker
from ottla.testing.server import free_port
from tests.registry.memory_log import MemoryLog
from tests.registry.test_process import launch, until

ACCOUNTS = """
[users.alice]
password = "{hashed}"

[users.bob]
password = "plain"
role = "read"

[tokens.ci]
token = "t0ken"
role = "read"
"""


@pytest.fixture
def accounts(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.toml"
    path.write_text(ACCOUNTS.format(hashed=hashed("secret")))
    return path


@pytest.fixture
def guarded(accounts: Path) -> Iterator[TestClient]:
    registry = Registry(MemoryLog())
    registry.state.start()
    with TestClient(create_app(registry, accounts=read_accounts(accounts))) as client:
        yield client


SCHEMA = {"schema": '"string"'}


@pytest.mark.parametrize("auth", [None, ("alice", "wrong"), ("nobody", "secret"), ("alice", "")])
def test_without_the_right_credentials_nothing_is_answered(guarded: TestClient, auth: tuple[str, str] | None) -> None:
    response = guarded.get("/subjects", auth=auth)
    assert (response.status_code, response.json()["error_code"]) == (401, 401)
    assert response.headers["www-authenticate"].startswith("Basic")
    assert guarded.get("/health/live").status_code == 200


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic ???", "Digest x", "Basic YWxpY2U="])
def test_a_header_that_proves_nothing_is_refused(guarded: TestClient, header: str) -> None:
    assert guarded.get("/subjects", headers={"Authorization": header}).status_code == 401


def test_a_writer_may_do_everything_and_a_reader_only_read(guarded: TestClient) -> None:
    assert guarded.post("/subjects/s/versions", json=SCHEMA, auth=("alice", "secret")).status_code == 200
    for headers in ({"Authorization": "Bearer t0ken"}, {"Authorization": "Basic Ym9iOnBsYWlu"}):
        assert guarded.get("/subjects", headers=headers).json() == ["s"]
        assert guarded.post("/subjects/s", json=SCHEMA, headers=headers).status_code == 200
        path = "/compatibility/subjects/s/versions/latest"
        assert guarded.post(path, json=SCHEMA, headers=headers).json() == {"is_compatible": True}
        for method, changed in (("POST", "/subjects/s/versions"), ("DELETE", "/subjects/s"), ("PUT", "/config")):
            response = guarded.request(method, changed, json=SCHEMA, headers=headers)
            assert (response.status_code, response.json()["error_code"]) == (403, 403)


@pytest.mark.parametrize("text", ["", "[users.a]\n", "nonsense", '[users.a]\npassword = "x"\nrole = "king"'])
def test_accounts_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "accounts.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        read_accounts(path)


def test_a_registry_started_read_only_refuses_every_change() -> None:
    registry = Registry(MemoryLog(), read_only=True)
    registry.state.start()
    with TestClient(create_app(registry)) as client:
        assert client.get("/subjects").json() == []
        for method, path in (("POST", "/subjects/s/versions"), ("PUT", "/config"), ("PUT", "/mode")):
            body = (
                {**SCHEMA, "compatibility": "FULL", "mode": "READONLY"}
                if path != "/config"
                else {"compatibility": "FULL"}
            )
            assert client.request(method, path, json=body).json()["error_code"] == 42205


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with a certificate for 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=registry",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return both


def test_two_registries_speak_https_with_clients_and_each_other(
    kafka: EmbeddedBroker, certificate: Path, accounts: Path
) -> None:
    ports = [free_port(), free_port()]
    started = [
        launch(
            "-b", kafka.bootstrap_servers, "--port", str(port), "--topic", f"tls-{ports[0]}",
            "--accounts", str(accounts), "--tls-certificate", str(certificate), "--tls-clients", str(certificate),
            "--tls-authorities", str(certificate),
        )
        for port in ports
    ]  # fmt: skip
    try:
        urls = [f"https://127.0.0.1:{port}" for port in ports]
        given = {"authorities": str(certificate), "client_certificate": str(certificate)}
        clients = [RegistryClient(url, basic_auth="alice:secret", **given, timeout=10) for url in urls]  # type: ignore[arg-type]
        for client in clients:
            until(lambda client=client: client.subjects() == [] or True, "it answers")  # type: ignore[misc]
        assert clients[0].register("s", '"string"') == 1
        # The other one sends this on, with its own certificate and the client's credentials.
        assert clients[1].register("t", '"long"') == 2
        assert json.loads(clients[0].schema(2)) == "long"
        with pytest.raises(RegistryRejected) as refused:
            RegistryClient(urls[0], basic_auth="bob:plain", **given).register("u", '"int"')  # type: ignore[arg-type]
        assert refused.value.status == 403
        with pytest.raises(RegistryUnavailable):
            RegistryClient(urls[0], basic_auth="alice:secret").subjects()
        trust = ssl.create_default_context(cafile=str(certificate))
        with pytest.raises(httpx.TransportError):  # no certificate of its own
            httpx.get(f"{urls[0]}/subjects", verify=trust, auth=("alice", "secret"))
        theirs = SchemaRegistryClient(
            {"url": urls[1], "basic.auth.user.info": "alice:secret", "ssl.ca.location": str(certificate),
             "ssl.certificate.location": str(certificate)}
        )  # fmt: skip
        assert theirs.register_schema("s", Schema('"string"', "AVRO")) == 1
        with pytest.raises(SchemaRegistryError):
            theirs.register_schema("s", Schema("{", "AVRO"))
    finally:
        told = ""
        for process in started:
            process.terminate()
            told += process.communicate(timeout=20)[1]
    assert "taking over" not in told
