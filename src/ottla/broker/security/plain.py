"""SASL PLAIN (RFC 4616): name and password as they are. Only over TLS is that a secret."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from ottla.broker.security.exchange import AuthenticationFailed, Exchange

WRONG = "Authentication failed: Invalid username or password"


class PlainExchange(Exchange):
    """One client's authentication. `users` maps names to passwords."""

    def __init__(self, users: Mapping[str, str]) -> None:
        super().__init__("PLAIN")
        self._users = users

    def step(self, token: bytes) -> bytes:
        try:
            parts = token.decode().split("\0")
        except UnicodeDecodeError:
            raise AuthenticationFailed(WRONG, "the message is not UTF-8") from None
        if len(parts) != 3:
            raise AuthenticationFailed(
                f"Invalid SASL/PLAIN response: expected 3 tokens, got {len(parts)}", "malformed message"
            )
        authzid, name, password = parts
        if not name:
            raise AuthenticationFailed("Authentication failed: username not specified")
        if not password:
            raise AuthenticationFailed("Authentication failed: password not specified")
        self.claimed = f"User:{name}"
        expected = self._users.get(name)
        # An unknown name costs the same comparison as a known one.
        same = hmac.compare_digest(password.encode(), (password + "x" if expected is None else expected).encode())
        if expected is None or not same:
            raise AuthenticationFailed(WRONG, "unknown user" if expected is None else "wrong password")
        if authzid and authzid != name:
            raise AuthenticationFailed(
                "Authentication failed: Client requested an authorization id that is different from username"
            )
        self.principal = f"User:{name}"
        return b""
