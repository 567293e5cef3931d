"""A broker with four listeners, as the tests of security want it, embedded or Apache Kafka.

OPEN    PLAINTEXT, for the tests' own administration: its ANONYMOUS is a super user
SASL    SASL_PLAINTEXT: PLAIN, SCRAM, OAUTHBEARER, to be looked at byte by byte
SAFE    SASL_SSL, the same mechanisms
MUTUAL  SSL; a certificate is required, and mapping rules make a principal of it
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import NameOID

from ottla.testing import Broker, EmbeddedBroker, RealKafka, free_port
from tests.broker.running import Client
from tests.contracts.security.certificates import Authority
from tests.contracts.security.tokens import AUDIENCE, ISSUER, Issuer

MECHANISMS = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"
PLAIN_USERS = {"admin": "admin-secret", "ann": "ann-secret", "bob": "bob-secret", "pia": 'p"i a;\\='}
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_OAUTH = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
_HANDLER = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"
LISTENERS = ("SASL", "SAFE", "MUTUAL")
SHORT_SESSION_MS = 1500


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class World:
    """A secured broker, and what its clients need.

    Attributes:
        broker: The broker; its `bootstrap_servers` are the open listener.
        ports: By listener.
        authority, issuer: Who vouches for clients.
    """

    def __init__(self, kind: str, folder: Path, authority: Authority, issuer: Issuer) -> None:
        self.kind = kind
        self.authority = authority
        self.issuer = issuer
        self.ports = {name: free_port() for name in LISTENERS}
        self._alice = authority.issue(
            f"alice-{kind}.pem",
            (NameOID.COUNTRY_NAME, "DE"),
            (NameOID.ORGANIZATION_NAME, "Ottla, Inc."),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "Services"),
            (NameOID.COMMON_NAME, "Alice"),
        )
        keys = authority.issue(f"broker-{kind}.pem", (NameOID.COMMON_NAME, "localhost"))
        properties = self._properties(keys)
        self.broker: Broker
        if kind == "embedded":
            self.broker = EmbeddedBroker(
                folder / "data", properties={**properties, "listeners": self._listeners("{port}")}
            )
        else:
            self.broker = SecuredKafka(folder / "data", self._listeners(""), properties)

    def _listeners(self, port: str) -> str:
        more = ",".join(f"{name}://127.0.0.1:{self.ports[name]}" for name in LISTENERS)
        return f"OPEN://127.0.0.1:{port},{more}"

    def _properties(self, keys: Path) -> dict[str, str]:
        users = " ".join(f"user_{name}={_quoted(password)}" for name, password in PLAIN_USERS.items())
        properties = {
            "listener.security.protocol.map": (
                "OPEN:PLAINTEXT,SASL:SASL_PLAINTEXT,SAFE:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:admin",
            "sasl.enabled.mechanisms": MECHANISMS,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keys),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.ca),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.principal.mapping.rules": (
                r"RULE:^CN=(.*?),OU=Services,.*$/$1/L,RULE:^CN=(\\w+)$/cn-$1/,DEFAULT".replace("\\\\", "\\")
            ),
            "sasl.oauthbearer.jwks.endpoint.url": f"file://{self.issuer.jwks}",
            "sasl.oauthbearer.expected.audience": AUDIENCE,
            "sasl.oauthbearer.expected.issuer": ISSUER,
            "connection.failed.authentication.delay.ms": "100",
            "auto.create.topics.enable": "false",
        }
        for name in ("sasl", "safe"):
            own = f"listener.name.{name}"
            properties |= {
                f"{own}.plain.sasl.jaas.config": f"{_PLAIN} {users};",
                f"{own}.scram-sha-256.sasl.jaas.config": _SCRAM,
                f"{own}.scram-sha-512.sasl.jaas.config": _SCRAM,
                f"{own}.oauthbearer.sasl.jaas.config": _OAUTH,
                f"{own}.oauthbearer.sasl.server.callback.handler.class": _HANDLER,
            }
        # Sessions end where the tests of that look: SCRAM-SHA-256 only.
        properties["listener.name.sasl.scram-sha-256.connections.max.reauth.ms"] = str(SHORT_SESSION_MS)
        return properties

    # Clients

    def address(self, listener: str) -> str:
        return self.broker.bootstrap_servers if listener == "OPEN" else f"127.0.0.1:{self.ports[listener]}"

    def connect(self, listener: str = "OPEN") -> Client:
        """A raw connection, without TLS."""
        return Client(int(self.address(listener).rpartition(":")[2]))

    def config(
        self, listener: str, mechanism: str = "PLAIN", user: str = "ann", password: str | None = None
    ) -> dict[str, Any]:
        """The settings of a confluent-kafka client."""
        settings: dict[str, Any] = {"bootstrap.servers": self.address(listener), "log_level": 0}
        if listener == "OPEN":
            return settings
        if listener in ("SAFE", "MUTUAL"):
            settings["ssl.ca.location"] = str(self.authority.ca)
        if listener == "MUTUAL":
            both = str(self._alice)
            return settings | {"security.protocol": "ssl", "ssl.certificate.location": both, "ssl.key.location": both}
        settings["security.protocol"] = "sasl_ssl" if listener == "SAFE" else "sasl_plaintext"
        settings["sasl.mechanism"] = mechanism
        if mechanism == "OAUTHBEARER":
            token = password or self.issuer.token(user)
            return settings | {"oauth_cb": lambda _: (token, 2**33)}
        return settings | {"sasl.username": user, "sasl.password": password or PLAIN_USERS.get(user, f"{user}-secret")}


class SecuredKafka(RealKafka):
    """Apache Kafka with the listeners of a World, and the controller's."""

    def __init__(self, data_dir: Path, listeners: str, properties: Mapping[str, str]) -> None:
        self._others = listeners.partition(",")[2]
        super().__init__(data_dir, properties=properties)

    def _write_configuration(self) -> Path:
        own, others = f"OPEN://127.0.0.1:{self.port}", self._others
        self._properties |= {
            "listeners": f"{own},{others},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"{own},{others}",
            "inter.broker.listener.name": "OPEN",
        }
        path = super()._write_configuration()
        path.write_text(path.read_text("utf-8").replace("\\", "\\\\"), "utf-8")
        return path

    def start(self) -> None:
        """Starts the JVM with leave to read the issuer's keys."""
        url = self._properties["sasl.oauthbearer.jwks.endpoint.url"]
        with pytest.MonkeyPatch.context() as patch:
            allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={url}"
            patch.setenv("JAVA_TOOL_OPTIONS", f"{os.environ.get('JAVA_TOOL_OPTIONS', '')} {allowed}".strip())
            super().start()
