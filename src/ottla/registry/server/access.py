"""Who may do what: basic and bearer credentials from a file.

The file is TOML:

    [users.alice]
    password = "scrypt:0f3a...:9b1c..."     # or in plain text; `python -m ottla.registry.server hash` makes one
    role = "write"                          # or "read"; default: write

    [tokens.ci]                             # Authorization: Bearer <token>
    token = "..."
    role = "read"

`read` may look up and compare, not change. /health answers without credentials.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import tomllib
from pathlib import Path
from typing import Literal

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import ConfigurationError
from .http import Answer

Role = Literal["read", "write"]

_OPEN = ("/health/live", "/health/ready")


class User(msgspec.Struct, forbid_unknown_fields=True):
    password: str
    role: Role = "write"


class Token(msgspec.Struct, forbid_unknown_fields=True):
    token: str
    role: Role = "write"


class Accounts(msgspec.Struct, forbid_unknown_fields=True):
    """Everyone who may use the registry."""

    users: dict[str, User] = {}
    tokens: dict[str, Token] = {}

    def role(self, authorization: str) -> Role | None:
        """The role of who sent this Authorization header; None if nobody known did."""
        scheme, _space, credentials = authorization.partition(" ")
        if scheme.lower() == "bearer":
            given = credentials.strip().encode()
            return next((t.role for t in self.tokens.values() if hmac.compare_digest(t.token.encode(), given)), None)
        if scheme.lower() != "basic":
            return None
        try:
            name, _colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        user = self.users.get(name)
        return user.role if user is not None and _same_password(user.password, password) else None


def read_accounts(path: Path) -> Accounts:
    """Reads the file.

    Raises:
        ConfigurationError: It cannot be read, or says what it must not.
    """
    try:
        found = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Accounts)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path}: not usable as the registry's accounts: {error}") from error
    if not found.users and not found.tokens:
        raise ConfigurationError(f"{path}: has neither users nor tokens, so that nobody could use the registry")
    return found


def hashed(password: str) -> str:
    """A password in the form in which the file should hold it."""
    salt = os.urandom(16)
    return f"scrypt:{salt.hex()}:{_scrypt(password, salt).hex()}"


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**12, r=8, p=1, dklen=32)


def _same_password(kept: str, given: str) -> bool:
    if not kept.startswith("scrypt:"):
        return hmac.compare_digest(kept.encode(), given.encode())
    try:
        _name, salt, wanted = kept.split(":")
        return hmac.compare_digest(_scrypt(given, bytes.fromhex(salt)), bytes.fromhex(wanted))
    except ValueError:
        return False


class Access:
    """Wraps the application: asks for credentials, and lets readers only read."""

    def __init__(self, app: ASGIApp, accounts: Accounts) -> None:
        self._app = app
        self._accounts = accounts
        self._known: dict[str, Role] = {}  # scrypt takes milliseconds: once per client, not per request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), "")
        role = self._known.get(given) or (self._accounts.role(given) if given else None)
        if role is None:
            refusal = Answer({"error_code": 401, "message": "Unauthorized: this registry asks for credentials"}, 401)
            refusal.headers["www-authenticate"] = 'Basic realm="schema registry", Bearer'
            await refusal(scope, receive, send)
            return
        if len(self._known) < 10_000:
            self._known[given] = role
        if role == "read" and _changes(scope):
            await Answer({"error_code": 403, "message": "Forbidden: this user may only read"}, 403)(
                scope, receive, send
            )
            return
        await self._app(scope, receive, send)


def _changes(scope: Scope) -> bool:
    """Whether a request changes something: lookups and comparisons are POSTs, but do not."""
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return False
    path = scope["path"].rstrip("/")
    asks = path.startswith("/compatibility/") or (path.startswith("/subjects/") and path.count("/") == 2)
    return not (scope["method"] == "POST" and asks)
