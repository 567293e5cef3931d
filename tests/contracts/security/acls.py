"""ACLs for tests, made by the admin API over the open listener."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.contracts.clients import wait_until

if TYPE_CHECKING:
    from tests.broker.running import Client
    from tests.contracts.security.secured import World

OPERATIONS = {
    "all": 2, "read": 3, "write": 4, "create": 5, "delete": 6, "alter": 7, "describe": 8, "cluster_action": 9,
    "describe_configs": 10, "alter_configs": 11, "idempotent_write": 12,
}  # fmt: skip
TYPES = {"topic": 2, "group": 3, "cluster": 4, "transactional_id": 5}
LITERAL, PREFIXED = 3, 4
DENY, ALLOW = 2, 3
CLUSTER = "kafka-cluster"


def acl(
    user: str,
    operation: str,
    kind: str,
    name: str = CLUSTER,
    *,
    deny: bool = False,
    prefixed: bool = False,
    host: str = "*",
) -> dict[str, Any]:
    """One ACL as CreateAcls takes it; `user` without its `User:`."""
    return {
        "resource_type": TYPES[kind],
        "resource_name": name,
        "resource_pattern_type": PREFIXED if prefixed else LITERAL,
        "principal": f"User:{user}",
        "host": host,
        "operation": OPERATIONS[operation],
        "permission_type": DENY if deny else ALLOW,
    }


def grant(world: World, *acls: dict[str, Any]) -> None:
    """Makes ACLs. They hold when this returns: Apache Kafka's broker learns of them a moment after its controller."""
    client = world.connect()
    answer = client.ask("CreateAcls", 3, creations=list(acls))
    assert all(result["error_code"] == 0 for result in answer["results"]), answer
    for one in acls:
        wait_until(lambda one=one: find(client, one), what=f"{one} is in force")
    client.close()


def find(client: Client, one: dict[str, Any]) -> list[Any]:
    """What DescribeAcls finds of exactly this ACL."""
    answer = client.ask("DescribeAcls", 3, **filter_of(one))
    assert answer["error_code"] == 0
    found: list[Any] = answer["resources"]
    return found


def filter_of(one: dict[str, Any]) -> dict[str, Any]:
    """The filter that finds exactly this ACL."""
    return {
        "resource_type_filter": one["resource_type"],
        "resource_name_filter": one["resource_name"],
        "pattern_type_filter": one["resource_pattern_type"],
        "principal_filter": one["principal"],
        "host_filter": one["host"],
        "operation": one["operation"],
        "permission_type": one["permission_type"],
    }


def revoke(world: World, *acls: dict[str, Any]) -> None:
    client = world.connect()
    client.ask("DeleteAcls", 3, filters=[filter_of(one) for one in acls])
    for one in acls:
        wait_until(lambda one=one: not find(client, one), what=f"{one} is gone")
    client.close()


def log_in(world: World, user: str, password: str | None = None) -> Client:
    """A raw connection, authenticated by PLAIN."""
    from tests.contracts.security.secured import PLAIN_USERS

    client = world.connect("SASL")
    client.ask("SaslHandshake", 1, mechanism="PLAIN")
    said = f"\0{user}\0{password or PLAIN_USERS[user]}".encode()
    assert client.ask("SaslAuthenticate", 2, auth_bytes=said)["error_code"] == 0
    return client
