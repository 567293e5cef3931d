"""Access control lists: what they say, which of them a filter means, and which of them concern a resource."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ottla.broker.security.resources import Operation, PatternType, Permission, ResourceType

WILDCARD = "*"
EVERYBODY = "User:*"


@dataclass(frozen=True, slots=True)
class Acl:
    """One permission or prohibition.

    Attributes:
        resource: The kind of resource.
        pattern: LITERAL (where the name `*` means every resource) or PREFIXED.
        name: The resource's name, or what it begins with.
        principal: `User:name`, or `User:*` for everybody.
        host: The client's address as text, or `*`.
        operation: What is allowed or denied; ALL for everything.
        permission: ALLOW or DENY.
    """

    resource: ResourceType
    pattern: PatternType
    name: str
    principal: str
    host: str
    operation: Operation
    permission: Permission

    def to_json(self) -> list[Any]:
        return [
            int(self.resource),
            int(self.pattern),
            self.name,
            self.principal,
            self.host,
            int(self.operation),
            int(self.permission),
        ]

    @classmethod
    def from_json(cls, row: list[Any]) -> Acl:
        resource, pattern, name, principal, host, operation, permission = row
        return cls(
            ResourceType(resource),
            PatternType(pattern),
            name,
            principal,
            host,
            Operation(operation),
            Permission(permission),
        )


@dataclass(frozen=True, slots=True)
class AclFilter:
    """Which ACLs are meant: None and ANY match everything; pattern MATCH finds all that concern the named resource."""

    resource: ResourceType
    pattern: PatternType
    name: str | None
    principal: str | None
    host: str | None
    operation: Operation
    permission: Permission

    def matches(self, acl: Acl) -> bool:
        return (
            self.resource in (ResourceType.ANY, acl.resource)
            and self.principal in (None, acl.principal)
            and self.host in (None, acl.host)
            and self.operation in (Operation.ANY, acl.operation)
            and self.permission in (Permission.ANY, acl.permission)
            and self._matches_pattern(acl)
        )

    def _matches_pattern(self, acl: Acl) -> bool:
        if self.pattern not in (PatternType.ANY, PatternType.MATCH, acl.pattern):
            return False
        if self.name is None or self.name == acl.name:
            return True
        if self.pattern is not PatternType.MATCH:
            return False
        if acl.pattern is PatternType.LITERAL:
            return acl.name == WILDCARD
        return self.name.startswith(acl.name)


class Acls:
    """All ACLs, found by the resource they concern."""

    def __init__(self) -> None:
        self._all: dict[Acl, None] = {}
        self._literal: dict[tuple[int, str], list[Acl]] = {}
        self._prefixed: dict[tuple[int, str], list[Acl]] = {}
        self._lengths: dict[int, tuple[int, ...]] = {}

    def __contains__(self, acl: Acl) -> bool:
        return acl in self._all

    def __iter__(self) -> Iterator[Acl]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def add(self, acl: Acl) -> None:
        if acl in self._all:
            return
        self._all[acl] = None
        self._table(acl).setdefault((acl.resource, acl.name), []).append(acl)
        self._measure(acl.resource)

    def remove(self, acl: Acl) -> None:
        if acl not in self._all:
            return
        del self._all[acl]
        table, key = self._table(acl), (acl.resource, acl.name)
        table[key].remove(acl)
        if not table[key]:
            del table[key]
        self._measure(acl.resource)

    def about(self, resource: ResourceType, name: str) -> Iterator[Acl]:
        """The ACLs whose pattern covers the resource, whoever they are for."""
        yield from self._literal.get((resource, name), ())
        if name != WILDCARD:
            yield from self._literal.get((resource, WILDCARD), ())
        for length in self._lengths.get(resource, ()):
            if length > len(name):
                break
            yield from self._prefixed.get((resource, name[:length]), ())

    def of_type(self, resource: ResourceType) -> Iterable[Acl]:
        return [acl for acl in self._all if acl.resource is resource]

    def _table(self, acl: Acl) -> dict[tuple[int, str], list[Acl]]:
        return self._prefixed if acl.pattern is PatternType.PREFIXED else self._literal

    def _measure(self, resource: ResourceType) -> None:
        """Prefixes are looked up by each length that occurs: a few look-ups, however many ACLs there are."""
        self._lengths[resource] = tuple(sorted({len(name) for kind, name in self._prefixed if kind == resource}))
