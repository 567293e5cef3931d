"""Contract: the APIs by which ACLs are made, described and deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.broker.running import Client
from tests.contracts.clients import wait_until
from tests.contracts.security.acls import acl, filter_of, find, grant
from tests.contracts.security.secured import World

CLUSTER_DENIED, INVALID_REQUEST = 31, 42


# --- the ACL APIs themselves ---


def test_acls_are_for_those_who_may_alter_the_cluster(world: World, client: Client, user: str) -> None:
    one = acl(user, "read", "topic", f"{user}-x")

    def codes() -> list[int]:
        return [
            client.ask("CreateAcls", 3, creations=[one])["results"][0]["error_code"],
            client.ask("DescribeAcls", 3, **filter_of(one))["error_code"],
            client.ask("DeleteAcls", 3, filters=[filter_of(one)])["filter_results"][0]["error_code"],
            client.ask("DescribeUserScramCredentials", 0, users=[])["error_code"],
            client.ask("AlterUserScramCredentials", 0, deletions=[{"name": "x", "mechanism": 1}])["results"][0][
                "error_code"
            ],
        ]

    assert codes() == [CLUSTER_DENIED] * 5
    grant(world, acl(user, "describe", "cluster"))
    assert codes() == [CLUSTER_DENIED, 0, CLUSTER_DENIED, 0, CLUSTER_DENIED]
    grant(world, acl(user, "alter", "cluster"))
    assert codes() == [0, 0, 0, 0, 91]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_acl_is_described_as_it_was_made(world: World, user: str, version: int) -> None:
    client = world.connect()
    one = acl(user, "read", "topic", f"{user}-x", prefixed=True, host="10.0.0.1")
    for _ in range(2):
        assert client.ask("CreateAcls", version, creations=[one])["results"][0]["error_code"] == 0, (
            "also the second time"
        )
    wait_until(lambda: find(client, one), what="the ACL is in force")
    (resource,) = client.ask("DescribeAcls", version, **filter_of(one))["resources"]
    assert (resource["resource_type"], resource["resource_name"], resource["pattern_type"]) == (2, f"{user}-x", 4)
    (found,) = resource["acls"]
    assert found == {"principal": f"User:{user}", "host": "10.0.0.1", "operation": 3, "permission_type": 3}
    (result,) = client.ask("DeleteAcls", version, filters=[filter_of(one)])["filter_results"]
    (gone,) = result["matching_acls"]
    assert (gone["principal"], gone["pattern_type"], gone["error_code"]) == (f"User:{user}", 4, 0)


@pytest.mark.parametrize(
    "change",
    [{"resource_name": ""}, {"resource_type": 4}, {"operation": 1}, {"permission_type": 1},
     {"resource_pattern_type": 2}, {"resource_type": 1}, {"principal": "nobody"}],
    ids=["no name", "a cluster's name", "any operation", "any permission", "pattern match", "any type",
         "no kind of principal"],
)  # fmt: skip
def test_what_cannot_be_an_acl_is_refused(world: World, user: str, change: dict[str, Any]) -> None:
    one = acl(user, "read", "topic", f"{user}-x") | change
    (result,) = world.connect().ask("CreateAcls", 3, creations=[one])["results"]
    # Apache Kafka refuses most of these in the constructors of its classes, as UNKNOWN_SERVER_ERROR.
    assert result["error_code"] in (INVALID_REQUEST, -1)


def test_good_and_bad_acls_of_a_request_are_answered_one_by_one(world: World, user: str) -> None:
    wanted = [acl(user, "read", "topic", f"{user}-x"), acl(user, "read", "topic", "")]
    answer = world.connect().ask("CreateAcls", 3, creations=wanted)
    assert [result["error_code"] for result in answer["results"]] == [0, INVALID_REQUEST]


def test_a_match_filter_finds_all_that_concern_a_resource(world: World, user: str) -> None:
    client = world.connect()
    ours = [
        acl(user, "read", "topic", f"{user}-topic"),
        acl(user, "read", "topic", user, prefixed=True),
        acl(user, "read", "topic", "*"),
        acl(user, "read", "topic", f"{user}-other"),
        acl(user, "read", "group", f"{user}-topic"),
    ]
    grant(world, *ours)
    every = {"principal_filter": f"User:{user}", "operation": 1, "permission_type": 1}

    def names(kind: int, pattern: int, name: str | None) -> set[tuple[int, str]]:
        answer = client.ask(
            "DescribeAcls",
            3,
            resource_type_filter=kind,
            pattern_type_filter=pattern,
            resource_name_filter=name,
            **every,
        )
        return {(one["pattern_type"], one["resource_name"]) for one in answer["resources"]}

    assert names(2, 2, f"{user}-topic") == {(3, f"{user}-topic"), (4, user), (3, "*")}
    assert names(2, 3, f"{user}-topic") == {(3, f"{user}-topic")}
    assert names(2, 1, user) == {(4, user)}
    assert names(2, 4, None) == {(4, user)}
    assert len(names(1, 1, None)) == 4, "the topic and the group of one name are two resources"
    deleted = client.ask("DeleteAcls", 3, filters=[{"resource_type_filter": 1, "pattern_type_filter": 1, **every}])
    assert len(deleted["filter_results"][0]["matching_acls"]) == len(ours)
