"""How the broker is secured: listeners, their TLS and SASL, the authorizer. Plain data; `settings.py` reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
ClientAuth = Literal["none", "requested", "required"]

PROTOCOLS: tuple[Protocol, ...] = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_LOOPBACK = re.compile(r"127\.\d{1,3}\.\d{1,3}\.\d{1,3}")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")


@dataclass(frozen=True)
class TlsConfig:
    """TLS of one listener. Everything PEM: what is in a file, or the text itself.

    Attributes:
        certificate: The broker's certificate and its chain, as text.
        key: Its private key, as text.
        key_password: Of an encrypted key.
        trusted: The authorities whose client certificates are accepted, as text; None for none.
        client_auth: Whether clients must show a certificate of their own (mutual TLS).
        protocols: Some of `TLSv1.2` and `TLSv1.3`.
        ciphers: OpenSSL's or IANA's names for TLS 1.2; None for Python's defaults.
        principal_rules: Kafka's ssl.principal.mapping.rules: how a certificate's name becomes a principal.
    """

    certificate: str
    key: str = field(repr=False)
    key_password: str | None = field(default=None, repr=False)
    trusted: str | None = None
    client_auth: ClientAuth = "none"
    protocols: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    ciphers: str | None = None
    principal_rules: str = "DEFAULT"


@dataclass(frozen=True)
class OAuthConfig:
    """How tokens of OAUTHBEARER are judged.

    Attributes:
        jwks: `file:///path` or `https://...` of the issuer's public keys; None only with `allow_unsecured`.
        audience: The token's `aud` must name one of these; empty: not looked at.
        issuer: What its `iss` must be; None: not looked at.
        sub_claim: The claim that names the principal.
        scope_claim: The claim that must hold the token's scopes, if there is one.
        clock_skew_s: How far clocks may be apart.
        refresh_s: How often the keys are fetched anew.
        allow_unsecured: Whether tokens without a signature are believed. For development alone.
    """

    jwks: str | None
    audience: tuple[str, ...] = ()
    issuer: str | None = None
    sub_claim: str = "sub"
    scope_claim: str = "scope"
    clock_skew_s: int = 30
    refresh_s: float = 3600.0
    allow_unsecured: bool = False


@dataclass(frozen=True)
class SaslConfig:
    """SASL of one listener.

    Attributes:
        mechanisms: The names of those served, in the order in which clients are told of them.
        users: Names and passwords for PLAIN.
        oauth: For OAUTHBEARER.
        max_reauth_ms: By mechanism: after how long a client must authenticate anew (KIP-368); absent or 0: never.
    """

    mechanisms: tuple[str, ...]
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    oauth: OAuthConfig | None = None
    max_reauth_ms: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ListenerConfig:
    """One address to listen on.

    Attributes:
        name: The listener's name, in capitals.
        protocol: What is spoken there.
        host: The address; empty for all.
        port: 0 picks a free one.
        advertised: Host and port that clients are told; None: those by which they came.
        tls, sasl: As the protocol wants them.
    """

    name: str
    protocol: Protocol
    host: str
    port: int
    advertised: tuple[str, int] | None = None
    tls: TlsConfig | None = None
    sasl: SaslConfig | None = None

    @property
    def on_loopback(self) -> bool:
        return self.host in ("localhost", "::1") or _LOOPBACK.fullmatch(self.host) is not None

    @property
    def is_secure(self) -> bool:
        """Whether nobody can read along, and everybody must show who they are."""
        if self.protocol == "SSL":
            return self.tls is not None and self.tls.client_auth == "required"
        return self.protocol == "SASL_SSL"


@dataclass(frozen=True)
class FirstUser:
    """A SCRAM user whom the broker makes at its start if there is none of the name: so the first admin comes to be."""

    mechanism: str
    name: str
    password: str = field(repr=False)
    iterations: int = 4096


@dataclass(frozen=True)
class SecurityConfig:
    """All of it.

    Attributes:
        listeners: Where the broker listens; empty: BrokerConfig's host and port, PLAINTEXT.
        authorizer: Whether ACLs decide who may do what; without it everybody may do everything.
        super_users: Principals (`User:name`) that may do everything.
        allow_everyone_if_no_acl: Whether a resource that no ACL covers is open to all.
        allow_insecure: Whether a listener that is not secure may be reached from other machines.
        first_users: Made at the start if they are missing.
        failed_authentication_delay_ms: How long a failed client waits for its answer.
        authentication_timeout_ms: How long a client may take to show who it is.
        sasl_max_receive_bytes: The largest request before that.
        connections_max_per_ip: Connections from one address; more are closed at once.
        connections_max_per_ip_overrides: The same for some addresses.
    """

    listeners: tuple[ListenerConfig, ...] = ()
    authorizer: bool = False
    super_users: frozenset[str] = frozenset()
    allow_everyone_if_no_acl: bool = False
    allow_insecure: bool = False
    first_users: tuple[FirstUser, ...] = ()
    failed_authentication_delay_ms: int = 100
    authentication_timeout_ms: int = 30_000
    sasl_max_receive_bytes: int = 524_288
    connections_max_per_ip: int = 2**31 - 1
    connections_max_per_ip_overrides: Mapping[str, int] = field(default_factory=dict)
