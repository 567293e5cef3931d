"""What all SASL mechanisms have in common: tokens come in, tokens go out, and in the end there is a principal."""

from __future__ import annotations

from collections.abc import Callable

# What clients are told by Kafka's broker; it must not say what was wrong with the credentials.
INVALID_CREDENTIALS = "Authentication failed during authentication due to invalid credentials with SASL mechanism {}"


class AuthenticationFailed(Exception):
    """The client has not shown who it is.

    Args:
        message: What the client is told.
        fault: What the audit log says besides.
    """

    def __init__(self, message: str, fault: str | None = None) -> None:
        self.fault = fault or message
        super().__init__(message)


class Exchange:
    """One client's authentication by one mechanism.

    Attributes:
        mechanism: Its name.
        principal: Who the client is, `User:name`, once that is proven; then the exchange is over.
        claimed: Who it says it is, for the audit log.
        expires_at: When what it showed expires, in seconds since 1970; None if it does not.
    """

    def __init__(self, mechanism: str) -> None:
        self.mechanism = mechanism
        self.principal: str | None = None
        self.claimed: str | None = None
        self.expires_at: float | None = None

    def prepare(self, token: bytes, go_on: Callable[[], None]) -> None:
        """Calls `go_on` when `step` can be called with this token: at once, unless something must be fetched first."""
        go_on()

    def step(self, token: bytes) -> bytes:
        """Takes the client's token and gives the answer. Raises AuthenticationFailed."""
        raise NotImplementedError
