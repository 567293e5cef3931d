"""A broker's security, read from settings under Kafka's names: what is understood, and every fault at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.broker.config import BrokerConfig
from ottla.broker.listener import listener_configs
from ottla.broker.security.jaas import parse_jaas
from ottla.broker.security.settings import parse_first_user, read_security
from ottla.errors import ConfigurationError
from tests.contracts.security.certificates import Authority

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SASL = {
    "listeners": "SASL_PLAINTEXT://127.0.0.1:0",
    "sasl.enabled.mechanisms": "PLAIN",
    "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{PLAIN} user_ann="a";',
}


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    from cryptography.x509.oid import NameOID

    authority = Authority(tmp_path)
    file = authority.issue("broker.pem", (NameOID.COMMON_NAME, "localhost"))
    return {"ssl.keystore.location": str(file), "ssl.truststore.location": str(authority.ca)}


def faults(properties: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_security(properties)
    return str(caught.value)


def test_nothing_about_security_is_no_security() -> None:
    assert read_security({"log.retention.ms": "1"}) is None


def test_listeners_have_names_protocols_and_addresses(keys: dict[str, str]) -> None:
    security = read_security(
        {
            **keys,
            "listeners": "IN://127.0.0.1:1, OUT://0.0.0.0:2,CONTROLLER://:3",
            "advertised.listeners": "OUT://broker.example:9093,CONTROLLER://x:3",
            "listener.security.protocol.map": "IN:PLAINTEXT,OUT:SSL,CONTROLLER:PLAINTEXT",
            "listener.name.out.ssl.client.auth": "required",
            "controller.listener.names": "CONTROLLER",
        }
    )
    assert security is not None
    inside, outside = security.listeners
    assert (inside.name, inside.protocol, inside.host, inside.port, inside.tls) == (
        "IN",
        "PLAINTEXT",
        "127.0.0.1",
        1,
        None,
    )
    assert (outside.name, outside.protocol, outside.host, outside.advertised) == (
        "OUT",
        "SSL",
        "0.0.0.0",
        ("broker.example", 9093),
    )
    assert outside.tls is not None
    assert outside.tls.client_auth == "required"


def test_a_listeners_own_setting_counts_before_the_general_one(keys: dict[str, str]) -> None:
    security = read_security(
        {
            **keys,
            "listeners": "A://127.0.0.1:1,B://127.0.0.1:2",
            "listener.security.protocol.map": "A:SSL,B:SASL_SSL",
            "ssl.client.auth": "required",
            "listener.name.a.ssl.client.auth": "requested",
            "sasl.enabled.mechanisms": "SCRAM-SHA-256",
            "listener.name.b.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "connections.max.reauth.ms": "1000",
            "listener.name.b.scram-sha-512.connections.max.reauth.ms": "2000",
        }
    )
    assert security is not None
    first, second = security.listeners
    assert first.tls is not None
    assert first.tls.client_auth == "requested"
    assert second.tls is not None
    assert second.tls.client_auth == "none", "as in Kafka: with SASL_SSL only the listener's own setting counts"
    assert second.sasl is not None
    assert (second.sasl.mechanisms, second.sasl.max_reauth_ms) == (("SCRAM-SHA-512",), {"SCRAM-SHA-512": 2000})


def test_keys_can_stand_in_the_settings_themselves(keys: dict[str, str]) -> None:
    text = Path(keys["ssl.keystore.location"]).read_text()
    key, _, certificate = text.partition("-----END PRIVATE KEY-----\n")
    security = read_security(
        {
            "listeners": "SSL://127.0.0.1:0",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.key": key + "-----END PRIVATE KEY-----\n",
            "ssl.keystore.certificate.chain": certificate,
            "ssl.truststore.certificates": Path(keys["ssl.truststore.location"]).read_text(),
            "ssl.client.auth": "required",
        }
    )
    assert security is not None
    assert security.listeners[0].is_secure


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"listeners": "WHAT://127.0.0.1:1"}, "WHAT is no protocol"),
        ({"listeners": "nonsense"}, "expected NAME://HOST:PORT"),
        ({"listeners": "SSL://127.0.0.1:1"}, "needs ssl.keystore.location"),
        ({"listeners": "SSL://127.0.0.1:1", "ssl.keystore.type": "JKS"}, "only PEM"),
        ({"listeners": "SSL://127.0.0.1:1", "ssl.keystore.location": "/nowhere/x.pem"}, "cannot read /nowhere/x.pem"),
        ({"listener.security.protocol.map": "A:TLS"}, "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ({"sasl.enabled.mechanisms": "GSSAPI"}, "GSSAPI is not served"),
        ({"sasl.enabled.mechanisms": ""}, "which of PLAIN"),
        ({"listener.name.sasl_plaintext.plain.sasl.jaas.config": "nonsense"}, "semicolon"),
        ({"listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{PLAIN};"}, "names no user"),
        ({"sasl.jaas.config": f"{PLAIN};"}, "belongs to one listener"),
        ({"listener.name.sasl_plaintex.ssl.client.auth": "none"}, "there is no listener SASL_PLAINTEX"),
        ({"ssl.cleint.auth": "required"}, "no such setting"),
        ({"authorizer.class.name": "com.example.Mine"}, "StandardAuthorizer"),
        ({"super.users": "User:admin"}, "no effect without authorizer.class.name"),
        ({"super.users": "admin", "authorizer.class.name": "x.StandardAuthorizer"}, "expected TYPE:NAME"),
        ({"sasl.enabled.mechanisms": "OAUTHBEARER"}, "the issuer's public keys"),
        ({"max.connections.per.ip": "many"}, "not a whole number"),
        ({"principal.builder.class": "com.example.Mine"}, "Java class"),
        ({"ottla.add.scram": "SCRAM-SHA-512=[name=a]"}, "name= and password= are both needed"),
        ({"allow.everyone.if.no.acl.found": "maybe"}, "neither true nor false"),
    ],
)
def test_a_fault_is_named(change: dict[str, str], fault: str) -> None:
    assert fault in faults({**SASL, **change})


def test_all_faults_are_told_at_once() -> None:
    said = faults({**SASL, "sasl.enabled.mechanisms": "GSSAPI", "super.users": "x", "max.connections.per.ip": "-"})
    assert all(one in said for one in ("GSSAPI", "super.users", "max.connections.per.ip"))


def test_no_fault_shows_a_password() -> None:
    said = faults({**SASL, "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{PLAIN} user_a="geheim"'})
    said += faults({**SASL, "ottla.add.scram": "SCRAM-SHA-512=[name=a,password=geheim,iterations=1]"})
    assert "geheim" not in said


def test_settings_do_not_show_passwords() -> None:
    security = read_security({**SASL, "ottla.add.scram": "SCRAM-SHA-512=[name=a,password=geheim]"})
    assert "geheim" not in repr(security)
    assert "user_" not in repr(security)


def test_an_encrypted_key_without_its_password_is_a_fault_and_no_question(tmp_path: Path, keys: dict[str, str]) -> None:
    from cryptography.hazmat.primitives import serialization

    text = Path(keys["ssl.keystore.location"]).read_bytes()
    key = serialization.load_pem_private_key(text, None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"open"),
    ).decode()
    certificate = text.decode().partition("-----END PRIVATE KEY-----\n")[2]
    given = {
        "listeners": "SSL://127.0.0.1:0",
        "ssl.keystore.key": encrypted,
        "ssl.keystore.certificate.chain": certificate,
    }
    assert "ssl.key.password is not set" in faults(given)
    assert "certificate and key cannot be used" in faults({**given, "ssl.key.password": "wrong"})
    assert read_security({**given, "ssl.key.password": "open"}) is not None


# --- who may be reached from where ---


def config(properties: dict[str, str], **options: object) -> BrokerConfig:
    return BrokerConfig(security=read_security(properties), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_an_open_listener_may_be_on_loopback(host: str) -> None:
    assert listener_configs(BrokerConfig(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "broker.example", "127.evil.example"])
def test_an_open_listener_is_refused_elsewhere_unless_a_flag_allows_it(host: str) -> None:
    with pytest.raises(ConfigurationError, match="--allow-insecure"):
        listener_configs(BrokerConfig(host=host))
    assert listener_configs(BrokerConfig(host=host, allow_insecure=True))


def test_passwords_in_the_clear_are_refused_elsewhere() -> None:
    open_to_all = {**SASL, "listeners": "SASL_PLAINTEXT://0.0.0.0:0"}
    with pytest.raises(ConfigurationError, match="SASL_PLAINTEXT"):
        listener_configs(config(open_to_all))
    assert listener_configs(config({**open_to_all, "ottla.allow.insecure": "true"}))


def test_tls_without_client_certificates_is_refused_elsewhere(keys: dict[str, str]) -> None:
    given = {**keys, "listeners": "SSL://0.0.0.0:0"}
    with pytest.raises(ConfigurationError, match=r"ssl.client.auth=required"):
        listener_configs(config(given))
    assert listener_configs(config({**given, "ssl.client.auth": "required"}))


def test_no_host_is_loopback_for_an_open_listener_and_everywhere_for_a_secure_one(keys: dict[str, str]) -> None:
    assert listener_configs(config({"listeners": "PLAINTEXT://:0"}))[0].host == "127.0.0.1"
    secure = {**keys, "listeners": "SSL://:0", "ssl.client.auth": "required"}
    assert listener_configs(config(secure))[0].host == ""


# --- small languages ---


def test_jaas_options_may_be_quoted_and_escaped() -> None:
    module = parse_jaas('a.B required user_ann="x\\"y\\\\" user_bob=plain  debug="true" ;')
    assert (module.name, module.users) == ("a.B", {"ann": 'x"y\\', "bob": "plain"})


@pytest.mark.parametrize(
    "text", ["", ";", "a.B;", "a.B required", "a.B required x;", 'a.B required x="y;', "a.B required x==;"]
)
def test_malformed_jaas_is_a_fault(text: str) -> None:
    with pytest.raises(ValueError):
        parse_jaas(text)


def test_a_first_user_is_written_as_for_kafkas_storage_tool() -> None:
    user = parse_first_user('SCRAM-SHA-256=[iterations=8192,name=admin,password="a=b"]')
    assert (user.mechanism, user.name, user.password, user.iterations) == ("SCRAM-SHA-256", "admin", "a=b", 8192)


@pytest.mark.parametrize(
    "text", ["", "x", "SCRAM-SHA-1=[name=a,password=b]", "SCRAM-SHA-256=[name=a,password=b,iterations=1]"]
)
def test_a_malformed_first_user_is_a_fault(text: str) -> None:
    with pytest.raises(ValueError):
        parse_first_user(text)
