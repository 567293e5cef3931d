"""TLS and SASL for librdkafka, from the settings."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

from ottla.errors import BrokerUnavailable, ConfigurationError
from ottla.settings import KafkaSettings, TokenSource, is_pem, key_of, security_faults, text_of

log = logging.getLogger("ottla.kafka")

_PEM_PROPERTIES = {"ssl_ca": "ssl.ca", "ssl_certificate": "ssl.certificate"}


def security_config(settings: KafkaSettings) -> dict[str, Any]:
    """librdkafka's properties for the settings of TLS and SASL.

    Raises:
        ConfigurationError: They do not fit together. The message lists every fault.
        BrokerUnavailable: There is no OAUTHBEARER token.
    """
    faults = security_faults(settings)
    if faults:
        raise ConfigurationError("kafka cannot be reached so:\n" + "\n".join(f"  - {fault}" for fault in faults))
    config: dict[str, Any] = {
        "security.protocol": settings.security_protocol,
        "sasl.mechanism": settings.sasl_mechanism,
        "sasl.username": settings.sasl_username,
        "sasl.password": settings.sasl_password,
        "ssl.key.password": settings.ssl_key_password,
    }
    given = {"ssl.ca": settings.ssl_ca, "ssl.certificate": settings.ssl_certificate, "ssl.key": key_of(settings)}
    for name, value in given.items():
        if value is not None:
            pem = is_pem(value)
            config[f"{name}.pem" if pem else f"{name}.location"] = text_of(value) if pem else value
    if not settings.ssl_verify_hostname:
        config["ssl.endpoint.identification.algorithm"] = "none"
    if settings.sasl_token is not None:
        config["oauth_cb"] = _token_callback(settings.sasl_token)
    return {name: value for name, value in config.items() if value is not None}


def _token_callback(given: TokenSource | str) -> Callable[[str], tuple[str, float]]:
    """What the client library calls for a token. One that cannot be had later is told, and asked for again.

    The first token is fetched here: the library would wait ten seconds for it, and then not say why.
    """
    source = _found(given) if isinstance(given, str) else given
    try:
        first = [source()]
    except Exception as error:
        raise BrokerUnavailable(
            f"no OAUTHBEARER token: kafka.sasl_token raised {_kind(error)}, and without one no broker lets us in"
        ) from error

    def token(_config: str) -> tuple[str, float]:
        if first:
            return first.pop()
        try:
            return source()
        except Exception as error:
            # Not its text: whoever issues tokens may put secrets there.
            log.error("no OAUTHBEARER token, asking again in 10 s: kafka.sasl_token raised %s", _kind(error))
            raise

    return token


def _kind(error: Exception) -> str:
    return type(error).__name__


def _found(place: str) -> TokenSource:
    module, _, name = place.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"kafka.sasl_token: there is no {place} (MODULE:NAME): {error}") from error
    if not callable(found):
        raise ConfigurationError(f"kafka.sasl_token: {place} is not a function")
    source: TokenSource = found
    return source
