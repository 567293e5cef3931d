"""Kafka's names for all that concerns security, and how they become a SecurityConfig.

A listener's own setting (`listener.name.<listener>.ssl.client.auth`) counts before the general one, and a mechanism's
(`listener.name.<listener>.plain.sasl.jaas.config`) before both, as in Kafka. All faults are reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ottla.broker.security.config import (
    MECHANISMS,
    PROTOCOLS,
    ClientAuth,
    FirstUser,
    ListenerConfig,
    OAuthConfig,
    Protocol,
    SaslConfig,
    SecurityConfig,
    TlsConfig,
)
from ottla.broker.security.jaas import parse_jaas
from ottla.errors import ConfigurationError

_EXACT = frozenset(
    {
        "listeners",
        "advertised.listeners",
        "listener.security.protocol.map",
        "authorizer.class.name",
        "super.users",
        "allow.everyone.if.no.acl.found",
        "connection.failed.authentication.delay.ms",
        "connections.max.reauth.ms",
        "max.connections.per.ip",
        "max.connections.per.ip.overrides",
        "principal.builder.class",
        "ottla.allow.insecure",
        "ottla.add.scram",
        "ottla.authentication.timeout.ms",
        "ottla.oauthbearer.allow.unsecured",
    }
)
_BEGIN = ("listener.name.", "sasl.", "ssl.")
LOOPBACK = "127.0.0.1"
AUTHORIZER = "StandardAuthorizer"
_OAUTH_HANDLER = "OAuthBearerValidatorCallbackHandler"
_ADDRESS = re.compile(r"(?P<name>[A-Za-z0-9_-]+)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/\[\]]*):(?P<port>\d{1,5})")
_SCRAM = re.compile(r"(?P<mechanism>SCRAM-SHA-\d+)=\[(?P<options>.*)\]", re.DOTALL)

# Settings of Kafka's that choose Java classes or talk to other brokers: nothing here listens to them, and nothing that
# should be closed is open for want of them.
_WITHOUT_MEANING = re.compile(
    r"sasl\.(kerberos|login|client|mechanism|oauthbearer\.(token|assertion|client|scope$|jwt|header|iat|jti))"
    r"|ssl\.(endpoint|provider|protocol$|secure|engine|allow|keymanager|trustmanager)"
)


class SecurityFaults(ConfigurationError):
    """What is wrong with the settings of security.

    Attributes:
        faults: All of it: the setting's name, and what is wrong with it.
    """

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        self.faults = faults
        lines = [f"{name}: {what}" for name, what in faults]
        super().__init__("embedded broker, security is set up wrongly:\n  " + "\n  ".join(lines))


def is_security_setting(name: str) -> bool:
    """Whether a setting of the broker is one of those that make up its security."""
    return name in _EXACT or name.startswith(_BEGIN)


def read_security(properties: Mapping[str, str]) -> SecurityConfig | None:
    """The security that settings under Kafka's names ask for; None if none of them concerns it.

    Raises:
        ConfigurationError: Lists every fault, each with the setting's name.
    """
    mine = {name: value.strip() for name, value in properties.items() if is_security_setting(name)}
    if not mine:
        return None
    reader = _Reader(mine, properties.get("controller.listener.names", ""))
    config = reader.read()
    if reader.faults:
        raise SecurityFaults(reader.faults)
    return config


class _Reader:
    """Reads settings and collects what is wrong with them."""

    def __init__(self, given: Mapping[str, str], controllers: str) -> None:
        self.given = given
        self.faults: list[tuple[str, str]] = []
        self._controllers = {name.strip().upper() for name in controllers.split(",")}

    def read(self) -> SecurityConfig:
        listeners = self._listeners()
        self._check_names({listener.name for listener in listeners})
        config = SecurityConfig(
            listeners=tuple(self._secured(listener) for listener in listeners),
            authorizer=self._authorizer(),
            super_users=self._super_users(),
            allow_everyone_if_no_acl=self._flag("allow.everyone.if.no.acl.found"),
            allow_insecure=self._flag("ottla.allow.insecure"),
            first_users=self._first_users(),
            failed_authentication_delay_ms=self._number("connection.failed.authentication.delay.ms", 100, 0),
            authentication_timeout_ms=self._number("ottla.authentication.timeout.ms", 30_000, 1),
            sasl_max_receive_bytes=self._number("sasl.server.max.receive.size", 524_288, 64),
            connections_max_per_ip=self._number("max.connections.per.ip", 2**31 - 1, 0),
            connections_max_per_ip_overrides=self._per_ip(),
        )
        if not config.authorizer and (config.super_users or config.allow_everyone_if_no_acl):
            self.fault("super.users", f"has no effect without authorizer.class.name=...{AUTHORIZER}")
        if "principal.builder.class" in self.given:
            self.fault("principal.builder.class", "a Java class cannot be loaded here; use ssl.principal.mapping.rules")
        return config

    def fault(self, name: str, what: str) -> None:
        self.faults.append((name, what))

    # Listeners

    def _listeners(self) -> list[ListenerConfig]:
        protocols = self._protocols()
        advertised = {name: (host, port) for name, host, port in self._addresses("advertised.listeners")}
        found: list[ListenerConfig] = []
        for name, host, port in self._addresses("listeners"):
            if name in self._controllers:
                continue
            protocol = protocols.get(name)
            if protocol is None:
                self.fault("listeners", f"{name} is no protocol and not in listener.security.protocol.map")
                continue
            if any(other.name == name for other in found):
                self.fault("listeners", f"{name} is there twice")
            found.append(ListenerConfig(name, protocol, host, port, advertised.pop(name, None)))
        for name in advertised:
            if name not in self._controllers:
                self.fault("advertised.listeners", f"{name} is not among the listeners")
        return found

    def _protocols(self) -> dict[str, Protocol]:
        known: dict[str, Protocol] = {protocol: protocol for protocol in PROTOCOLS}
        setting = "listener.security.protocol.map"
        for entry in filter(None, self.given.get(setting, "").split(",")):
            name, _, wanted = entry.strip().partition(":")
            protocol = next((one for one in PROTOCOLS if one == wanted.strip().upper()), None)
            if protocol is None:
                self.fault(setting, f"{entry!r}: expected NAME:PROTOCOL with one of {', '.join(PROTOCOLS)}")
            else:
                known[name.strip().upper()] = protocol
        return known

    def _addresses(self, setting: str) -> list[tuple[str, str, int]]:
        found = []
        for entry in filter(None, (part.strip() for part in self.given.get(setting, "").split(","))):
            match = _ADDRESS.fullmatch(entry)
            if match is None or int(match["port"]) > 65535:
                self.fault(setting, f"{entry!r}: expected NAME://HOST:PORT")
                continue
            host = match["host"].strip("[]")
            if not host and setting == "advertised.listeners":
                self.fault(setting, f"{entry!r}: clients must be told a host")
            found.append((match["name"].upper(), host, int(match["port"])))
        return found

    def _secured(self, listener: ListenerConfig) -> ListenerConfig:
        before = len(self.faults)
        tls = self._tls(listener) if listener.protocol.endswith("SSL") else None
        sasl = self._sasl(listener) if listener.protocol.startswith("SASL") else None
        del self.faults[before + 20 :]  # one slip can spoil a lot; twenty lines on one listener say enough
        secured = replace(listener, tls=tls, sasl=sasl)
        if not secured.host and not secured.is_secure and not self._flag("ottla.allow.insecure"):
            # Kafka listens everywhere if no host is named; but an open broker must not be a slip of the pen.
            return replace(secured, host=LOOPBACK)
        return secured

    # TLS

    def _tls(self, listener: ListenerConfig) -> TlsConfig | None:
        for store in ("keystore", "truststore"):
            kind = self._of(listener, f"ssl.{store}.type")
            if kind is not None and kind.upper() != "PEM":
                setting = self._name(listener, f"ssl.{store}.type")
                self.fault(setting, f"{kind} cannot be read here, only PEM. `openssl pkcs12 -in FILE -nodes` converts")
        certificate, key = self._key_pair(listener)
        client_auth = self._client_auth(listener)
        trusted = self._pem(listener, "ssl.truststore.certificates", "ssl.truststore.location")
        if client_auth != "none" and trusted is None:
            setting = self._name(listener, "ssl.truststore.location")
            self.fault(setting, "missing: which authorities' client certificates are to be believed?")
        if certificate is None or key is None:
            return None
        config = TlsConfig(
            certificate=certificate,
            key=key,
            key_password=self._of(listener, "ssl.key.password"),
            trusted=trusted,
            client_auth=client_auth,
            protocols=self._tls_versions(listener),
            ciphers=self._of(listener, "ssl.cipher.suites") or None,
            principal_rules=self._of(listener, "ssl.principal.mapping.rules") or "DEFAULT",
        )
        self._try_tls(listener, config)
        return config

    def _try_tls(self, listener: ListenerConfig, config: TlsConfig) -> None:
        from ottla.broker.security.principals import MappingRules
        from ottla.broker.security.tls import server_context

        try:
            MappingRules(config.principal_rules)
        except ValueError as error:
            self.fault(self._name(listener, "ssl.principal.mapping.rules"), str(error))
        try:
            server_context(config)
        except ValueError as error:
            self.fault(f"listener {listener.name}", str(error))

    def _key_pair(self, listener: ListenerConfig) -> tuple[str | None, str | None]:
        """Certificate and key: both in one file (Kafka's PEM key store), or each as text of its own."""
        text = self._pem(listener, None, "ssl.keystore.location")
        if text is not None:
            return text, text
        certificate = self._of(listener, "ssl.keystore.certificate.chain")
        key = self._of(listener, "ssl.keystore.key")
        if not certificate or not key:
            if self._of(listener, "ssl.keystore.location") is None:
                what = "ssl.keystore.location (a PEM file with key and certificates)"
                self.fault(
                    f"listener {listener.name}",
                    f"{listener.protocol} needs {what}, or ssl.keystore.certificate.chain and ssl.keystore.key",
                )
            return None, None
        return certificate, key

    def _pem(self, listener: ListenerConfig, text_setting: str | None, file_setting: str) -> str | None:
        text = self._of(listener, text_setting) if text_setting else None
        path = self._of(listener, file_setting)
        if text or path is None:
            return text
        try:
            data = Path(path).expanduser().read_bytes()
        except OSError as error:
            self.fault(self._name(listener, file_setting), f"cannot read {path}: {error.strerror or error}")
            return None
        if b"-----BEGIN" not in data:
            kind = "a Java key store" if data[:4] == b"\xfe\xed\xfe\xed" else "no PEM file"
            self.fault(
                self._name(listener, file_setting),
                f"{path} is {kind}; `keytool -importkeystore` and `openssl pkcs12 -nodes` turn it into PEM",
            )
            return None
        return data.decode("utf-8", "replace")

    def _client_auth(self, listener: ListenerConfig) -> ClientAuth:
        own = f"listener.name.{listener.name.lower()}.ssl.client.auth"
        # As in Kafka: with SASL_SSL the general setting does not count, only the listener's own.
        text = self.given.get(own) if listener.protocol == "SASL_SSL" else self._of(listener, "ssl.client.auth")
        choices: tuple[ClientAuth, ...] = ("none", "requested", "required")
        for choice in choices:
            if (text or "none").lower() == choice:
                return choice
        self.fault(self._name(listener, "ssl.client.auth"), f"{text!r} is none of {', '.join(choices)}")
        return "none"

    def _tls_versions(self, listener: ListenerConfig) -> tuple[str, ...]:
        served = ("TLSv1.2", "TLSv1.3")
        text = self._of(listener, "ssl.enabled.protocols")
        wanted = tuple(part.strip() for part in (text or "").split(",") if part.strip()) or served
        wrong = [version for version in wanted if version not in served]
        if wrong:
            setting = self._name(listener, "ssl.enabled.protocols")
            self.fault(setting, f"{', '.join(wrong)}: only {' and '.join(served)} are served; older ones are broken")
        return wanted

    # SASL

    def _sasl(self, listener: ListenerConfig) -> SaslConfig:
        setting = self._name(listener, "sasl.enabled.mechanisms")
        text = self._of(listener, "sasl.enabled.mechanisms") or ""
        wanted = tuple(part.strip().upper() for part in text.split(",") if part.strip())
        if not wanted:
            self.fault(setting, f"missing: which of {', '.join(MECHANISMS)} are to be served?")
        for mechanism in wanted:
            if mechanism not in MECHANISMS:
                self.fault(setting, f"{mechanism} is not served; {', '.join(MECHANISMS)} are")
        return SaslConfig(
            mechanisms=wanted,
            users=self._plain_users(listener) if "PLAIN" in wanted else {},
            oauth=self._oauth(listener) if "OAUTHBEARER" in wanted else None,
            max_reauth_ms={
                mechanism: self._number_of(listener, "connections.max.reauth.ms", 0, mechanism) for mechanism in wanted
            },
        )

    def _plain_users(self, listener: ListenerConfig) -> dict[str, str]:
        setting = f"listener.name.{listener.name.lower()}.plain.sasl.jaas.config"
        text = self.given.get(setting)
        if text is None:
            self.fault(setting, 'missing: who may log in? ...PlainLoginModule required user_NAME="PASSWORD";')
            return {}
        try:
            module = parse_jaas(text)
        except ValueError as error:
            self.fault(setting, str(error))
            return {}
        if not module.name.endswith("PlainLoginModule"):
            self.fault(setting, f"{module.name} is not PLAIN's login module, PlainLoginModule")
        if not module.users:
            self.fault(setting, 'names no user; each is an option user_NAME="PASSWORD"')
        for name, password in module.users.items():
            if not name or not password:
                self.fault(setting, f"user {name!r}: name and password must not be empty")
        return module.users

    def _oauth(self, listener: ListenerConfig) -> OAuthConfig:
        handler = self._of(listener, "sasl.server.callback.handler.class", "OAUTHBEARER")
        if handler is not None and not handler.endswith("." + _OAUTH_HANDLER):
            setting = self._name(listener, "sasl.server.callback.handler.class")
            self.fault(
                setting, f"{handler}: a Java class cannot be loaded here; what {_OAUTH_HANDLER} does is built in"
            )
        jwks = self._oauth_of(listener, "jwks.endpoint.url") or None
        unsecured = self._flag("ottla.oauthbearer.allow.unsecured")
        setting = self._name(listener, "sasl.oauthbearer.jwks.endpoint.url")
        if jwks is None and not unsecured:
            self.fault(setting, "missing: the issuer's public keys, as file:///PATH or https://HOST/PATH")
        elif jwks is not None and not jwks.startswith(("file://", "https://", "http://")):
            self.fault(setting, f"{jwks!r} is neither file:///PATH nor https://HOST/PATH")
        if jwks is not None:
            self._need_jwt(setting)
        audience = self._oauth_of(listener, "expected.audience") or ""
        return OAuthConfig(
            jwks=jwks,
            audience=tuple(part.strip() for part in audience.split(",") if part.strip()),
            issuer=self._oauth_of(listener, "expected.issuer") or None,
            sub_claim=self._oauth_of(listener, "sub.claim.name") or "sub",
            scope_claim=self._oauth_of(listener, "scope.claim.name") or "scope",
            clock_skew_s=self._number_of(listener, "sasl.oauthbearer.clock.skew.seconds", 30, "OAUTHBEARER"),
            refresh_s=self._number_of(
                listener, "sasl.oauthbearer.jwks.endpoint.refresh.ms", 3_600_000, "OAUTHBEARER", 1
            )
            / 1000,
            allow_unsecured=unsecured,
        )

    def _oauth_of(self, listener: ListenerConfig, name: str) -> str | None:
        return self._of(listener, f"sasl.oauthbearer.{name}", "OAUTHBEARER")

    def _need_jwt(self, setting: str) -> None:
        from importlib.util import find_spec

        if find_spec("jwt") is None or find_spec("cryptography") is None:
            self.fault(setting, "checking tokens needs PyJWT and cryptography: pip install 'ottla[oauth]'")

    # Authorizer and users

    def _authorizer(self) -> bool:
        name = self.given.get("authorizer.class.name", "")
        if name and name.rpartition(".")[2] != AUTHORIZER:
            self.fault("authorizer.class.name", f"{name}: only Kafka's {AUTHORIZER} is built in here")
        return bool(name)

    def _super_users(self) -> frozenset[str]:
        users = [part.strip() for part in self.given.get("super.users", "").split(";") if part.strip()]
        for user in users:
            if not re.fullmatch(r"[A-Za-z]+:.+", user):
                self.fault("super.users", f"{user!r}: expected TYPE:NAME, as in User:admin, separated by semicolons")
        return frozenset(users)

    def _first_users(self) -> tuple[FirstUser, ...]:
        text = self.given.get("ottla.add.scram", "")
        found: list[FirstUser] = []
        for entry in re.findall(r"[^;]*\[[^\]]*\]|[^;]+", text):
            try:
                found.append(parse_first_user(entry.strip(" ;")))
            except ValueError as error:
                self.fault("ottla.add.scram", str(error))
        return tuple(found)

    # Plain values

    def _of(self, listener: ListenerConfig, name: str, mechanism: str | None = None) -> str | None:
        prefix = f"listener.name.{listener.name.lower()}."
        own = self.given.get(f"{prefix}{mechanism.lower()}.{name}") if mechanism else None
        return next((v for v in (own, self.given.get(prefix + name), self.given.get(name)) if v is not None), None)

    def _name(self, listener: ListenerConfig, name: str) -> str:
        """The name under which the setting was given for this listener, for messages."""
        own = f"listener.name.{listener.name.lower()}.{name}"
        return own if own in self.given else name

    def _flag(self, name: str) -> bool:
        text = self.given.get(name, "false").lower()
        if text not in ("true", "false"):
            self.fault(name, f"{text!r} is neither true nor false")
        return text == "true"

    def _number(self, name: str, default: int, low: int) -> int:
        return self._as_number(name, self.given.get(name), default, low)

    def _number_of(self, listener: ListenerConfig, name: str, default: int, mechanism: str, low: int = 0) -> int:
        return self._as_number(self._name(listener, name), self._of(listener, name, mechanism), default, low)

    def _as_number(self, name: str, text: str | None, default: int, low: int) -> int:
        if text is None:
            return default
        try:
            value = int(text)
        except ValueError:
            self.fault(name, f"{text!r} is not a whole number")
            return default
        if not low <= value < 2**63:
            self.fault(name, f"{value} is less than {low}")
        return value

    def _per_ip(self) -> dict[str, int]:
        setting = "max.connections.per.ip.overrides"
        found: dict[str, int] = {}
        for entry in filter(None, self.given.get(setting, "").split(",")):
            address, _, number = entry.strip().rpartition(":")
            if not address or not number.isdigit():
                self.fault(setting, f"{entry!r}: expected ADDRESS:NUMBER")
            else:
                found[address] = int(number)
        return found

    def _check_names(self, listeners: set[str]) -> None:
        """Finds settings that a slip of the pen leaves without effect: security that is not there must not seem so."""
        lower = {name.lower() for name in listeners} | {name.lower() for name in self._controllers}
        for name in self.given:
            plain = name
            if name.startswith("listener.name."):
                owner, _, plain = name.removeprefix("listener.name.").partition(".")
                if owner not in lower:
                    self.fault(name, f"there is no listener {owner.upper()}")
                    continue
                mechanism, _, rest = plain.partition(".")
                if mechanism.upper() in MECHANISMS:
                    plain = rest
            if plain == "sasl.jaas.config" and plain == name:
                self.fault(name, "belongs to one listener and mechanism: listener.name.NAME.plain.sasl.jaas.config")
            elif plain not in _KNOWN and plain not in _EXACT and not _WITHOUT_MEANING.match(plain):
                self.fault(name, "no such setting")


_KNOWN = frozenset(
    {
        *(f"ssl.{store}.{what}" for store in ("keystore", "truststore") for what in ("type", "location", "password")),
        "ssl.keystore.certificate.chain",
        "ssl.keystore.key",
        "ssl.key.password",
        "ssl.truststore.certificates",
        "ssl.client.auth",
        "ssl.enabled.protocols",
        "ssl.cipher.suites",
        "ssl.principal.mapping.rules",
        "sasl.enabled.mechanisms",
        "sasl.jaas.config",
        "sasl.server.callback.handler.class",
        "sasl.server.max.receive.size",
        "sasl.oauthbearer.jwks.endpoint.url",
        "sasl.oauthbearer.jwks.endpoint.refresh.ms",
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
        "sasl.oauthbearer.expected.audience",
        "sasl.oauthbearer.expected.issuer",
        "sasl.oauthbearer.sub.claim.name",
        "sasl.oauthbearer.scope.claim.name",
        "sasl.oauthbearer.clock.skew.seconds",
    }
)


def parse_first_user(text: str) -> FirstUser:
    """Reads `SCRAM-SHA-512=[name=admin,password=secret]`, as Kafka's StorageTool takes it after `--add-scram`.

    Raises:
        ValueError: What is wrong; without the text, which holds a password.
    """
    match = _SCRAM.fullmatch(text)
    if match is None or match["mechanism"] not in MECHANISMS:
        raise ValueError("expected SCRAM-SHA-512=[name=NAME,password=PASSWORD] (or SCRAM-SHA-256)")
    options: dict[str, str] = {}
    for part in match["options"].split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or key not in ("name", "password", "iterations"):
            raise ValueError("between the brackets go name=, password= and perhaps iterations=, separated by commas")
        options[key] = value.removeprefix('"').removesuffix('"')
    if not options.get("name") or not options.get("password"):
        raise ValueError("name= and password= are both needed")
    iterations = options.get("iterations", "4096")
    if not iterations.isdigit() or not 4096 <= int(iterations) <= 16384:
        raise ValueError("iterations must be from 4096 to 16384")
    return FirstUser(match["mechanism"], options["name"], options["password"], int(iterations))
