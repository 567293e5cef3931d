"""SASL OAUTHBEARER (RFC 7628; KIP-255, KIP-768): the client shows a JSON Web Token, the broker checks its signature.

Checked, as by Kafka's OAuthBearerValidatorCallbackHandler: the signature by a key of the issuer's JWKS (asymmetric
algorithms only, so that nobody can sign with a public key), expiry and issue time within the allowed clock skew,
audience and issuer if they are configured, and a principal's name in the claim configured for it. Tokens without a
signature are believed only if that was explicitly allowed, and then only those that say `"alg": "none"`.

A token that is refused is answered with a JSON object, as the RFC wants it; the client then says one byte, and the
exchange fails. Keys are fetched by a thread; the clients that need a key which is not there yet wait, the loop does
not.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ottla.broker.security.config import OAuthConfig
from ottla.broker.security.exchange import AuthenticationFailed, Exchange

logger = logging.getLogger("ottla.broker")

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
TOKEN_BYTES_MAX = 64 * 1024
JWKS_BYTES_MAX = 1 << 20
FETCH_SECONDS = 10.0
FETCH_AGAIN_SECONDS = 10.0  # unknown key ids must not make the broker hammer on the issuer
_GOODBYE = b"\x01"
_MESSAGE = re.compile(rb"n,(?:a=([^,]*))?,\x01((?:[A-Za-z]+=[\x20-\x7e\t\r\n]*\x01)*)\x01")

Keys = dict[str | None, Any]


class InvalidToken(Exception):
    """The token is not to be believed; the message says why, for the audit log."""


class JwksKeys:
    """The issuer's public keys, fetched at the start and whenever an unknown key is asked for.

    Args:
        config: Where they are.
        post: Runs a callback in the loop's thread.
    """

    def __init__(self, config: OAuthConfig, post: Callable[[Callable[[], None]], None]) -> None:
        self._url = config.jwks or ""
        self._refresh_s = config.refresh_s
        self._post = post
        self._keys: Keys = {}
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._waiting: list[Callable[[], None]] = []
        self._fetching = False

    def find(self, key_id: str | None) -> Any:
        """The key of that id; without an id the only key there is. None if there is none."""
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def prepare(self, key_id: str | None, go_on: Callable[[], None]) -> None:
        """Calls `go_on` once the key is there, or fetching it was tried in vain."""
        now = time.monotonic()
        known = self.find(key_id) is not None
        stale = now - self._fetched > self._refresh_s
        if (stale or not known) and now - self._tried > FETCH_AGAIN_SECONDS:
            self.fetch()
        if known or not self._fetching:
            go_on()
        else:
            self._waiting.append(go_on)

    def fetch(self) -> None:
        """Begins to fetch the keys, unless that is under way."""
        if not self._fetching:
            self._fetching, self._tried = True, time.monotonic()
            threading.Thread(target=self._fetch, name="ottla-jwks", daemon=True).start()

    def _fetch(self) -> None:
        keys: Keys | None = None
        try:
            keys = parse_jwks(_read(self._url))
        except Exception as error:  # whatever a server or a file may answer
            logger.error("the keys at %s could not be read: %s", self._url, error)
        self._post(lambda: self._take(keys))

    def _take(self, keys: Keys | None) -> None:
        self._fetching = False
        if keys is not None:
            self._keys, self._fetched = keys, time.monotonic()
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()


def _read(url: str) -> bytes:
    parts = urlsplit(url)
    if parts.scheme == "file":
        with Path(unquote(parts.path)).open("rb") as file:
            data = file.read(JWKS_BYTES_MAX + 1)
    else:
        from urllib.request import urlopen

        with urlopen(url, timeout=FETCH_SECONDS) as answer:
            data = answer.read(JWKS_BYTES_MAX + 1)
    if len(data) > JWKS_BYTES_MAX:
        raise ValueError(f"more than {JWKS_BYTES_MAX} bytes")
    return bytes(data)


def parse_jwks(data: bytes) -> Keys:
    """The usable public keys of a JWKS by their ids. Raises ValueError."""
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    document = json.loads(data)
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("not a JWKS: an object with a list `keys` is expected")
    found: Keys = {}
    for entry in document["keys"]:
        try:
            if isinstance(entry, dict) and entry.get("use", "sig") == "sig" and entry.get("kty") != "oct":
                found[entry.get("kid")] = PyJWK.from_dict(entry)
        except (PyJWTError, ValueError, TypeError, KeyError) as error:
            logger.warning("a key of the JWKS cannot be used: %s", error)
    if not found:
        raise ValueError("it holds no usable public key")
    return found


class TokenJudge:
    """Says whom a token stands for. One for each listener."""

    def __init__(self, config: OAuthConfig, post: Callable[[Callable[[], None]], None]) -> None:
        self.config = config
        self._keys = JwksKeys(config, post) if config.jwks else None

    def fetch_keys(self) -> None:
        """Fetches the keys ahead, so that a wrong address is in the log at the start, not at the first client."""
        if self._keys is not None:
            self._keys.fetch()

    def prepare(self, token: str, go_on: Callable[[], None]) -> None:
        if self._keys is None:
            go_on()
            return
        try:
            header = _header(token)
        except InvalidToken:
            go_on()  # it will be refused, whatever the keys
            return
        self._keys.prepare(_key_id(header), go_on)

    def judge(self, token: str) -> tuple[str, float]:
        """The name the token proves, and when it expires (seconds since 1970). Raises InvalidToken."""
        header = _header(token)
        if header.get("alg") == "none":
            claims = self._unsecured(token)
        else:
            claims = self._secured(token, header)
        name = claims.get(self.config.sub_claim)
        if not isinstance(name, str) or not name.strip():
            raise InvalidToken(f"the claim {self.config.sub_claim!r} does not name a principal")
        return name, float(claims["exp"])

    def _secured(self, token: str, header: dict[str, Any]) -> dict[str, Any]:
        if self._keys is None:
            raise InvalidToken("no keys are configured, only unsecured tokens are accepted")
        if header.get("alg") not in ALGORITHMS:
            raise InvalidToken(f"the algorithm {header.get('alg')!r} is not accepted")
        key = self._keys.find(_key_id(header))
        if key is None:
            raise InvalidToken("no key of the JWKS has the token's key id")
        import jwt

        config = self.config
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=list(config.audience) or None,
                issuer=config.issuer,
                leeway=config.clock_skew_s,
                options={"require": ["exp", "iat", config.sub_claim], "verify_aud": bool(config.audience)},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidToken(str(error)) from error
        _number(claims, "exp")
        return claims

    def _unsecured(self, token: str) -> dict[str, Any]:
        """The claims of a token without signature, held to the same rules, if such tokens are allowed."""
        config = self.config
        if not config.allow_unsecured:
            raise InvalidToken("the token has no signature")
        parts = token.split(".")
        if len(parts) != 3 or parts[2]:
            raise InvalidToken("a token without a signature must end with a dot")
        claims = _object(parts[1])
        now = time.time()
        if _number(claims, "exp") + config.clock_skew_s <= now:
            raise InvalidToken("the token has expired")
        if "iat" in claims and _number(claims, "iat") - config.clock_skew_s > now:
            raise InvalidToken("the token is from the future")
        if "nbf" in claims and _number(claims, "nbf") - config.clock_skew_s > now:
            raise InvalidToken("the token is not valid yet")
        if config.issuer is not None and claims.get("iss") != config.issuer:
            raise InvalidToken("the token is from another issuer")
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        if config.audience and not any(one in config.audience for one in named):
            raise InvalidToken("the token is for another audience")
        return claims


class OAuthExchange(Exchange):
    """One client's authentication."""

    def __init__(self, judge: TokenJudge) -> None:
        super().__init__("OAUTHBEARER")
        self._judge = judge
        self._fault: str | None = None

    def prepare(self, token: bytes, go_on: Callable[[], None]) -> None:
        parsed = None if self._fault is not None else _parse(token)
        if parsed is None:
            go_on()
        else:
            self._judge.prepare(parsed[1], go_on)

    def step(self, token: bytes) -> bytes:
        if self._fault is not None:
            if token != _GOODBYE:
                raise AuthenticationFailed("Invalid OAUTHBEARER client message", self._fault)
            raise AuthenticationFailed('{"status":"invalid_token"}', self._fault)
        parsed = _parse(token)
        if parsed is None:
            raise AuthenticationFailed("Invalid OAUTHBEARER client first message")
        authzid, bearer = parsed
        try:
            name, self.expires_at = self._judge.judge(bearer)
        except InvalidToken as invalid:
            self._fault = str(invalid)
            return b'{"status":"invalid_token"}'
        self.claimed = f"User:{name}"
        if authzid and authzid != name:
            raise AuthenticationFailed(
                f"Authentication failed: Client requested an authorization id ({authzid}) that is different from the "
                f"token's principal name ({name})"
            )
        self.principal = f"User:{name}"
        return b""


def _parse(message: bytes) -> tuple[str, str] | None:
    """Authorization id and token of a client's first message; None if it is malformed."""
    if len(message) > TOKEN_BYTES_MAX:
        return None
    match = _MESSAGE.fullmatch(message)
    if match is None:
        return None
    pairs = dict(pair.split(b"=", 1) for pair in match[2].split(b"\x01") if pair)
    kind, _, token = pairs.get(b"auth", b"").partition(b" ")
    if kind.lower() != b"bearer" or not token.strip():
        return None
    try:
        authzid = (match[1] or b"").decode()
    except UnicodeDecodeError:
        return None
    return authzid.replace("=2C", ",").replace("=3D", "="), token.strip().decode("ascii")


def _header(token: str) -> dict[str, Any]:
    return _object(token.partition(".")[0])


def _key_id(header: dict[str, Any]) -> str | None:
    key_id = header.get("kid")
    return key_id if isinstance(key_id, str) else None


def _object(part: str) -> dict[str, Any]:
    """The JSON object in one part of a token. Raises InvalidToken."""
    try:
        found = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError) as error:
        raise InvalidToken("the token is malformed") from error
    if not isinstance(found, dict):
        raise InvalidToken("the token is malformed")
    return found


def _number(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e12:
        raise InvalidToken(f"the claim {name!r} is missing or no time")
    return float(value)
