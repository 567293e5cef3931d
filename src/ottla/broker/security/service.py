"""A listener's security as the server uses it: made from its configuration once, at the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ottla.broker.security import audit
from ottla.broker.security.config import ListenerConfig, SecurityConfig
from ottla.broker.security.exchange import Exchange
from ottla.broker.security.resources import ANONYMOUS

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.security.oauthbearer import TokenJudge
    from ottla.broker.security.principals import MappingRules


class ListenerSecurity:
    """What a listener's connections need to know.

    Args:
        config: The listener.
        security: What holds for all listeners.
        broker: For credentials, clock and counters.
    """

    def __init__(self, config: ListenerConfig, security: SecurityConfig, broker: Broker) -> None:
        self.config = config
        self.name = config.name
        self.failed_delay_s = security.failed_authentication_delay_ms / 1000
        self.authentication_timeout_s = security.authentication_timeout_ms / 1000
        self.sasl_max_receive_bytes = security.sasl_max_receive_bytes
        self.mechanisms = config.sasl.mechanisms if config.sasl else ()
        self.max_reauth_ms = config.sasl.max_reauth_ms if config.sasl else {}
        self.now = broker.loop.now
        self._broker = broker
        self._judge: TokenJudge | None = None
        self.context = None
        self._rules: MappingRules | None = None
        if config.tls is not None:
            from ottla.broker.security.principals import MappingRules
            from ottla.broker.security.tls import server_context

            self.context = server_context(config.tls)
            self._rules = MappingRules(config.tls.principal_rules)
        if config.sasl is not None and config.sasl.oauth is not None:
            from ottla.broker.security.oauthbearer import TokenJudge

            self._judge = TokenJudge(config.sasl.oauth, broker.loop.post)
            self._judge.fetch_keys()

    def exchange(self, mechanism: str) -> Exchange:
        """A new authentication by one of the listener's mechanisms."""
        if mechanism == "PLAIN":
            from ottla.broker.security.plain import PlainExchange

            assert self.config.sasl is not None
            return PlainExchange(self.config.sasl.users)
        if mechanism == "OAUTHBEARER":
            from ottla.broker.security.oauthbearer import OAuthExchange

            assert self._judge is not None
            return OAuthExchange(self._judge)
        from ottla.broker.security.scram import ScramExchange

        credentials = self._broker.catalog.security.credentials
        return ScramExchange(mechanism, lambda user, number: credentials.get((user, number)))

    def principal_of(self, certificate: bytes | None) -> str:
        """The principal of a client with this certificate, or with none. Raises ValueError if no rule fits its name."""
        if certificate is None or self._rules is None:
            return ANONYMOUS
        from ottla.broker.security.principals import subject

        name = subject(certificate)
        found = self._rules.principal(name)
        if found is None:
            raise ValueError(f"no rule of ssl.principal.mapping.rules fits the certificate of {name!r}")
        return f"User:{found}" if found else ANONYMOUS

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self._broker.loop.call_later(seconds, action)

    def failed(self) -> None:
        """Counts a client that could not show who it is."""
        self._broker.metrics.failed_authentications += 1

    def refused(self, peer: str, error: Exception) -> None:
        """Writes down that a TLS handshake has failed."""
        self.failed()
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        audit.authenticated(listener=self.name, host=peer, mechanism="TLS", principal=None, fault=reason)


def add_first_users(broker: Broker, security: SecurityConfig) -> None:
    """Makes the users who are to be there from the start, unless they are. Raises OSError if that cannot be stored."""
    if not security.first_users:
        return
    from ottla.broker.security.credentials import MECHANISMS, Credential

    store = broker.catalog.security
    for user in security.first_users:
        number = MECHANISMS[user.mechanism]
        if (user.name, number) not in store.credentials:
            credential = Credential.from_password(number, user.password, user.iterations)
            store.write(["scram", user.name, number, credential.to_json()])
    broker.flusher.flush(broker.catalog.journal)
