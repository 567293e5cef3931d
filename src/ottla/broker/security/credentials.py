"""SCRAM credentials: what the broker keeps of a password. It proves a password right, and cannot be used as one."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

ITERATIONS_MIN, ITERATIONS_MAX = 4096, 16384
MECHANISMS = {"SCRAM-SHA-256": 1, "SCRAM-SHA-512": 2}
HASHES = {1: "sha256", 2: "sha512"}
SALT_BYTES = 16


@dataclass(frozen=True)
class Credential:
    """What is kept of a password. All but the number of iterations are bytes."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int

    def __repr__(self) -> str:
        return f"Credential(iterations={self.iterations})"

    @classmethod
    def from_salted_password(cls, mechanism: int, salted: bytes, salt: bytes, iterations: int) -> Credential:
        """From the salted password, the form in which the admin API hands passwords over."""
        import hashlib
        import hmac

        name = HASHES[mechanism]
        client_key = hmac.digest(salted, b"Client Key", name)
        stored_key = hashlib.new(name, client_key).digest()
        return cls(salt, stored_key, hmac.digest(salted, b"Server Key", name), iterations)

    @classmethod
    def from_password(
        cls, mechanism: int, password: str, iterations: int = ITERATIONS_MIN, salt: bytes | None = None
    ) -> Credential:
        import hashlib
        import os

        salt = os.urandom(SALT_BYTES) if salt is None else salt
        salted = hashlib.pbkdf2_hmac(HASHES[mechanism], password.encode(), salt, iterations)
        return cls.from_salted_password(mechanism, salted, salt, iterations)

    def to_json(self) -> list[Any]:
        return [*(b64encode(part).decode() for part in (self.salt, self.stored_key, self.server_key)), self.iterations]

    @classmethod
    def from_json(cls, row: list[Any]) -> Credential:
        return cls(b64decode(row[0]), b64decode(row[1]), b64decode(row[2]), row[3])
