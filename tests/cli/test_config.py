"""`ottla config`: settings, their sources, and what is not shown."""

from __future__ import annotations

import typing
from pathlib import Path

import msgspec
import pytest

from ottla import Settings
from ottla.cli.config import help_of, variable
from ottla.settings import HIDDEN, hide, load_settings
from tests.cli.conftest import Ottla

TOML = """
profile = "prod"
[kafka]
bootstrap_servers = "base:9092"
topic_partitions = 6
[profiles.prod.kafka]
bootstrap_servers = "prod:9092"
[profiles.dev.kafka]
bootstrap_servers = "dev:9092"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ottla.toml").write_text(TOML)
    return tmp_path


def test_each_setting_is_shown_with_its_source(ottla: Ottla, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTTLA_HTTP__PORT", "9000")
    shown = {
        one["name"]: (one["value"], one["source"]) for one in ottla("config", "show", "--json").document["settings"]
    }
    assert shown["kafka.bootstrap_servers"] == ("prod:9092", "ottla.toml [profiles.prod]")
    assert shown["kafka.topic_partitions"] == (6, "ottla.toml")
    assert shown["registry.auto_register"] == (False, "profile prod")
    assert shown["http.port"] == ("9000", "environment")
    assert shown["http.host"] == ("127.0.0.1", "default")
    changed = ottla("config", "show", "--changed").out
    assert "http.port" in changed
    assert "http.host" not in changed


def test_a_setting_is_explained_source_by_source(ottla: Ottla, folder: Path) -> None:
    told = ottla("config", "explain", "kafka.bootstrap_servers", "-b", "here:9092").out.splitlines()
    assert told == [
        "kafka.bootstrap_servers = here:9092",
        "  `host:port`, several with commas.",
        "  environment variable: OTTLA_KAFKA__BOOTSTRAP_SERVERS",
        "  default: 127.0.0.1:9092",
        "  ottla.toml: base:9092",
        "  ottla.toml [profiles.prod]: prod:9092",
        "  arguments: here:9092  <- in force",
    ]


def test_the_environment_wins_over_dotenv_and_both_over_the_profile(
    ottla: Ottla, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explained() -> list[str]:
        return ottla("config", "explain", "kafka.bootstrap_servers").out.splitlines()[3:]

    assert explained()[-1] == "  ottla.toml [profiles.prod]: prod:9092  <- in force"
    monkeypatch.setenv("OTTLA_PROFILE", "dev")
    assert explained()[-1] == "  ottla.toml [profiles.dev]: dev:9092  <- in force"
    (folder / ".env").write_text("OTTLA_KAFKA__BOOTSTRAP_SERVERS=dotenv:9092\n")
    assert explained()[-1] == "  .env: dotenv:9092  <- in force"
    monkeypatch.setenv("OTTLA_KAFKA__BOOTSTRAP_SERVERS", "environment:9092")
    assert explained()[2:] == [
        "  ottla.toml [profiles.dev]: dev:9092",
        "  .env: dotenv:9092",
        "  environment: environment:9092  <- in force",
    ]


def test_an_unknown_setting_is_told_with_the_one_that_was_meant(ottla: Ottla) -> None:
    outcome = ottla("config", "explain", "kafka.bootstrap_server")
    assert outcome.status == 1
    assert "did you mean 'kafka.bootstrap_servers'?" in outcome.err


def test_secrets_are_not_shown(ottla: Ottla, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTTLA_KAFKA__PROPERTIES__SASL_PASSWORD", "tiger")
    monkeypatch.setenv("OTTLA_DATABASE__URL", "postgresql://scott:tiger@db/orders")
    for arguments in (["show"], ["show", "--json"], ["explain", "kafka.properties.sasl.password"]):
        assert "tiger" not in ottla("config", *arguments).out
    assert "postgresql://(hidden)@db/orders" in ottla("config", "show").out


def test_herokus_variables_are_shown_as_a_source_and_lose_to_ottlas_own(
    ottla: Ottla, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_URL", "kafka+ssl://heroku:9096")
    monkeypatch.setenv("KAFKA_TRUSTED_CERT", CERTIFICATE)
    monkeypatch.setenv("KAFKA_CLIENT_CERT", CERTIFICATE)
    monkeypatch.setenv("KAFKA_CLIENT_CERT_KEY", KEY.replace("PRIVATE KEY-----\n-", "PRIVATE KEY-----\ntiger\n-"))
    monkeypatch.setenv("OTTLA_KAFKA__BOOTSTRAP_SERVERS", "own:9092")
    shown = {
        one["name"]: (one["value"], one["source"]) for one in ottla("config", "show", "--json").document["settings"]
    }
    assert shown["kafka.bootstrap_servers"] == ("own:9092", "environment")
    assert shown["kafka.security_protocol"] == ("ssl", "Heroku's variables")
    assert shown["kafka.ssl_key"] == (HIDDEN, "Heroku's variables")
    assert shown["kafka.ssl_certificate"] == ("(PEM text)", "Heroku's variables")
    told = ottla("config", "explain", "kafka.bootstrap_servers").out.splitlines()
    assert told[-2:] == ["  Heroku's variables: heroku:9096", "  environment: own:9092  <- in force"]
    assert "tiger" not in ottla("config", "explain", "kafka.ssl_key").out


def test_faults_of_security_are_told_all_at_once_without_secrets(ottla: Ottla, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTTLA_KAFKA__SASL_PASSWORD", "tiger")
    monkeypatch.setenv("OTTLA_KAFKA__SSL_KEY", "/no/such/file")
    outcome = ottla("config", "show")
    assert outcome.status == 1
    assert "kafka.sasl_password without kafka.security_protocol = sasl_ssl" in outcome.err
    assert "kafka.ssl_key without kafka.security_protocol = ssl" in outcome.err
    assert "tiger" not in outcome.err


@pytest.mark.parametrize(
    "name",
    [
        "kafka.sasl_password",
        "kafka.ssl_key_password",
        "kafka.sasl_token",
        "kafka.properties.sasl.password",
        "kafka.properties.ssl.key.pem",
        "kafka.properties.ssl.keystore.password",
        "kafka.properties.sasl.oauthbearer.client.secret",
        "registry.bearer_token",
        "registry.basic_auth",
    ],
)
def test_what_is_secret_by_its_name_is_hidden(name: str) -> None:
    assert hide(name, "tiger") == HIDDEN


def test_a_private_key_is_hidden_wherever_it_stands() -> None:
    assert hide("kafka.properties.x", "-----BEGIN PRIVATE KEY-----") == HIDDEN
    assert hide("kafka.properties.sasl.oauthbearer.token.endpoint.url", "https://idp/token") == "https://idp/token"


BESIDE = {
    # What a setting needs beside it, to fit.
    "sasl_ssl": {"OTTLA_KAFKA__SECURITY_PROTOCOL": "sasl_ssl"},
    "plain": {
        "OTTLA_KAFKA__SASL_MECHANISM": "PLAIN",
        "OTTLA_KAFKA__SASL_USERNAME": "ann",
        "OTTLA_KAFKA__SASL_PASSWORD": "p",
    },
    "oauth": {"OTTLA_KAFKA__SASL_MECHANISM": "OAUTHBEARER", "OTTLA_KAFKA__SASL_TOKEN": "tokens:fetch"},
}
CERTIFICATE = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"


def test_every_setting_has_a_help_text_and_a_variable_that_sets_it() -> None:
    def leaves(kind: type, path: str) -> list[tuple[str, msgspec.structs.FieldInfo]]:
        found = []
        for field in msgspec.structs.fields(kind):
            if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
                found += leaves(field.type, f"{path}{field.name}.")
            elif field.name != "properties":
                found.append((f"{path}{field.name}", field))
        return found

    for name, field in leaves(Settings, ""):
        assert help_of(name), name
        kinds = [field.type, *typing.get_args(field.type)]
        choices = next((typing.get_args(kind) for kind in kinds if typing.get_origin(kind) is typing.Literal), ["text"])
        value = "false" if field.type is bool else str(choices[-1])
        if name.rpartition("_")[2] in (
            "s",
            "bytes",
            "records",
            "max",
            "threads",
            "partitions",
            "replication",
            "replicas",
        ):
            value = "7"
        value = "7" if name == "http.port" else value
        beside: dict[str, str] = {}
        if name.startswith("kafka.s"):
            beside = BESIDE["sasl_ssl"] | BESIDE["oauth" if "token" in name or "mechanism" in name else "plain"]
            value = {"sasl_token": "tokens:fetch", "ssl_ca": CERTIFICATE, "ssl_certificate": CERTIFICATE + KEY}.get(
                name.removeprefix("kafka."), value
            )
            if name in ("kafka.ssl_key", "kafka.ssl_key_password"):
                beside |= {"OTTLA_KAFKA__SSL_CERTIFICATE": CERTIFICATE, "OTTLA_KAFKA__SSL_KEY": KEY}
                value = KEY if name == "kafka.ssl_key" else value
        node = load_settings(environ=beside | {variable(name): value})
        for step in name.split("."):
            node = getattr(node, step)
        assert str(node).lower() in (value.lower(), f"{value}.0"), name
