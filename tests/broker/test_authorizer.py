"""The authorizer's decisions, held against the rules written down in the simplest way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.broker.security.acls import Acl, AclFilter, Acls
from ottla.broker.security.authorizer import AclAuthorizer
from ottla.broker.security.resources import Operation, PatternType, Permission, ResourceType
from ottla.broker.security.settings import read_security
from tests.broker.running import Client, RunningBroker
from tests.contracts.security.acls import acl

NAMES = ["a", "ab", "abc", "b", "*"]
USERS = ["User:ann", "User:bob", "User:*"]
HOSTS = ["1.1.1.1", "2.2.2.2", "*"]
OPERATIONS = [Operation.READ, Operation.WRITE, Operation.DESCRIBE, Operation.ALTER_CONFIGS, Operation.DESCRIBE_CONFIGS]

acls = st.builds(
    Acl,
    st.sampled_from([ResourceType.TOPIC, ResourceType.GROUP]),
    st.sampled_from([PatternType.LITERAL, PatternType.PREFIXED]),
    st.sampled_from(NAMES),
    st.sampled_from(USERS),
    st.sampled_from(HOSTS),
    st.sampled_from([*OPERATIONS, Operation.ALL]),
    st.sampled_from([Permission.ALLOW, Permission.DENY]),
)
questions = st.tuples(
    st.sampled_from(USERS[:2]),
    st.sampled_from(HOSTS[:2]),
    st.sampled_from(OPERATIONS),
    st.sampled_from([ResourceType.TOPIC, ResourceType.GROUP]),
    st.sampled_from(["a", "ab", "abc", "abcd", "b", "c"]),
)
INCLUDES = {
    Operation.DESCRIBE: {Operation.READ, Operation.WRITE, Operation.DELETE, Operation.ALTER},
    Operation.DESCRIBE_CONFIGS: {Operation.ALTER_CONFIGS},
}


def by_the_book(
    rules: list[Acl], user: str, host: str, operation: Operation, kind: ResourceType, name: str, open_if_none: bool
) -> bool:
    """Kafka's documentation, sentence by sentence."""
    about = [one for one in rules if one.resource is kind and covers(one, name)]
    mine = [one for one in about if one.principal in (user, "User:*") and one.host in (host, "*")]
    exactly = [one for one in mine if one.operation in (operation, Operation.ALL)]
    if any(one.permission is Permission.DENY for one in exactly):
        return False
    if any(one.permission is Permission.ALLOW for one in exactly):
        return True
    if any(one.permission is Permission.ALLOW and one.operation in INCLUDES.get(operation, ()) for one in mine):
        return True
    return open_if_none and not about


def covers(one: Acl, name: str) -> bool:
    if one.pattern is PatternType.PREFIXED:
        return name.startswith(one.name)
    return one.name in (name, "*")


@given(st.lists(acls, max_size=8), questions, st.booleans())
def test_decisions_are_those_of_the_book(
    rules: list[Acl], question: tuple[str, str, Operation, ResourceType, str], open_if_none: bool
) -> None:
    stored = Acls()
    for one in rules:
        stored.add(one)
    allowed, rule = AclAuthorizer(stored, allow_if_none=open_if_none).decide(*question)
    assert allowed == by_the_book(rules, *question, open_if_none), rule


@given(st.lists(acls, max_size=8), st.lists(acls, max_size=8), questions)
def test_what_is_removed_is_as_if_it_had_never_been(
    rules: list[Acl], gone: list[Acl], question: tuple[str, str, Operation, ResourceType, str]
) -> None:
    stored = Acls()
    for one in [*rules, *gone]:
        stored.add(one)
    for one in gone:
        stored.remove(one)
    left = [one for one in rules if one not in gone]
    assert set(stored) == set(left)
    assert AclAuthorizer(stored).decide(*question)[0] == by_the_book(left, *question, False)


@given(st.lists(acls, max_size=8), st.sampled_from(NAMES), st.sampled_from(USERS[:2]))
def test_a_match_filter_finds_just_the_acls_that_can_decide(rules: list[Acl], name: str, user: str) -> None:
    wanted = AclFilter(ResourceType.TOPIC, PatternType.MATCH, name, None, None, Operation.ANY, Permission.ANY)
    found = {one for one in rules if wanted.matches(one)}
    assert found == {one for one in rules if one.resource is ResourceType.TOPIC and covers(one, name)}


@dataclass
class Asking:
    """As much of a call as the authorizer looks at."""

    principal: str = "User:ann"
    client_host: str = "1.1.1.1"


@given(st.lists(acls, max_size=6))
def test_some_resource_can_be_written_only_if_one_can_be_found(rules: list[Acl]) -> None:
    """Were `allows_some` wrong in saying no, a producer could write to a topic, and not become idempotent."""
    stored = Acls()
    for one in rules:
        stored.add(one)
    names = ["a", "ab", "abc", "b", "a-", "ab-", "abc-", "b-", "*-"]
    by_trying = any(
        by_the_book(rules, "User:ann", "1.1.1.1", Operation.WRITE, ResourceType.TOPIC, n, False) for n in names
    )
    asking = Asking()
    said = AclAuthorizer(stored).allows_some(_Logged(asking), Operation.WRITE, ResourceType.TOPIC)  # type: ignore[arg-type]
    if by_trying:
        assert said


class _Logged(Asking):
    """The audit log wants to know more."""

    def __init__(self, asking: Asking) -> None:
        super().__init__(asking.principal, asking.client_host)
        self.api = type("Api", (), {"name": "InitProducerId"})
        self.version = 0
        self.client_id = None


@pytest.mark.parametrize("written", ["::1", "0:0:0:0:0:0:0:1", "*"])
def test_an_ipv6_address_is_known_in_pythons_form_and_in_javas(written: str) -> None:
    stored = Acls()
    stored.add(Acl(ResourceType.TOPIC, PatternType.LITERAL, "t", "User:ann", written, Operation.READ, Permission.ALLOW))
    decide = AclAuthorizer(stored).decide
    assert decide("User:ann", "::1", Operation.READ, ResourceType.TOPIC, "t")[0]
    assert decide("User:ann", "fe80::1%eth0", Operation.READ, ResourceType.TOPIC, "t")[0] == (written == "*")


# --- creating topics by asking for them ---


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    properties = {
        "listeners": "OPEN://127.0.0.1:0",
        "listener.security.protocol.map": "OPEN:PLAINTEXT",
        "authorizer.class.name": "x.StandardAuthorizer",
    }
    # Nobody can be let in from outside before there are ACLs: they are written as at an earlier start.
    with RunningBroker(tmp_path / "data", security=read_security(properties)) as running:
        yield running


def grant(broker: RunningBroker, *wanted: Acl) -> None:
    done: list[bool] = []

    def write() -> None:
        broker.server.broker.catalog.security.write(*(["acl", *one.to_json()] for one in wanted))
        broker.server.broker.authorizer.changed()
        done.append(True)

    broker.server.loop.post(write)
    client = broker.connect()
    while not done:
        client.ask("ApiVersions", 0)
    client.close()


def anonymous(operation: Operation, kind: ResourceType, name: str) -> Acl:
    return Acl(kind, PatternType.LITERAL, name, "User:ANONYMOUS", "*", operation, Permission.ALLOW)


def asked_for(client: Client, name: str) -> int:
    code: int = client.ask("Metadata", 9, topics=[{"name": name}], allow_auto_topic_creation=True)["topics"][0][
        "error_code"
    ]
    return code


def test_a_topic_is_created_by_asking_only_for_who_may_create_it(broker: RunningBroker) -> None:
    client = broker.connect()
    grant(broker, anonymous(Operation.DESCRIBE, ResourceType.TOPIC, "new"))
    assert asked_for(client, "new") == 29
    assert (
        client.ask("Metadata", 9, topics=[{"name": "new"}], allow_auto_topic_creation=False)["topics"][0]["error_code"]
        == 3
    )
    grant(broker, anonymous(Operation.CREATE, ResourceType.TOPIC, "new"))
    assert asked_for(client, "new") == 0
    assert asked_for(client, "other") == 29


def test_the_oldest_request_for_no_topics_means_all_and_shows_none_that_are_denied(broker: RunningBroker) -> None:
    client = broker.connect()
    grant(broker, *(anonymous(op, ResourceType.TOPIC, "mine") for op in (Operation.CREATE, Operation.DESCRIBE)))
    assert asked_for(client, "mine") == 0
    grant(broker, anonymous(Operation.CREATE, ResourceType.CLUSTER, "kafka-cluster"))
    client.create("theirs")
    assert [one["name"] for one in client.ask("Metadata", 0, topics=[])["topics"]] == ["mine"]
    assert [
        (one["name"], one["error_code"]) for one in client.ask("Metadata", 0, topics=[{"name": "theirs"}])["topics"]
    ] == [("theirs", 29)]


def test_what_no_acl_covers_can_be_left_open(tmp_path: Path) -> None:
    properties = {
        "listeners": "PLAINTEXT://127.0.0.1:0",
        "authorizer.class.name": "x.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with RunningBroker(tmp_path / "data", security=read_security(properties)) as broker:
        client = broker.connect()
        client.create("t")
        assert client.fetch("t", 0)["error_code"] == 0
        one = acl("ann", "read", "topic", "t")
        assert client.ask("CreateAcls", 3, creations=[one])["results"][0]["error_code"] == 0
        assert client.fetch("t", 0)["error_code"] == 29, "now there is an ACL, and it is not for us"
