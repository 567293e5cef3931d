"""Settings of TLS and SASL: what the client library is given, and every fault at once."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from ottla import ConfigurationError, DatabaseSettings, KafkaSettings, Settings
from ottla.kafka.config import client_config
from ottla.kafka.producer import Producer
from ottla.kafka.security import security_config
from ottla.settings import load_settings

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


def faults_of(**kafka: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as told:
        security_config(KafkaSettings(**kafka))
    return [line.removeprefix("  - ") for line in str(told.value).splitlines()[1:]]


def test_without_security_nothing_is_said_of_it() -> None:
    assert security_config(KafkaSettings()) == {}


def test_files_and_texts_go_to_the_properties_that_are_for_them(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    settings = KafkaSettings(
        security_protocol="ssl",
        ssl_ca=str(tmp_path / "ca.pem"),
        ssl_certificate=CERTIFICATE.replace("\n", "\\n"),
        ssl_key=KEY,
        ssl_verify_hostname=False,
    )
    assert security_config(settings) == {
        "security.protocol": "ssl",
        "ssl.ca.location": str(tmp_path / "ca.pem"),
        "ssl.certificate.pem": CERTIFICATE,
        "ssl.key.pem": KEY,
        "ssl.endpoint.identification.algorithm": "none",
    }


def test_a_key_beside_its_certificate_needs_no_setting(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(KEY + CERTIFICATE)
    config = security_config(KafkaSettings(security_protocol="ssl", ssl_certificate=str(both)))
    assert config["ssl.certificate.location"] == config["ssl.key.location"] == str(both)


def test_a_property_of_librdkafka_wins_over_a_setting() -> None:
    settings = KafkaSettings(
        security_protocol="sasl_ssl",
        sasl_mechanism="PLAIN",
        sasl_username="ann",
        sasl_password="secret",
        properties={"sasl.username": "bob", "client.rack": "a"},
    )
    config = client_config(settings)
    assert (config["sasl.username"], config["client.rack"]) == ("bob", "a")


def test_properties_alone_are_librdkafkas_to_judge() -> None:
    properties: dict[str, Any] = {"security.protocol": "sasl_ssl", "sasl.mechanism": "GSSAPI"}
    assert security_config(KafkaSettings(properties=properties)) == {}


def test_librdkafkas_own_oidc_needs_no_function() -> None:
    properties: dict[str, Any] = {"sasl.oauthbearer.method": "oidc", "sasl.oauthbearer.client.id": "orders"}
    config = client_config(
        KafkaSettings(security_protocol="sasl_ssl", sasl_mechanism="OAUTHBEARER", properties=properties)
    )
    assert "oauth_cb" not in config
    assert config["sasl.oauthbearer.method"] == "oidc"


@pytest.mark.parametrize(
    ("kafka", "told"),
    [
        ({"sasl_username": "ann", "sasl_password": "p"}, ["kafka.sasl_username and kafka.sasl_password without"]),
        ({"security_protocol": "sasl_ssl"}, ["kafka.sasl_mechanism is missing"]),
        (
            {"security_protocol": "sasl_ssl", "sasl_mechanism": "SCRAM-SHA-512"},
            ["kafka.sasl_username is missing", "kafka.sasl_password is missing"],
        ),
        (
            {"security_protocol": "sasl_ssl", "sasl_mechanism": "PLAIN", "sasl_token": "tokens:fetch"},
            ["kafka.sasl_username is missing", "kafka.sasl_password is missing", "kafka.sasl_token is for OAUTHBEARER"],
        ),
        (
            {"security_protocol": "sasl_ssl", "sasl_mechanism": "OAUTHBEARER", "sasl_username": "ann"},
            ["kafka.sasl_username is not for OAUTHBEARER", "kafka.sasl_token is missing"],
        ),
        (
            {"security_protocol": "sasl_ssl", "sasl_mechanism": "OAUTHBEARER", "sasl_token": "fetch"},
            ["kafka.sasl_token is neither a function nor the place of one"],
        ),
        (
            {
                "security_protocol": "sasl_ssl",
                "sasl_mechanism": "OAUTHBEARER",
                "sasl_token": "tokens:fetch",
                "properties": {"sasl.oauthbearer.method": "oidc"},
            },
            ["tokens can come from one only"],
        ),
        ({"ssl_ca": CERTIFICATE}, ["kafka.ssl_ca without kafka.security_protocol = ssl or sasl_ssl"]),
        (
            {"security_protocol": "sasl_plaintext", "ssl_ca": CERTIFICATE, "ssl_key": KEY},
            ["kafka.sasl_mechanism is missing", "kafka.ssl_ca and kafka.ssl_key without"],
        ),
        (
            {"security_protocol": "ssl", "ssl_ca": "/no/such/file", "ssl_certificate": KEY, "ssl_key": "no\nPEM"},
            [
                "kafka.ssl_ca: the file /no/such/file cannot be read: No such file or directory",
                "kafka.ssl_certificate: the text holds no -----BEGIN ... CERTIFICATE-----",
                "kafka.ssl_key: the text has no -----BEGIN line",
            ],
        ),
        ({"security_protocol": "ssl", "ssl_certificate": CERTIFICATE}, ["kafka.ssl_key is missing"]),
        ({"security_protocol": "ssl", "ssl_key": KEY}, ["kafka.ssl_certificate is missing"]),
        ({"security_protocol": "ssl", "ssl_key_password": "p"}, ["kafka.ssl_key is missing"]),
    ],
)
def test_what_does_not_fit_together_is_told_all_of_it(kafka: dict[str, Any], told: list[str]) -> None:
    faults = faults_of(**kafka)
    assert len(faults) == len(told)
    assert all(fault.startswith(start) or start in fault for fault, start in zip(faults, told, strict=True)), faults


def test_faults_of_security_stand_beside_those_of_other_settings(tmp_path: Path) -> None:
    environ = {"OTTLA_HTTP__PORT": "eighty", "OTTLA_KAFKA__SASL_USERNAME": "ann"}
    with pytest.raises(ConfigurationError) as told:
        load_settings(directory=tmp_path, environ=environ)
    assert "http.port from environment" in str(told.value)
    assert "kafka.sasl_username without" in str(told.value)


def test_choices_are_taken_in_any_case(tmp_path: Path) -> None:
    environ = {"OTTLA_KAFKA__SECURITY_PROTOCOL": "SSL"}
    assert load_settings(directory=tmp_path, environ=environ).kafka.security_protocol == "ssl"


def test_a_property_that_does_not_exist_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match=r"no\.such\.thing"):
        Producer(KafkaSettings(properties={"no.such.thing": 1}))


def test_a_function_that_is_not_there_is_told() -> None:
    settings = KafkaSettings(security_protocol="sasl_ssl", sasl_mechanism="OAUTHBEARER", sasl_token="json:no_such")
    with pytest.raises(ConfigurationError, match="there is no json:no_such"):
        security_config(settings)


def test_a_token_that_cannot_be_renewed_is_told_without_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    calls = list[int]()

    def fetch() -> tuple[str, float]:
        calls.append(1)
        if len(calls) > 1:
            raise OSError("s3cret")
        return "token", time.time() + 60

    config = security_config(
        KafkaSettings(security_protocol="sasl_ssl", sasl_mechanism="OAUTHBEARER", sasl_token=fetch)
    )
    assert config["oauth_cb"]("")[0] == "token"
    assert len(calls) == 1
    with caplog.at_level(logging.DEBUG), pytest.raises(OSError, match="s3cret"):
        config["oauth_cb"]("")
    assert "kafka.sasl_token raised OSError" in caplog.text
    assert "s3cret" not in caplog.text


SECRETS: dict[str, Any] = {
    "sasl_password": "s3cret",
    "ssl_key": KEY.replace("AAAA", "s3cret"),
    "ssl_key_password": "s3cret",
    "sasl_token": "s3cret",
    "ssl_certificate": KEY.replace("AAAA", "s3cret") + CERTIFICATE,
    "properties": {"sasl.password": "s3cret", "ssl.key.pem": "s3cret", "sasl.oauthbearer.client.secret": "s3cret"},
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_not_in_the_repr_of_settings(name: str) -> None:
    kafka = KafkaSettings(**{name: SECRETS[name]})
    assert "s3cret" not in repr(Settings(kafka=kafka))
    assert "s3cret" not in f"{kafka}"


def test_the_repr_of_settings_shows_what_is_no_secret() -> None:
    shown = repr(
        Settings(
            kafka=KafkaSettings(ssl_key="/etc/key.pem", sasl_token="shop.tokens:fetch"),
            database=DatabaseSettings(url="postgresql://scott:s3c/r@t@db/orders"),
        )
    )
    assert "/etc/key.pem" in shown
    assert "shop.tokens:fetch" in shown
    assert "postgresql://(hidden)@db/orders" in shown


@pytest.mark.parametrize(
    "broken",
    [
        {"ssl_certificate": CERTIFICATE, "ssl_key": KEY.replace("AAAA", "s3cret")},
        {"ssl_ca": CERTIFICATE.replace("AAAA", "s3cret")},
        {"properties": {"ssl.key.pem": "s3cret"}},
        {"properties": {"ssl.key.password": "s3cret", "no.such": "x"}},
    ],
)
def test_what_the_client_library_cannot_read_is_told_without_its_text(
    broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigurationError, match="librdkafka does not take") as told:
        Producer(KafkaSettings(security_protocol="ssl", **broken))
    assert "s3cret" not in str(told.value) + caplog.text + repr(told.value.__context__)


def test_a_secret_of_a_wrong_type_is_not_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "ottla.toml").write_text('[kafka]\nsasl_password = ["s3cret"]\nproperties = "s3cret"\n')
    with pytest.raises(ConfigurationError) as told:
        load_settings(directory=tmp_path, environ={})
    assert "kafka.sasl_password" in str(told.value)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "servers", "protocol"),
    [
        ("kafka+ssl://a:9096,kafka+ssl://b:9096", "a:9096,b:9096", "ssl"),
        ("kafka://a:9092", "a:9092", None),
        ("a:9092,b:9092", "a:9092,b:9092", None),
    ],
)
def test_kafka_url_says_where_the_brokers_are(tmp_path: Path, url: str, servers: str, protocol: str | None) -> None:
    kafka = load_settings(directory=tmp_path, environ={"KAFKA_URL": url}).kafka
    assert (kafka.bootstrap_servers, kafka.security_protocol) == (servers, protocol)
    assert kafka.ssl_verify_hostname == (protocol is None)


def test_ottlas_own_variables_win_over_herokus(tmp_path: Path) -> None:
    environ = {
        "KAFKA_URL": "kafka+ssl://a:1",
        "OTTLA_KAFKA__BOOTSTRAP_SERVERS": "b:2",
        "OTTLA_KAFKA__SSL_VERIFY_HOSTNAME": "1",
    }
    kafka = load_settings(directory=tmp_path, environ=environ).kafka
    assert (kafka.bootstrap_servers, kafka.ssl_verify_hostname) == ("b:2", True)


def test_herokus_other_variables_mean_nothing_without_its_url(tmp_path: Path) -> None:
    assert load_settings(directory=tmp_path, environ={"KAFKA_PREFIX": "x."}).kafka.prefix == ""


@pytest.mark.parametrize("url", ["https://user:s3cret@a:1", "kafka://a:1,kafka+ssl://b:1", "kafka+ssl://nowhere"])
def test_a_kafka_url_that_cannot_be_understood_is_a_fault(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"KAFKA_URL: expected kafka\+ssl://host:port") as told:
        load_settings(directory=tmp_path, environ={"KAFKA_URL": url})
    assert "s3cret" not in str(told.value)


def test_a_name_gets_the_prefix_once() -> None:
    settings = KafkaSettings(prefix="wabash-1.")
    assert settings.named("orders") == settings.named("wabash-1.orders") == "wabash-1.orders"
    assert KafkaSettings().named("orders") == "orders"
