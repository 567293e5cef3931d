"""Whether the settings of TLS and SASL fit together: every fault at once, before a client is made."""

from __future__ import annotations

from pathlib import Path

from ottla.settings.kinds import KafkaSettings
from ottla.settings.secrets import is_pem

# Who has these made it so that librdkafka finds its tokens itself.
OWN_TOKENS = ("sasl.oauthbearer.method", "enable.sasl.oauthbearer.unsecure.jwt")
KEY_MARK = "PRIVATE KEY-----"


def security_faults(kafka: KafkaSettings) -> list[str]:
    """What is wrong with the security settings; empty if nothing is.

    What `kafka.properties` says is librdkafka's to check, and stands in for the settings of the same meaning.
    """
    protocol = str(kafka.properties.get("security.protocol", kafka.security_protocol or "plaintext")).lower()
    return [*_sasl_faults(kafka, protocol), *_tls_faults(kafka, protocol)]


def text_of(given: str) -> str:
    """PEM text as it should be: environment variables often have a backslash and an n where a line ends."""
    return given.replace("\\n", "\n") if "\n" not in given.strip() else given


def key_of(kafka: KafkaSettings) -> str | None:
    """Where the key for mutual TLS is: its own setting, or the certificate's where both are in one."""
    if kafka.ssl_key is None and kafka.ssl_certificate is not None and KEY_MARK in _read(kafka.ssl_certificate):
        return kafka.ssl_certificate
    return kafka.ssl_key


def _sasl_faults(kafka: KafkaSettings, protocol: str) -> list[str]:
    properties = kafka.properties
    given = [
        f"kafka.{name}"
        for name in ("sasl_mechanism", "sasl_username", "sasl_password", "sasl_token")
        if getattr(kafka, name) is not None
    ]
    if not given and kafka.security_protocol is None:
        return []
    if not protocol.startswith("sasl_"):
        if given:
            return [
                f"{_and(given)} without kafka.security_protocol = sasl_ssl (or sasl_plaintext, on a network that is "
                f"closed): with {protocol}, nobody logs in"
            ]
        return []
    mechanism = properties.get("sasl.mechanism", properties.get("sasl.mechanisms", kafka.sasl_mechanism))
    if mechanism is None:
        return ["kafka.sasl_mechanism is missing: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"]
    if mechanism == "OAUTHBEARER":
        return _oauth_faults(kafka)
    faults = []
    if mechanism != "GSSAPI":
        faults += [
            f"kafka.{name} is missing: {mechanism} needs it"
            for name in ("sasl_username", "sasl_password")
            if getattr(kafka, name) is None and name.replace("_", ".") not in properties
        ]
    if kafka.sasl_token is not None:
        faults.append(f"kafka.sasl_token is for OAUTHBEARER, and kafka.sasl_mechanism is {mechanism}")
    return faults


def _oauth_faults(kafka: KafkaSettings) -> list[str]:
    own = [name for name in OWN_TOKENS if name in kafka.properties]
    faults = [
        f"kafka.{name} is not for OAUTHBEARER: its tokens come from kafka.sasl_token"
        for name in ("sasl_username", "sasl_password")
        if getattr(kafka, name) is not None
    ]
    if kafka.sasl_token is None and not own:
        faults.append(
            "kafka.sasl_token is missing: OAUTHBEARER needs a function that gives tokens (MODULE:NAME), or "
            'kafka.properties."sasl.oauthbearer.method" = "oidc"'
        )
    if kafka.sasl_token is not None:
        faults += [f'kafka.sasl_token and kafka.properties."{name}": tokens can come from one only' for name in own]
        if not callable(kafka.sasl_token) and ":" not in str(kafka.sasl_token):
            faults.append("kafka.sasl_token is neither a function nor the place of one, MODULE:NAME")
    return faults


def _tls_faults(kafka: KafkaSettings, protocol: str) -> list[str]:
    names = ("ssl_ca", "ssl_certificate", "ssl_key", "ssl_key_password")
    given = [f"kafka.{name}" for name in names if getattr(kafka, name) is not None]
    if not protocol.endswith("ssl"):
        if given:
            return [
                f"{_and(given)} without kafka.security_protocol = ssl or sasl_ssl: with {protocol}, there is no TLS"
            ]
        return []
    faults = []
    for name, mark in (("ssl_ca", "CERTIFICATE-----"), ("ssl_certificate", "CERTIFICATE-----"), ("ssl_key", KEY_MARK)):
        faults += _pem_faults(f"kafka.{name}", getattr(kafka, name), mark)
    if faults:
        return faults
    if kafka.ssl_certificate is not None and key_of(kafka) is None and "ssl.key.location" not in kafka.properties:
        faults.append("kafka.ssl_key is missing: kafka.ssl_certificate holds no key")
    if kafka.ssl_certificate is None and kafka.ssl_key is not None:
        faults.append("kafka.ssl_certificate is missing: kafka.ssl_key is of no use without it")
    if kafka.ssl_key_password is not None and key_of(kafka) is None:
        faults.append("kafka.ssl_key is missing: kafka.ssl_key_password opens nothing")
    return faults


def _pem_faults(name: str, given: str | None, mark: str) -> list[str]:
    if given is None:
        return []
    if is_pem(given):
        where = "the text"
    else:
        where = f"the file {given}" if "\n" not in given and len(given) < 300 else "the text"
        if where == "the text":
            return [f"{name}: the text has no -----BEGIN line: it is not PEM"]
        try:
            Path(given).read_bytes()
        except OSError as error:
            return [f"{name}: the file {given} cannot be read: {error.strerror}"]
    if mark not in _read(given):
        return [f"{name}: {where} holds no -----BEGIN ... {mark}"]
    return []


def _read(given: str) -> str:
    if is_pem(given):
        return given
    try:
        return Path(given).read_text("utf-8", "replace")
    except OSError:
        return ""


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
