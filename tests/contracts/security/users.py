"""SCRAM users, made by the admin API."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from tests.contracts.clients import wait_until

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


def warm_up(world: World) -> None:
    """Waits until the coordinators are there: Apache Kafka makes their topics when they are first asked for."""
    client = world.connect()
    parts = [{"partition_index": 0, "committed_offset": 0}]

    def answers(group: str) -> int:
        topics = [{"name": "warm-up", "partitions": parts}]
        answer = client.ask("OffsetCommit", 8, group_id=group, generation_id_or_member_epoch=-1, topics=topics)
        code: int = answer["topics"][0]["partitions"][0]["error_code"]
        return code

    for kind in (0, 1):
        wait_until(
            lambda kind=kind: client.ask("FindCoordinator", 1, key_type=kind, key="warm-up")["error_code"] == 0,
            what="a coordinator",
        )
    for number in range(12):  # every partition of the offsets topic
        wait_until(
            lambda number=number: answers(f"warm-up-{number}") not in (14, 15, 16), what="the group coordinators"
        )
    client.close()
