"""SCRAM users, made by the admin API."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.contracts.security.secured import World

SHA_256, SHA_512 = 1, 2
_HASHES = {SHA_256: "sha256", SHA_512: "sha512"}
SCRAM_USERS = {"sue": "sue-secret", "odd,=name": "pässwörd"}


def upsertion(name: str, password: str, mechanism: int = SHA_256, iterations: int = 4096) -> dict[str, object]:
    """A credential as AlterUserScramCredentials takes it."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac(_HASHES[mechanism], password.encode(), salt, iterations)
    return {"name": name, "mechanism": mechanism, "iterations": iterations, "salt": salt, "salted_password": salted}


def make_user(world: World, name: str, password: str | None = None) -> str:
    """A user for both mechanisms, with the password NAME-secret if none is given; returns the name.

    A credential cannot be altered twice in one request, so each mechanism gets its own.
    """
    client = world.connect()
    for mechanism in (SHA_256, SHA_512):
        wanted = upsertion(name, password or f"{name}-secret", mechanism)
        answer = client.ask("AlterUserScramCredentials", 0, upsertions=[wanted])
        assert [result["error_code"] for result in answer["results"]] == [0], answer
    client.close()
    return name


def make_scram_users(world: World) -> None:
    for name, password in SCRAM_USERS.items():
        make_user(world, name, password)
