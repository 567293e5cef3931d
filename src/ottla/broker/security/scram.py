"""SCRAM-SHA-256 and SCRAM-SHA-512, the server's side (RFC 5802, RFC 7677; KIP-84).

The broker keeps neither passwords nor anything a client could log in with: only salt, iterations, StoredKey and
ServerKey. An unknown user goes through the same exchange with a salt made up for the name, always the same one, and
fails at the same point with the same words as a wrong password. The client's last message must carry the whole nonce
again, and the GS2 header it began with (CVE-2024-56128 was Kafka's failure to look at the nonce).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable

from ottla.broker.security.credentials import HASHES, ITERATIONS_MIN, MECHANISMS, SALT_BYTES, Credential
from ottla.broker.security.exchange import INVALID_CREDENTIALS, AuthenticationFailed, Exchange

NONCE_BYTES = 24

_FIRST = re.compile(
    r"(?P<gs2>n,(?:a=(?P<authzid>[^,\0]*))?,)(?P<bare>n=(?P<name>[^,\0]+),r=(?P<nonce>[!-+\--~]+)(?P<more>,.*)?)"
)
_FINAL = re.compile(
    r"(?P<bare>c=(?P<binding>[A-Za-z0-9+/=]+),r=(?P<nonce>[!-+\--~]+)(?:,.*)?),p=(?P<proof>[A-Za-z0-9+/=]+)"
)

_SECRET = secrets.token_bytes(32)


Lookup = Callable[[str, int], Credential | None]  # by user name and mechanism


class ScramExchange(Exchange):
    """One client's authentication. `lookup` finds credentials."""

    def __init__(self, mechanism: str, lookup: Lookup) -> None:
        super().__init__(mechanism)
        self._number = MECHANISMS[mechanism]
        self._lookup = lookup
        self._user = ""
        self._credential: Credential | None = None
        self._nonce = ""
        self._gs2 = b""
        self._said = ""
        self._begun = False

    def step(self, token: bytes) -> bytes:
        try:
            message = token.decode()
        except UnicodeDecodeError:
            raise self._failure("a message is not UTF-8") from None
        if self._begun:
            return self._finish(message)
        self._begun = True
        return self._begin(message)

    def _begin(self, message: str) -> bytes:
        match = _FIRST.fullmatch(message)
        if match is None:
            raise self._failure("malformed client-first-message")
        name = _unescaped(match["name"])
        if name is None:
            raise self._failure("malformed user name")
        self.claimed = f"User:{name}"
        if "tokenauth=true" in (match["more"] or ""):
            raise self._failure("delegation tokens are not served")
        if match["authzid"] and _unescaped(match["authzid"]) != name:
            raise self._failure("authorization id differs from the user name")
        self._user = name
        self._credential = self._lookup(name, self._number)
        shown = self._credential or _made_up(name, self._number)
        self._gs2 = match["gs2"].encode()
        self._nonce = match["nonce"] + secrets.token_urlsafe(NONCE_BYTES)
        answer = f"r={self._nonce},s={b64encode(shown.salt).decode()},i={shown.iterations}"
        self._said = f"{match['bare']},{answer}"
        return answer.encode()

    def _finish(self, message: str) -> bytes:
        match = _FINAL.fullmatch(message)
        if match is None:
            raise self._failure("malformed client-final-message")
        try:
            binding, proof = b64decode(match["binding"], validate=True), b64decode(match["proof"], validate=True)
        except (Base64Error, ValueError):
            raise self._failure("malformed client-final-message") from None
        if not hmac.compare_digest(match["nonce"].encode(), self._nonce.encode()):
            raise self._failure("the nonce is not the one of this exchange")
        if binding != self._gs2:
            raise self._failure("the channel binding is not the one the exchange began with")
        credential = self._credential or _made_up(self._user, self._number)
        said = f"{self._said},{match['bare']}".encode()
        if not _proves(credential, said, proof, HASHES[self._number]) or self._credential is None:
            raise self._failure("unknown user" if self._credential is None else "wrong password")
        self.principal = f"User:{self._user}"
        signature = hmac.digest(credential.server_key, said, HASHES[self._number])
        return b"v=" + b64encode(signature)

    def _failure(self, fault: str) -> AuthenticationFailed:
        return AuthenticationFailed(INVALID_CREDENTIALS.format(self.mechanism), fault)


def _proves(credential: Credential, said: bytes, proof: bytes, name: str) -> bool:
    signature = hmac.digest(credential.stored_key, said, name)
    if len(proof) != len(signature):
        return False
    client_key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
    return hmac.compare_digest(hashlib.new(name, client_key).digest(), credential.stored_key)


def _made_up(name: str, mechanism: int) -> Credential:
    """What an unknown user is shown: no two names alike, always the same for one name, and nothing that lets in."""
    salt = hmac.digest(_SECRET, b"salt" + name.encode(), "sha256")[:SALT_BYTES]
    size = hashlib.new(HASHES[mechanism]).digest_size
    return Credential(salt, secrets.token_bytes(size), secrets.token_bytes(size), ITERATIONS_MIN)


def _unescaped(name: str) -> str | None:
    """A saslname in plain: `=2C` is a comma, `=3D` an equals sign, and no other `=` may stand there."""
    if re.search(r"=(?!2C|3D)", name):
        return None
    return name.replace("=2C", ",").replace("=3D", "=")
