"""Contract: who gets in by SASL, with which mechanism, and what happens to the others."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tests.broker.running import Client
from tests.contracts.clients import PATIENCE_S, wait_until
from tests.contracts.security.secured import MECHANISMS, SHORT_SESSION_MS, World
from tests.contracts.security.users import SHA_256, make_user, upsertion

UNSUPPORTED_SASL_MECHANISM, ILLEGAL_SASL_STATE, SASL_AUTHENTICATION_FAILED = 33, 34, 58


def knows_the_cluster(world: World, listener: str, mechanism: str, user: str, password: str | None = None) -> bool:
    """Whether a librdkafka client gets in. It tries for ever: a refusal is seen by its error callback."""
    refused: list[Any] = []
    config = world.config(listener, mechanism, user, password)
    client = AdminClient({**config, "error_cb": refused.append, "reconnect.backoff.max.ms": 200})
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            return bool(client.list_topics(timeout=0.25).brokers)
        except KafkaException:
            client.poll(0)
            if any(error.name() == "_AUTHENTICATION" for error in refused):
                return False
    raise AssertionError(f"neither let in nor refused within {PATIENCE_S} s: {refused}")


@pytest.mark.parametrize("mechanism", MECHANISMS.split(","))
def test_a_client_with_the_right_credentials_gets_in(world: World, mechanism: str) -> None:
    user = {"PLAIN": "ann", "OAUTHBEARER": "olga"}.get(mechanism, "sue")
    assert knows_the_cluster(world, "SAFE", mechanism, user)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_wrong_password_is_refused(world: World, mechanism: str) -> None:
    assert not knows_the_cluster(world, "SASL", mechanism, "ann" if mechanism == "PLAIN" else "sue", "wrong")


def test_a_password_with_special_characters_is_as_good_as_any(world: World) -> None:
    assert knows_the_cluster(world, "SASL", "PLAIN", "pia")


# --- the conversation, request by request ---


def shake(client: Client, mechanism: str, version: int = 1) -> dict[str, Any]:
    return client.ask("SaslHandshake", version, mechanism=mechanism)


def plain(client: Client, user: str, password: str, *, authzid: str = "", version: int = 2) -> dict[str, Any]:
    return client.ask("SaslAuthenticate", version, auth_bytes=f"{authzid}\0{user}\0{password}".encode())


def is_refused(step: Callable[[], dict[str, Any]]) -> bool:
    """Whether the client is told no, or just cut off: Kafka does either, by what was wrong."""
    try:
        return bool(step()["error_code"] == SASL_AUTHENTICATION_FAILED)
    except (ConnectionResetError, BrokenPipeError):
        return True


def is_let_in(client: Client) -> bool:
    return "brokers" in client.ask("Metadata", 9, topics=[])


def test_plain_is_one_message_and_then_everything_is_served(world: World) -> None:
    client = world.connect("SASL")
    client.ask("ApiVersions", 3, client_software_name="test", client_software_version="1")
    answer = shake(client, "PLAIN")
    assert (answer["error_code"], sorted(answer["mechanisms"])) == (0, sorted(MECHANISMS.split(",")))
    answer = plain(client, "ann", "ann-secret")
    assert (answer["error_code"], bytes(answer["auth_bytes"]), answer["session_lifetime_ms"]) == (0, b"", 0)
    assert is_let_in(client)


@pytest.mark.parametrize(
    "said",
    [("ann", "wrong"), ("nobody", "wrong"), ("", "x"), ("ann", ""), ("ann", "ann-secret\0more")],
    ids=["wrong password", "unknown user", "no user", "no password", "too many parts"],
)
def test_bad_plain_credentials_fail_and_the_connection_is_closed(world: World, said: tuple[str, str]) -> None:
    client = world.connect("SASL")
    shake(client, "PLAIN")
    begun = time.monotonic()
    assert plain(client, *said)["error_code"] == SASL_AUTHENTICATION_FAILED
    assert time.monotonic() - begun >= 0.09, "the answer to a failure is delayed"
    assert client.is_cut_off()


def test_an_unknown_user_and_a_wrong_password_get_the_same_answer(world: World) -> None:
    messages = set()
    for user in ("ann", "nobody"):
        client = world.connect("SASL")
        shake(client, "PLAIN")
        messages.add(plain(client, user, "wrong")["error_message"])
    assert len(messages) == 1


def test_an_authorization_id_must_be_the_users_own(world: World) -> None:
    client = world.connect("SASL")
    shake(client, "PLAIN")
    assert plain(client, "ann", "ann-secret", authzid="ann")["error_code"] == 0
    client = world.connect("SASL")
    shake(client, "PLAIN")
    assert plain(client, "ann", "ann-secret", authzid="admin")["error_code"] == SASL_AUTHENTICATION_FAILED


def test_a_failure_holds_nobody_else_up(world: World) -> None:
    failing = [world.connect("SASL") for _ in range(10)]
    for client in failing:
        shake(client, "PLAIN")
        client.send("SaslAuthenticate", 2, auth_bytes=b"\0ann\0wrong")
    client = world.connect("SASL")
    begun = time.monotonic()
    shake(client, "PLAIN")
    assert plain(client, "ann", "ann-secret")["error_code"] == 0
    assert time.monotonic() - begun < 0.9, "ten failures of 100 ms each did not come first"
    for client in failing:
        assert client.receive()["error_code"] == SASL_AUTHENTICATION_FAILED


def test_an_unknown_mechanism_is_answered_with_those_there_are_and_closed(world: World) -> None:
    client = world.connect("SASL")
    answer = shake(client, "GSSAPI")
    assert answer["error_code"] == UNSUPPORTED_SASL_MECHANISM
    assert sorted(answer["mechanisms"]) == sorted(MECHANISMS.split(","))
    assert client.is_cut_off()


@pytest.mark.parametrize("name", ["Metadata", "SaslAuthenticate", "Produce", "CreateAcls"])
def test_anything_else_before_the_handshake_closes_the_connection(world: World, name: str) -> None:
    client = world.connect("SASL")
    client.send(name, 1 if name != "Produce" else 3)
    assert client.is_cut_off()


def test_anything_else_between_handshake_and_token_closes_the_connection(world: World) -> None:
    client = world.connect("SASL")
    shake(client, "PLAIN")
    client.send("Metadata", 9, topics=[])
    assert not is_answered(client)


def is_answered(client: Client) -> bool:
    """Whether a Metadata request is answered with metadata: Kafka sends an error before it closes."""
    try:
        return bool(client.receive().get("brokers"))
    except (ConnectionResetError, AssertionError, struct.error, IndexError):
        return False


def test_sasl_requests_after_authentication_are_out_of_place(world: World) -> None:
    client = world.connect("SASL")
    shake(client, "PLAIN")
    plain(client, "ann", "ann-secret")
    assert shake(client, "PLAIN")["error_code"] == ILLEGAL_SASL_STATE
    assert plain(client, "ann", "ann-secret")["error_code"] == ILLEGAL_SASL_STATE
    assert is_let_in(client)


def test_sasl_requests_on_a_listener_without_sasl_are_out_of_place(world: World) -> None:
    client = world.connect("OPEN")
    assert shake(client, "PLAIN")["error_code"] == ILLEGAL_SASL_STATE
    assert plain(client, "ann", "ann-secret")["error_code"] == ILLEGAL_SASL_STATE


def test_versions_are_asked_for_before_authentication_and_an_unknown_version_is_answered(world: World) -> None:
    client = world.connect("SASL")
    client.send_frame(struct.pack(">hhihb", 18, 99, 0, -1, 0))
    data = client.frame()
    assert struct.unpack_from(">ih", data) == (0, 35)
    client.count += 1
    client.ask("ApiVersions", 3, client_software_name="test", client_software_version="1")
    assert shake(client, "PLAIN")["error_code"] == 0


def test_a_large_request_before_authentication_closes_the_connection(world: World) -> None:
    client = world.connect("SASL")
    client.sock.sendall(struct.pack(">i", 600_000))
    assert client.is_cut_off()


# --- the old way: bare tokens after a handshake of version 0 ---


def send_bare(client: Client, token: bytes) -> None:
    client.sock.sendall(struct.pack(">i", len(token)) + token)


def test_bare_plain_tokens_are_taken_after_an_old_handshake(world: World) -> None:
    client = world.connect("SASL")
    shake(client, "PLAIN", version=0)
    send_bare(client, b"\0ann\0ann-secret")
    assert client.frame() == b""
    assert is_let_in(client)


def test_a_bad_bare_token_closes_the_connection(world: World) -> None:
    client = world.connect("SASL")
    shake(client, "PLAIN", version=0)
    send_bare(client, b"\0ann\0wrong")
    assert client.is_cut_off()


def test_bare_scram_tokens_go_to_and_fro(world: World) -> None:
    client = world.connect("SASL")
    shake(client, "SCRAM-SHA-512", version=0)
    scram = Scram("sue", "sue-secret", "sha512")
    send_bare(client, scram.first())
    send_bare(client, scram.final(client.frame()))
    assert client.frame() == scram.expected()
    assert is_let_in(client)


# --- SCRAM, message by message ---


class Scram:
    """The client's side of RFC 5802, with room for lies."""

    def __init__(self, user: str, password: str, name: str = "sha256", gs2: str = "n,,") -> None:
        self.password, self.name, self.gs2 = password, name, gs2
        self.bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={secrets.token_hex(12)}"
        self.signature = b""

    def first(self) -> bytes:
        return (self.gs2 + self.bare).encode()

    def final(self, server_first: bytes, *, nonce: str | None = None, binding: str | None = None) -> bytes:
        fields = dict(part.split("=", 1) for part in server_first.decode().split(","))
        salted = hashlib.pbkdf2_hmac(self.name, self.password.encode(), b64decode(fields["s"]), int(fields["i"]))
        bound = b64encode((self.gs2 if binding is None else binding).encode()).decode()
        without_proof = f"c={bound},r={fields['r'] if nonce is None else nonce}"
        said = f"{self.bare},{server_first.decode()},{without_proof}".encode()
        client_key = hmac.digest(salted, b"Client Key", self.name)
        signature = hmac.digest(hashlib.new(self.name, client_key).digest(), said, self.name)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self.signature = hmac.digest(hmac.digest(salted, b"Server Key", self.name), said, self.name)
        return f"{without_proof},p={b64encode(proof).decode()}".encode()

    def expected(self) -> bytes:
        return b"v=" + b64encode(self.signature)


def scram_step(client: Client, token: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = client.ask("SaslAuthenticate", 2, auth_bytes=token)
    return answer


def test_scram_proves_both_sides(world: World) -> None:
    client = world.connect("SASL")
    shake(client, "SCRAM-SHA-512")
    scram = Scram("sue", "sue-secret", "sha512")
    begun = scram_step(client, scram.first())
    assert begun["error_code"] == 0
    done = scram_step(client, scram.final(bytes(begun["auth_bytes"])))
    assert (done["error_code"], bytes(done["auth_bytes"])) == (0, scram.expected())
    assert is_let_in(client)


def test_names_with_commas_and_equals_signs_are_escaped(world: World) -> None:
    client = world.connect("SASL")
    shake(client, "SCRAM-SHA-256")
    scram = Scram("odd,=name", "pässwörd")
    done = scram_step(client, scram.final(bytes(scram_step(client, scram.first())["auth_bytes"])))
    assert done["error_code"] == 0


def test_an_unknown_scram_user_is_refused_with_the_words_of_a_wrong_password(world: World) -> None:
    messages = set()
    for user in ("sue", "nobody"):
        client = world.connect("SASL")
        shake(client, "SCRAM-SHA-256")
        scram = Scram(user, "wrong")
        answer = scram_step(client, scram.first())
        if not answer["error_code"]:
            answer = scram_step(client, scram.final(bytes(answer["auth_bytes"])))
        assert answer["error_code"] == SASL_AUTHENTICATION_FAILED
        messages.add(answer["error_message"])
        assert client.is_cut_off()
    assert len(messages) == 1


@pytest.mark.parametrize("nonce", ["", "x" * 40, None])
def test_a_final_message_with_another_nonce_is_refused(world: World, nonce: str | None) -> None:
    """CVE-2024-56128: a proof is good for its own exchange only."""
    client = world.connect("SASL")
    shake(client, "SCRAM-SHA-256")
    scram = Scram("sue", "sue-secret")
    server_first = bytes(scram_step(client, scram.first())["auth_bytes"])
    said = scram.bare.rpartition("r=")[2] if nonce is None else nonce  # None: the client's half alone
    answer = scram_step(client, scram.final(server_first, nonce=said))
    assert answer["error_code"] == SASL_AUTHENTICATION_FAILED


def test_another_authorization_id_is_refused(world: World) -> None:
    client = world.connect("SASL")
    shake(client, "SCRAM-SHA-256")
    assert scram_step(client, Scram("sue", "sue-secret", gs2="n,a=admin,").first())["error_code"] == 58


@pytest.mark.parametrize("token", [b"", b"\xff\xfe", b"n,,", b"y,,n=sue,r=x", b"p=tls-unique,,n=sue,r=x", b"n,,n=,r=x"])
def test_a_malformed_first_message_is_refused(world: World, token: bytes) -> None:
    client = world.connect("SASL")
    shake(client, "SCRAM-SHA-256")
    assert scram_step(client, token)["error_code"] == SASL_AUTHENTICATION_FAILED
    assert client.is_cut_off()


def test_a_changed_password_counts_at_once_and_open_connections_stay(world: World, user: str) -> None:
    make_user(world, user, "old")
    assert knows_the_cluster(world, "SASL", "SCRAM-SHA-512", user, "old")
    make_user(world, user, "new")
    assert knows_the_cluster(world, "SASL", "SCRAM-SHA-512", user, "new")
    assert not knows_the_cluster(world, "SASL", "SCRAM-SHA-512", user, "old")


def test_a_deleted_credential_lets_nobody_in(world: World, user: str) -> None:
    make_user(world, user)
    deleted = world.connect().ask("AlterUserScramCredentials", 0, deletions=[{"name": user, "mechanism": SHA_256}])
    assert deleted["results"][0]["error_code"] == 0
    assert not knows_the_cluster(world, "SASL", "SCRAM-SHA-256", user)
    assert knows_the_cluster(world, "SASL", "SCRAM-SHA-512", user)


# --- OAUTHBEARER ---


def bear(client: Client, token: str, authzid: str = "") -> dict[str, Any]:
    said = f"n,{f'a={authzid}' if authzid else ''},\x01auth=Bearer {token}\x01\x01"
    return scram_step(client, said.encode())


def test_a_token_lets_in_until_it_expires(world: World) -> None:
    client = world.connect("SASL")
    shake(client, "OAUTHBEARER")
    answer = bear(client, world.issuer.token(seconds=300))
    assert (answer["error_code"], bytes(answer["auth_bytes"])) == (0, b"")
    assert 250_000 < answer["session_lifetime_ms"] <= 300_000
    assert is_let_in(client)


@pytest.mark.parametrize(
    "claims",
    [{"seconds": -100}, {"aud": "somebody else"}, {"iss": "https://evil.test"}, {"sub": None}, {"exp": None},
     {"key_id": "another"}, {"sub": "  "}],
    ids=["expired", "audience", "issuer", "no subject", "no expiry", "unknown key", "blank subject"],
)  # fmt: skip
def test_a_bad_token_is_answered_with_its_status_and_then_refused(world: World, claims: dict[str, Any]) -> None:
    client = world.connect("SASL")
    shake(client, "OAUTHBEARER")
    answer = bear(client, world.issuer.token(**claims))
    assert answer["error_code"] == 0
    assert b'"status":"invalid_token"' in bytes(answer["auth_bytes"])
    assert scram_step(client, b"\x01")["error_code"] == SASL_AUTHENTICATION_FAILED
    assert client.is_cut_off()


def test_a_forged_token_is_refused(world: World, tmp_path: Any) -> None:
    from tests.contracts.security.tokens import Issuer

    forger = Issuer(tmp_path)
    header, claims, signature = world.issuer.token().split(".")
    admin = forger.token("admin")
    unsigned = b64encode(b'{"alg":"none"}').decode().rstrip("=") + f".{admin.split('.')[1]}."
    mixed = f"{header}.{admin.split('.')[1]}.{signature}"
    for token in (admin, mixed, unsigned, f"{header}.{claims}.", "a.b.c"):
        client = world.connect("SASL")
        shake(client, "OAUTHBEARER")
        answer = bear(client, token)
        if not answer["error_code"]:
            assert b"invalid_token" in bytes(answer["auth_bytes"])
            answer = scram_step(client, b"\x01")
        assert answer["error_code"] == SASL_AUTHENTICATION_FAILED, token


@pytest.mark.parametrize(
    "said", [b"", b"n,,", b"n,,\x01auth=Basic eDp5\x01\x01", b"n,,\x01auth=Bearer \x01\x01", b"\x01"]
)
def test_a_malformed_bearer_message_is_refused(world: World, said: bytes) -> None:
    client = world.connect("SASL")
    shake(client, "OAUTHBEARER")
    assert is_refused(lambda: scram_step(client, said))


# --- sessions that end (KIP-368) ---


def log_in(world: World, user: str = "sue") -> tuple[Client, dict[str, Any]]:
    client = world.connect("SASL")
    return client, log_in_again(client, user)


def log_in_again(client: Client, user: str = "sue", mechanism: str = "SCRAM-SHA-256") -> dict[str, Any]:
    assert shake(client, mechanism)["error_code"] == 0
    scram = Scram(user, f"{user}-secret", "sha256" if mechanism.endswith("256") else "sha512")
    begun = scram_step(client, scram.first())
    if begun["error_code"]:
        return begun
    return scram_step(client, scram.final(bytes(begun["auth_bytes"])))


def test_a_session_is_as_long_as_it_is_said_to_be(world: World) -> None:
    client, answer = log_in(world)
    assert answer["session_lifetime_ms"] == SHORT_SESSION_MS
    assert is_let_in(client)
    # The time of a session is what is tested: there is no other condition to wait for.
    wait_until(lambda: not still_served(client), what="the session ends")


def still_served(client: Client) -> bool:
    time.sleep(0.1)
    try:
        return is_let_in(client)
    except (ConnectionResetError, BrokenPipeError):
        return False


def test_a_client_that_authenticates_anew_stays_connected(world: World) -> None:
    client, _ = log_in(world)
    time.sleep(SHORT_SESSION_MS / 1000 * 0.6)
    answer = log_in_again(client)
    assert (answer["error_code"], answer["session_lifetime_ms"]) == (0, SHORT_SESSION_MS)
    time.sleep(SHORT_SESSION_MS / 1000 * 0.6)  # past the first session's end
    assert is_let_in(client)


def test_another_user_cannot_take_over_a_session(world: World, user: str) -> None:
    client, _ = log_in(world)
    make_user(world, user)
    assert log_in_again(client, user)["error_code"] == SASL_AUTHENTICATION_FAILED
    assert client.is_cut_off()


def test_the_mechanism_stays_the_same(world: World) -> None:
    client, _ = log_in(world)
    assert is_refused(lambda: log_in_again(client, mechanism="SCRAM-SHA-512"))
    assert client.is_cut_off()


def test_librdkafka_authenticates_anew_by_itself(world: World, topic_name: str, user: str) -> None:
    """A producer outlives several of its sessions and loses nothing."""
    make_user(world, user)
    create = world.connect().ask(
        "CreateTopics", 4, topics=[{"name": topic_name, "num_partitions": 1, "replication_factor": 1}]
    )
    assert create["topics"][0]["error_code"] == 0
    allow(world, f"User:{user}", topic_name)
    failures: list[Any] = []
    client = Producer({**world.config("SASL", "SCRAM-SHA-256", user), "linger.ms": 0})
    end = time.monotonic() + SHORT_SESSION_MS / 1000 * 1.6
    while time.monotonic() < end:
        client.produce(topic_name, b"v", on_delivery=lambda error, _: failures.append(error) if error else None)
        client.poll(0.05)
    assert client.flush(PATIENCE_S) == 0
    assert failures == []


def allow(world: World, principal: str, topic: str) -> None:
    acl = {"resource_type": 2, "resource_name": topic, "resource_pattern_type": 3, "principal": principal}
    acl |= {"host": "*", "operation": 2, "permission_type": 3}
    assert world.connect().ask("CreateAcls", 3, creations=[acl])["results"][0]["error_code"] == 0


# --- the admin API for SCRAM credentials ---


def test_credentials_are_described_without_anything_secret(world: World, user: str) -> None:
    make_user(world, user)
    answer = world.connect().ask("DescribeUserScramCredentials", 0, users=[{"name": user}])
    (result,) = answer["results"]
    assert sorted((info["mechanism"], info["iterations"]) for info in result["credential_infos"]) == [
        (1, 4096),
        (2, 4096),
    ]


def test_all_credentials_are_described_if_none_is_named(world: World, user: str) -> None:
    make_user(world, user)
    for users in (None, []):
        answer = world.connect().ask("DescribeUserScramCredentials", 0, users=users)
        assert {"sue", user} <= {result["user"] for result in answer["results"]}


def test_unknown_and_repeated_users_are_errors_of_their_own(world: World, user: str) -> None:
    make_user(world, user)
    names = ["nobody-at-all", user, user]
    answer = world.connect().ask("DescribeUserScramCredentials", 0, users=[{"name": name} for name in names])
    assert {result["user"]: result["error_code"] for result in answer["results"]} == {"nobody-at-all": 91, user: 92}


@pytest.mark.parametrize(
    ("change", "code"),
    [({"iterations": 4095}, 93), ({"iterations": 16385}, 93), ({"name": ""}, 93), ({"mechanism": 3}, 33),
     ({"mechanism": 0}, 33)],
    ids=["too few iterations", "too many iterations", "no name", "unknown mechanism", "mechanism 0"],
)  # fmt: skip
def test_an_unacceptable_credential_is_refused(world: World, user: str, change: dict[str, Any], code: int) -> None:
    wanted = upsertion(user, "secret") | change
    answer = world.connect().ask("AlterUserScramCredentials", 0, upsertions=[wanted])
    assert [result["error_code"] for result in answer["results"]] == [code]


def test_deleting_what_is_not_there_is_an_error(world: World, user: str) -> None:
    answer = world.connect().ask("AlterUserScramCredentials", 0, deletions=[{"name": user, "mechanism": SHA_256}])
    assert [result["error_code"] for result in answer["results"]] == [91]


def test_altering_a_user_twice_in_one_request_changes_nothing(world: World, user: str) -> None:
    twice = [upsertion(user, "a"), upsertion(user, "b")]
    answer = world.connect().ask("AlterUserScramCredentials", 0, upsertions=twice)
    assert [result["error_code"] for result in answer["results"]] == [92]
    described = world.connect().ask("DescribeUserScramCredentials", 0, users=[{"name": user}])
    assert described["results"][0]["error_code"] == 91
