"""Whatever a stranger says, he gets a refusal: no crash, no hang, nothing that grows. And no way in by luck."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import struct
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottla.broker.security.config import OAuthConfig
from ottla.broker.security.credentials import Credential
from ottla.broker.security.exchange import AuthenticationFailed, Exchange
from ottla.broker.security.jaas import parse_jaas
from ottla.broker.security.oauthbearer import (
    JWKS_BYTES_MAX,
    InvalidToken,
    JwksKeys,
    OAuthExchange,
    TokenJudge,
    parse_jwks,
)
from ottla.broker.security.plain import PlainExchange
from ottla.broker.security.principals import MappingRules, subject
from ottla.broker.security.scram import ScramExchange
from ottla.broker.security.settings import read_security
from tests.broker.running import Client, RunningBroker
from tests.contracts.security.certificates import Authority
from tests.contracts.security.tokens import AUDIENCE, ISSUER, Issuer

# A busy machine must not make a slow example of a good one.
fuzz = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

KNOWN = Credential.from_password(1, "secret", salt=b"0123456789abcdef")
# Pieces of the real thing make deeper ways in than noise does.
PIECES = [
    b"n,,", b"n,a=ann,", b"y,,", b"p=x,,", b"n=", b"ann", b",r=", b"abc", b"=2C", b"=3D", b"=", b",", b"\0", b"\x01",
    b"c=biws", b",p=", b"AAAA", b"auth=Bearer ", b"a.b.c", b"host=x", b"\xff", b"\xc3\xbc", b"tokenauth=true",
]  # fmt: skip
token = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))


def lookup(user: str, mechanism: int) -> Credential | None:
    return KNOWN if (user, mechanism) == ("ann", 1) else None


def fails_in_words(exchange: Exchange, tokens: list[bytes]) -> None:
    for one in tokens:
        try:
            answer = exchange.step(one)
        except AuthenticationFailed:
            assert exchange.principal is None
            return
        assert exchange.principal is None
        assert len(answer) < 1000


@fuzz
@given(st.lists(token, min_size=1, max_size=4))
def test_scram_messages_of_any_kind_are_refused(tokens: list[bytes]) -> None:
    fails_in_words(ScramExchange("SCRAM-SHA-256", lookup), tokens)


@fuzz
@given(st.lists(token, min_size=1, max_size=3))
def test_plain_messages_of_any_kind_are_refused(tokens: list[bytes]) -> None:
    fails_in_words(PlainExchange({"ann": "a long secret"}), tokens)


@fuzz
@given(flipped=st.integers(0, 2000), bit=st.integers(0, 7), which=st.integers(0, 1))
def test_one_flipped_bit_in_a_scram_conversation_keeps_the_client_out(flipped: int, bit: int, which: int) -> None:
    exchange = ScramExchange("SCRAM-SHA-256", lookup)
    first = b"n,,n=ann,r=abcdef"
    sent = flip(first, flipped, bit) if which == 0 else first
    try:
        server_first = exchange.step(sent)
        final = client_final(first, server_first, "secret")
        exchange.step(flip(final, flipped, bit) if which == 1 else final)
    except (AuthenticationFailed, UnicodeDecodeError):
        assert exchange.principal is None
        return
    raise AssertionError("a changed message was accepted")


def flip(message: bytes, at: int, bit: int) -> bytes:
    changed = bytearray(message)
    changed[at % len(message)] ^= 1 << bit
    return bytes(changed)


def client_final(first: bytes, server_first: bytes, password: str) -> bytes:
    fields = dict(part.split(b"=", 1) for part in server_first.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(fields[b"s"]), int(fields[b"i"]))
    bare = b"c=biws,r=" + fields[b"r"]
    said = first[3:] + b"," + server_first + b"," + bare
    key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), said, "sha256")
    return bare + b",p=" + b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))


def test_the_right_password_is_accepted_and_proves_the_broker() -> None:
    exchange = ScramExchange("SCRAM-SHA-256", lookup)
    first = b"n,,n=ann,r=abcdef"
    server_first = exchange.step(first)
    assert exchange.step(client_final(first, server_first, "secret")).startswith(b"v=")
    assert exchange.principal == "User:ann"


def test_an_unknown_user_is_shown_the_same_salt_every_time_and_another_than_others() -> None:
    def shown(user: str) -> bytes:
        answer = ScramExchange("SCRAM-SHA-256", lookup).step(f"n,,n={user},r=abc".encode())
        return answer.partition(b",s=")[2]

    assert shown("nobody") == shown("nobody") != shown("somebody")
    assert shown("nobody").endswith(b",i=4096")


def test_nothing_that_is_kept_lets_in() -> None:
    """Whoever reads the journal has StoredKey and ServerKey; neither is a password, nor a salted one."""
    kept = json.dumps(KNOWN.to_json())
    salted = hashlib.pbkdf2_hmac("sha256", b"secret", b"0123456789abcdef", 4096)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    for secret in (b"secret", salted, client_key):
        assert b64encode(secret).decode() not in kept
        assert secret.hex() not in kept
    assert Credential.from_json(json.loads(kept)) == KNOWN


# --- tokens ---


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer"))


def at_once(callback: Callable[[], None]) -> None:
    callback()


@pytest.fixture(scope="module")
def judge(issuer: Issuer) -> TokenJudge:
    return ready(OAuthConfig(f"file://{issuer.jwks}", (AUDIENCE,), ISSUER), issuer)


def ready(config: OAuthConfig, issuer: Issuer) -> TokenJudge:
    """A judge that has its keys."""
    made = TokenJudge(config, at_once)
    come: list[bool] = []
    made.prepare(issuer.token(), lambda: come.append(True))
    deadline = time.monotonic() + 10
    while not come:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return made


def part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
algorithm = st.sampled_from(["none", "RS256", "HS256", "ES256", "none ", None, 1]) | json_value
header = st.fixed_dictionaries(
    {},
    optional={
        "alg": algorithm,
        "kid": st.sampled_from(["one", "two", None, 7]),
        "typ": json_value,
        "crit": json_value,
        "b64": json_value,
    },
)
claims = st.dictionaries(st.sampled_from(["sub", "exp", "iat", "nbf", "aud", "iss", "x"]), json_value)
part_text = st.one_of(header.map(part), claims.map(part), json_value.map(part), st.text(max_size=30))


@fuzz
@given(parts=st.lists(part_text, max_size=5))
def test_tokens_of_any_kind_are_refused(judge: TokenJudge, parts: list[str]) -> None:
    with pytest.raises(InvalidToken):
        judge.judge(".".join(parts))


@fuzz
@given(at=st.integers(0, 5000), bit=st.integers(0, 6))
def test_one_flipped_bit_makes_a_token_worthless(judge: TokenJudge, issuer: Issuer, at: int, bit: int) -> None:
    good = issuer.token().encode()
    spot = at % (len(good) - 1)  # the last character of a signature has bits that mean nothing
    changed = bytearray(good)
    changed[spot] ^= 1 << bit
    with pytest.raises((InvalidToken, UnicodeDecodeError)):
        judge.judge(bytes(changed).decode())


@fuzz
@given(tokens=st.lists(token, min_size=1, max_size=3))
def test_bearer_messages_of_any_kind_are_refused(judge: TokenJudge, tokens: list[bytes]) -> None:
    fails_in_words(OAuthExchange(judge), tokens)


def test_a_secret_made_of_the_public_key_signs_nothing(judge: TokenJudge, issuer: Issuer) -> None:
    """The old trick: HS256 with the public key as its secret."""
    from cryptography.hazmat.primitives import serialization

    public = issuer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    now = int(time.time())
    body = (
        part({"alg": "HS256", "kid": "one"})
        + "."
        + part({"sub": "admin", "exp": now + 60, "iat": now, "aud": AUDIENCE, "iss": ISSUER})
    )
    signature = urlsafe_b64encode(hmac.digest(public, body.encode(), "sha256")).decode().rstrip("=")
    with pytest.raises(InvalidToken, match="HS256"):
        judge.judge(f"{body}.{signature}")


def test_tokens_without_signature_are_believed_only_where_that_is_allowed(judge: TokenJudge) -> None:
    now = int(time.time())
    unsigned = f"{part({'alg': 'none'})}.{part({'sub': 'ann', 'exp': now + 60, 'iat': now})}."
    with pytest.raises(InvalidToken, match="no signature"):
        judge.judge(unsigned)
    lax = TokenJudge(OAuthConfig(None, allow_unsecured=True), at_once)
    assert lax.judge(unsigned)[0] == "ann"
    for wrong in (
        {"sub": "ann", "exp": now - 60},
        {"sub": "ann"},
        {"exp": now + 60},
        {"sub": "ann", "exp": now + 60, "nbf": now + 90},
    ):
        with pytest.raises(InvalidToken):
            lax.judge(f"{part({'alg': 'none'})}.{part(wrong)}.")


def test_a_new_key_of_the_issuer_is_fetched_when_it_is_first_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ottla.broker.security.oauthbearer.FETCH_AGAIN_SECONDS", 0.0)
    old, new = Issuer(tmp_path), Issuer(tmp_path)  # the file now holds the new one's keys
    new_jwks = new.jwks.read_text().replace('"one"', '"two"')
    new.jwks.write_text(json.dumps({"keys": []}))
    judge = TokenJudge(OAuthConfig(f"file://{new.jwks}", (AUDIENCE,), ISSUER), at_once)
    token = new.token(key_id="two")
    for text, fault in ((json.dumps({"keys": []}), True), (new_jwks, False)):
        new.jwks.write_text(text)
        come: list[bool] = []
        judge.prepare(token, lambda come=come: come.append(True))
        deadline = time.monotonic() + 10
        while not come:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if fault:
            with pytest.raises(InvalidToken, match="no key"):
                judge.judge(token)
        else:
            assert judge.judge(token)[0] == "olga"
    with pytest.raises(InvalidToken):
        judge.judge(old.token(key_id="two"))


def test_keys_come_over_http_and_a_key_set_that_is_too_long_is_refused(issuer: Issuer) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(issuer.jwks.read_bytes() if self.path == "/jwks" else b" " * (JWKS_BYTES_MAX + 1))

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        judge = ready(OAuthConfig(f"{url}/jwks", (AUDIENCE,), ISSUER), issuer)
        assert judge.judge(issuer.token())[0] == "olga"
        judge = ready(OAuthConfig(f"{url}/endless", (AUDIENCE,), ISSUER), issuer)
        with pytest.raises(InvalidToken, match="no key"):
            judge.judge(issuer.token())
        server.shutdown()


def test_unknown_keys_do_not_make_the_broker_ask_the_issuer_again_and_again(issuer: Issuer) -> None:
    asked: list[Callable[[], None]] = []
    keys = JwksKeys(OAuthConfig(f"file://{issuer.jwks}"), asked.append)
    for number in range(50):
        keys.prepare(f"unknown-{number}", lambda: None)
    deadline = time.monotonic() + 10
    while not asked:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(asked) == 1
    asked[0]()
    for number in range(50):
        keys.prepare(f"unknown-{number}", lambda: None)
    time.sleep(0.05)
    assert len(asked) == 1


@fuzz
@given(st.one_of(st.binary(max_size=100), json_value.map(lambda value: json.dumps(value).encode()),
                 st.lists(json_value, max_size=3).map(lambda keys: json.dumps({"keys": keys}).encode())))  # fmt: skip
def test_key_sets_of_any_kind_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_jwks(data)


# --- certificates, rules, settings ---


@fuzz
@given(st.binary(max_size=300))
def test_any_bytes_are_no_certificate(data: bytes) -> None:
    with pytest.raises(ValueError):
        subject(data)


@fuzz
@given(at=st.integers(0, 100_000), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_certificate_is_read_or_refused(der: bytes, at: int, byte: int, cut: bool) -> None:
    changed = bytearray(der)
    changed[at % len(der)] = byte
    with contextlib.suppress(ValueError):
        assert isinstance(subject(bytes(changed[: at % len(der)] if cut else changed)), str)


@pytest.fixture(scope="module")
def der(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    import ssl

    from cryptography.x509.oid import NameOID

    file = Authority(tmp_path_factory.mktemp("der")).issue(
        "x.pem", (NameOID.COMMON_NAME, "ann"), (NameOID.COUNTRY_NAME, "DE")
    )
    text = file.read_text()
    found = ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERT") :])
    assert subject(found) == "C=DE,CN=ann"
    return found


@fuzz
@given(st.text(max_size=60))
def test_mapping_rules_of_any_kind_are_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        MappingRules(text).principal("CN=ann,OU=x")


@fuzz
@given(st.text(alphabet=' ="\\;ab_.', max_size=60))
def test_login_configurations_of_any_kind_are_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_jaas(text)


@pytest.mark.parametrize(
    ("rules", "name", "principal"),
    [
        ("DEFAULT", "CN=Ann,OU=X", "CN=Ann,OU=X"),
        ("RULE:^CN=(.*?),.*$/$1/", "CN=Ann,OU=X", "Ann"),
        ("RULE:^CN=(.*?),.*$/$1/L", "CN=Ann,OU=X", "ann"),
        ("RULE:^CN=(.*?),.*$/$1@corp/U, DEFAULT", "CN=Ann,OU=X", "ANN@CORP"),
        ("RULE:^CN=(.*?),OU=Y$/$1/, RULE:^.*OU=(.*)$/ou-$1/", "CN=Ann,OU=X", "ou-X"),
        ("RULE:^CN=nobody$/x/", "CN=Ann,OU=X", None),
        (r"RULE:^CN=(\w+)\/(\w+)$/$2\/$1/", "CN=a/b", "b/a"),
    ],
)
def test_mapping_rules_make_names(rules: str, name: str, principal: str | None) -> None:
    assert MappingRules(rules).principal(name) == principal


@pytest.mark.parametrize("rules", ["RULE:", "RULE:a/b", "RULE:(/x/", "RULE:a/$1/", "DEFAULT DEFAULT", "nonsense"])
def test_malformed_mapping_rules_are_faults(rules: str) -> None:
    with pytest.raises(ValueError):
        MappingRules(rules)


# --- over the socket ---


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> object:
    properties = {
        "listeners": "SASL_PLAINTEXT://127.0.0.1:0",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": 'x.PlainLoginModule required user_ann="a long secret";',
        "ottla.oauthbearer.allow.unsecured": "true",
        "connection.failed.authentication.delay.ms": "0",
    }
    with RunningBroker(tmp_path_factory.mktemp("fuzz") / "data", security=read_security(properties)) as running:
        yield running


@settings(fuzz, max_examples=60)
@given(
    mechanism=st.sampled_from(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]),
    version=st.integers(0, 1),
    frames=st.lists(token, min_size=1, max_size=4),
    cut=st.integers(0, 50),
)
def test_any_conversation_ends_with_a_closed_connection_and_a_broker_that_serves(
    broker: RunningBroker, mechanism: str, version: int, frames: list[bytes], cut: int
) -> None:
    client = broker.connect()
    client.ask("SaslHandshake", version, mechanism=mechanism)
    stream = b"".join(struct.pack(">i", len(frame)) + frame for frame in frames)
    try:
        client.sock.sendall(stream[: len(stream) - cut] if cut < len(stream) else stream)
        client.sock.shutdown(1)
        while client.sock.recv(4096):
            pass
    except OSError:
        pass
    client.close()
    assert serves(broker)


def serves(broker: RunningBroker) -> bool:
    client = Client(broker.server.port)
    client.ask("SaslHandshake", 1, mechanism="PLAIN")
    found = client.ask("SaslAuthenticate", 2, auth_bytes=b"\0ann\0a long secret")["error_code"] == 0
    client.close()
    return found
