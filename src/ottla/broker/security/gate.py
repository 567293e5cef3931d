"""The gate before a SASL connection: nothing but ApiVersions and SASL gets through until the client is known.

Kafka's order of things (KIP-43, KIP-152, KIP-368): perhaps one ApiVersions; SaslHandshake names the mechanism; then
tokens, in SaslAuthenticate requests after a handshake of version 1, or bare, each behind its length, after one of
version 0. Any other request closes the connection. A failure is answered, and the connection closed, only after a while
(connection.failed.authentication.delay.ms), without holding anybody else up.

A session can be limited (connections.max.reauth.ms, or a token's expiry). Then the client begins again with
SaslHandshake while requests of its old session may still be answered; mechanism and principal must stay the same. The
first request after the session's end closes the connection.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from ottla.broker.security import audit
from ottla.broker.security.exchange import AuthenticationFailed, Exchange
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

if TYPE_CHECKING:
    from ottla.broker.connection import Call, Connection
    from ottla.broker.security.service import ListenerSecurity

API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36
REAUTHENTICATION_APART_SECONDS = 1.0
_KEY = struct.Struct(">h")


class State(Enum):
    """How far a client has come."""

    BEGIN = auto()
    HANDSHAKE = auto()  # ApiVersions is answered; SaslHandshake comes next
    TOKENS = auto()
    OPEN = auto()
    FAILED = auto()


class SaslGate:
    """One connection's gate.

    Args:
        connection: The connection.
        security: The listener's mechanisms and limits.
    """

    def __init__(self, connection: Connection, security: ListenerSecurity) -> None:
        self.connection = connection
        self.security = security
        self.state = State.BEGIN
        self._exchange: Exchange | None = None
        self._bare_tokens = False
        self._mechanism: str | None = None  # of the session that is open
        self._busy = False
        self._expires: float | None = None
        self._begun_again = float("-inf")

    # What the connection asks

    def takes(self, frame: memoryview) -> bool:
        """Whether the request ends here: as a bare token, or come at the wrong time, which closes the connection."""
        if self.state is State.OPEN:
            return self._session_is_over(frame)
        if self._busy or self.state is State.FAILED:
            self._close("a request came before the last one of the authentication was answered")
            return True
        if self.state is State.TOKENS and self._bare_tokens:
            self._step(bytes(frame), self._answer_bare, self._fail_bare)
            return True
        (key,) = _KEY.unpack_from(frame) if len(frame) >= 8 else (-1,)
        expected = {
            State.BEGIN: (API_VERSIONS, SASL_HANDSHAKE),
            State.HANDSHAKE: (SASL_HANDSHAKE,),
            State.TOKENS: (SASL_AUTHENTICATE,),
        }[self.state]
        if key in expected:
            return False
        self._close(f"a request with API key {key} before the client was authenticated")
        return True

    def told_versions(self) -> None:
        """ApiVersions is answered: SaslHandshake comes next."""
        if self.state is State.BEGIN:
            self.state = State.HANDSHAKE

    # What the handlers of the two APIs ask

    def handshake(self, call: Call) -> Message | None:
        """Answers SaslHandshake."""
        if self.state is State.OPEN and not self._may_begin_again():
            return {"error_code": ErrorCode.ILLEGAL_SASL_STATE}
        wanted, mechanisms = call.body["mechanism"], self.security.mechanisms
        if wanted not in mechanisms:
            self._fail(
                AuthenticationFailed(f"Unsupported SASL mechanism {wanted}"),
                lambda _: call.reply(
                    {"error_code": ErrorCode.UNSUPPORTED_SASL_MECHANISM, "mechanisms": list(mechanisms)}
                ),
            )
            return None
        self._exchange = self.security.exchange(wanted)
        self._bare_tokens = call.version == 0
        if self.state is not State.OPEN:
            self.connection.size_min = 0 if self._bare_tokens else 8
        self.state = State.TOKENS
        return {"error_code": ErrorCode.NONE, "mechanisms": list(mechanisms)}

    def authenticate(self, call: Call) -> Message | None:
        """Answers SaslAuthenticate."""
        if self.state is not State.TOKENS:
            message = "SaslAuthenticate request received after successful authentication"
            return {"error_code": ErrorCode.ILLEGAL_SASL_STATE, "error_message": message}

        def answer(token: bytes, lifetime_ms: int) -> None:
            call.reply({"error_code": ErrorCode.NONE, "auth_bytes": token, "session_lifetime_ms": lifetime_ms})

        def refuse(message: str) -> None:
            call.reply({"error_code": ErrorCode.SASL_AUTHENTICATION_FAILED, "error_message": message})

        self._step(bytes(call.body["auth_bytes"] or b""), answer, refuse)
        return None

    # The exchange

    def _step(self, token: bytes, answer: Callable[[bytes, int], None], refuse: Callable[[str], None]) -> None:
        exchange = self._exchange
        assert exchange is not None
        self._busy = True

        def go_on() -> None:
            if self.connection.closed:
                return
            try:
                reply = exchange.step(token)
                if exchange.principal is None:
                    lifetime_ms = 0
                else:
                    lifetime_ms = self._open(exchange, exchange.principal)
            except AuthenticationFailed as failure:
                self._fail(failure, refuse)
                return
            self._busy = False
            answer(reply, lifetime_ms)

        exchange.prepare(token, go_on)

    def _open(self, exchange: Exchange, principal: str) -> int:
        """Lets the client in; gives the session's milliseconds, 0 for no limit. Raises AuthenticationFailed."""
        connection = self.connection
        if self._mechanism is not None:
            if exchange.mechanism != self._mechanism:
                raise AuthenticationFailed(
                    f"SASL mechanism '{exchange.mechanism}' requested by client is not supported for re-authentication "
                    f"of mechanism '{self._mechanism}'"
                )
            if principal != connection.principal:
                raise AuthenticationFailed(
                    f"Cannot change principals during re-authentication from {connection.principal} to {principal}"
                )
        limits = [self.security.max_reauth_ms.get(exchange.mechanism, 0) / 1000 or None]
        if exchange.expires_at is not None:
            limits.append(max(exchange.expires_at - time.time(), 0.0))
        given = [limit for limit in limits if limit is not None]
        lifetime = min(given) if given else None
        self._expires = None if lifetime is None else self.security.now() + lifetime
        self._mechanism = exchange.mechanism
        self._exchange = None
        self.state = State.OPEN
        connection.authenticated(principal)
        audit.authenticated(
            listener=self.security.name, host=connection.peer, mechanism=exchange.mechanism, principal=principal
        )
        return 0 if lifetime is None else max(int(lifetime * 1000), 1)

    def _answer_bare(self, token: bytes, _: int) -> None:
        self.connection.send_bare(token)

    def _fail_bare(self, _: str) -> None:
        """Without the newer requests there is no way to say why: the connection is closed."""

    def _fail(self, failure: AuthenticationFailed, refuse: Callable[[str], None]) -> None:
        """Answers later, and closes then. Meanwhile nothing is read from the client; nobody else waits."""
        self.state = State.FAILED
        exchange = self._exchange
        audit.authenticated(
            listener=self.security.name,
            host=self.connection.peer,
            mechanism=exchange.mechanism if exchange else "",
            principal=exchange.claimed if exchange else None,
            fault=failure.fault,
        )
        self.security.failed()
        self.connection.hold()

        def finish() -> None:
            if not self.connection.closed:
                refuse(str(failure))
                self.connection.close_when_sent()

        self.security.later(self.security.failed_delay_s, finish)

    # A session's end

    def _session_is_over(self, frame: memoryview) -> bool:
        if self._expires is None or self.security.now() < self._expires:
            return False
        if _KEY.unpack_from(frame)[0] == SASL_HANDSHAKE:
            return False
        self._close("the session has expired and the client has not authenticated anew")
        return True

    def _may_begin_again(self) -> bool:
        """Kafka lets a client begin again only if its session can end, and not more than once in a second."""
        now = self.security.now()
        if self._expires is None or now - self._begun_again < REAUTHENTICATION_APART_SECONDS:
            return False
        self._begun_again = now
        return True

    def _close(self, why: str) -> None:
        audit.authenticated(
            listener=self.security.name,
            host=self.connection.peer,
            mechanism=self._mechanism or (self._exchange.mechanism if self._exchange else ""),
            principal=self.connection.principal if self._mechanism else None,
            fault=why,
        )
        self.connection.close()
