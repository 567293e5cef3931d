"""An issuer of JSON Web Tokens for the tests: its key, its JWKS file, and tokens of all kinds."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

AUDIENCE = "ottla-tests"
ISSUER = "https://issuer.test"


class Issuer:
    """`jwks` is the file with its public keys."""

    def __init__(self, folder: Path) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.jwks = folder / "jwks.json"
        public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        self.jwks.write_text(json.dumps({"keys": [{**public, "kid": "one", "use": "sig", "alg": "RS256"}]}))

    def token(self, name: str = "olga", *, seconds: int = 300, key_id: str = "one", **claims: Any) -> str:
        """A token for a name; further claims replace the usual ones, None leaves one out."""
        now = int(time.time())
        usual = {"sub": name, "iat": now, "exp": now + seconds, "aud": AUDIENCE, "iss": ISSUER}
        said = {key: value for key, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode(said, self.key, "RS256", headers={"kid": key_id})
