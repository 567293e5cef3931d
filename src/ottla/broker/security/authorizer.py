"""Who may do what: Kafka's StandardAuthorizer (KIP-801).

A super user may do everything. Otherwise the ACLs decide whose pattern covers the resource: one that denies wins; one
that allows is enough, and allowing READ, WRITE, DELETE or ALTER allows DESCRIBE too, ALTER_CONFIGS also
DESCRIBE_CONFIGS. If no ACL covers the resource, `allow.everyone.if.no.acl.found` decides; if some do, but none of them
allows this, the answer is no.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ottla.broker.security import audit
from ottla.broker.security.acls import EVERYBODY, WILDCARD, Acl, Acls
from ottla.broker.security.resources import (
    CLUSTER_NAME,
    IMPLIED_BY,
    OPERATIONS,
    Operation,
    PatternType,
    Permission,
    ResourceType,
    bits,
)

if TYPE_CHECKING:
    from ottla.broker.connection import Call

REMEMBERED_MAX = 20_000
REMEMBERED_NAME_MAX = 256  # longer names are the clients' inventions, and must not fill the memory
NO_OPERATIONS = 0
_NO_IMPLICATION: frozenset[Operation] = frozenset()
_ALL_BITS = {kind: bits(operations) for kind, operations in OPERATIONS.items()}


class Authorizer:
    """Allows everything: what the broker has when no authorizer is configured."""

    configured = False

    def changed(self) -> None:
        """To be called after every change of the ACLs."""

    def allows(
        self, call: Call, operation: Operation, resource: ResourceType, name: str, *, quiet: bool = False
    ) -> bool:
        """Whether the client of `call` may do `operation` to a resource.

        Args:
            call: The request: its principal and host count, and the audit log names it.
            operation: What is to be done.
            resource: The kind of resource.
            name: Its name.
            quiet: The question only filters a list: a "no" does not belong into the audit log.
        """
        return True

    def allows_cluster(self, call: Call, operation: Operation, *, quiet: bool = False) -> bool:
        """Whether the client of `call` may do `operation` to the cluster itself."""
        return True

    def allows_some(self, call: Call, operation: Operation, resource: ResourceType) -> bool:
        """Whether there can be any resource of this kind to which the client may do `operation`."""
        return True

    def operations(self, call: Call, resource: ResourceType, name: str) -> int:
        """What the client may do to a resource, as the bit field `authorized_operations`."""
        return _ALL_BITS[resource]


class AclAuthorizer(Authorizer):
    """Decides by ACLs.

    Args:
        acls: The ACLs; whoever changes them calls `changed`.
        super_users: Principals that may do everything.
        allow_if_none: Whether a resource that no ACL covers is open to all.
    """

    configured = True

    def __init__(self, acls: Acls, super_users: frozenset[str] = frozenset(), *, allow_if_none: bool = False) -> None:
        self.acls = acls
        self._super_users = super_users
        self._allow_if_none = allow_if_none
        # Decisions are asked for again and again, by every produce and fetch; ACLs change rarely.
        self._remembered: dict[tuple[str, str, Operation, ResourceType, str], tuple[bool, str]] = {}

    def changed(self) -> None:
        self._remembered.clear()

    def allows(
        self, call: Call, operation: Operation, resource: ResourceType, name: str, *, quiet: bool = False
    ) -> bool:
        key = (call.principal, call.client_host, operation, resource, name)
        known = self._remembered.get(key)
        if known is None:
            known = self.decide(*key)
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            if len(name) <= REMEMBERED_NAME_MAX:
                self._remembered[key] = known
        allowed, rule = known
        if (not allowed and not quiet) or (allowed and audit.logger.isEnabledFor(logging.DEBUG)):
            audit.decided(call, allowed, operation, resource, name, rule)
        return allowed

    def allows_cluster(self, call: Call, operation: Operation, *, quiet: bool = False) -> bool:
        return self.allows(call, operation, ResourceType.CLUSTER, CLUSTER_NAME, quiet=quiet)

    def decide(
        self, principal: str, host: str, operation: Operation, resource: ResourceType, name: str
    ) -> tuple[bool, str]:
        """The decision and the rule behind it, in words."""
        if principal in self._super_users:
            return True, "super.users"
        covered = False
        hosts = _forms(host)
        allowing: Acl | None = None
        for acl in self.acls.about(resource, name):
            covered = True
            if not _concerns(acl, principal, hosts):
                continue
            if acl.permission is Permission.DENY:
                if acl.operation in (Operation.ALL, operation):
                    return False, _in_words(acl)
            elif allowing is None and _allows(acl, operation):
                allowing = acl
        if allowing is not None:
            return True, _in_words(allowing)
        if covered:
            return False, "no ACL allows it"
        return self._allow_if_none, "no ACL covers the resource"

    def allows_some(self, call: Call, operation: Operation, resource: ResourceType) -> bool:
        """As Kafka's authorizeByResourceType: is there an ALLOW that no DENY takes back as a whole?"""
        principal, hosts = call.principal, _forms(call.client_host)
        if principal in self._super_users:
            return True
        mine = [acl for acl in self.acls.of_type(resource) if _concerns(acl, principal, hosts)]
        denying = [a for a in mine if a.permission is Permission.DENY and a.operation in (Operation.ALL, operation)]
        allowing = [a for a in mine if a.permission is Permission.ALLOW and _allows(a, operation)]
        if any(_is_for_all(acl) for acl in denying):
            allowed = False
        elif self._allow_if_none:
            allowed = True
        else:
            allowed = any(not any(_covers(denied, acl) for denied in denying) for acl in allowing)
        audit.decided(call, allowed, operation, resource, WILDCARD, "any resource of the kind")
        return allowed

    def operations(self, call: Call, resource: ResourceType, name: str) -> int:
        return bits(op for op in OPERATIONS[resource] if self.allows(call, op, resource, name, quiet=True))


def _forms(host: str) -> tuple[str, ...]:
    """What an ACL may call this host: a star, its address, and an IPv6 address also as Java writes it (0:0:...:1)."""
    if ":" not in host:
        return (host, WILDCARD)
    from ipaddress import ip_address

    groups = ip_address(host.partition("%")[0]).exploded.split(":")
    return (host, WILDCARD, ":".join(f"{int(group, 16):x}" for group in groups))


def _concerns(acl: Acl, principal: str, hosts: tuple[str, ...]) -> bool:
    return acl.principal in (principal, EVERYBODY) and acl.host in hosts


def _allows(acl: Acl, operation: Operation) -> bool:
    return acl.operation in (Operation.ALL, operation) or acl.operation in IMPLIED_BY.get(operation, _NO_IMPLICATION)


def _is_for_all(acl: Acl) -> bool:
    return acl.pattern is PatternType.LITERAL and acl.name == WILDCARD


def _covers(denied: Acl, allowed: Acl) -> bool:
    """Whether nothing is left of what `allowed` opens, since `denied` closes all of it."""
    if _is_for_all(denied):
        return True
    if _is_for_all(allowed):
        return False
    if denied.pattern is PatternType.PREFIXED:
        return allowed.name.startswith(denied.name)
    return allowed.pattern is PatternType.LITERAL and allowed.name == denied.name


def _in_words(acl: Acl) -> str:
    return (
        f"{acl.permission.name} {acl.operation.name} for {acl.principal} from {acl.host} "
        f"on {acl.resource.name}:{acl.pattern.name}:{acl.name}"
    )
