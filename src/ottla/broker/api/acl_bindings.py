"""What the three ACL APIs share: who may use them, and how ACLs and filters look on the wire."""

from __future__ import annotations

import re
from typing import TypeVar

from ottla.broker.security.acls import Acl, AclFilter
from ottla.broker.security.resources import CLUSTER_NAME, Operation, PatternType, Permission, ResourceType
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

E = TypeVar("E", ResourceType, PatternType, Operation, Permission)

CLUSTER_DENIED = "Cluster authorization failed."
NO_AUTHORIZER = "No Authorizer is configured."
_PRINCIPAL = re.compile(r"[^:]+:.+", re.DOTALL)


class Invalid(ValueError):
    """An ACL or a filter that Kafka answers with INVALID_REQUEST."""


def acl_from(wanted: Message) -> Acl:
    """The ACL that a creation asks for. Raises Invalid."""
    resource, pattern = (
        _member(ResourceType, wanted["resource_type"]),
        _member(PatternType, wanted["resource_pattern_type"]),
    )
    operation, permission = _member(Operation, wanted["operation"]), _member(Permission, wanted["permission_type"])
    name = wanted["resource_name"]
    if resource is ResourceType.CLUSTER and name != CLUSTER_NAME:
        raise Invalid(f"The only valid name for the CLUSTER resource is {CLUSTER_NAME}")
    if not name:
        raise Invalid("Invalid empty resource name")
    if resource in (ResourceType.UNKNOWN, ResourceType.ANY):
        raise Invalid(f"Invalid resourceType {resource.name}")
    if pattern not in (PatternType.LITERAL, PatternType.PREFIXED):
        raise Invalid(f"Invalid patternType {pattern.name}")
    if operation in (Operation.UNKNOWN, Operation.ANY):
        raise Invalid(f"Invalid operation {operation.name}")
    if permission not in (Permission.DENY, Permission.ALLOW):
        raise Invalid(f"Invalid permissionType {permission.name}")
    if not _PRINCIPAL.fullmatch(wanted["principal"]):
        raise Invalid(
            f"Could not parse principal from `{wanted['principal']}` (no colon is present separating the principal "
            f"type from the principal name)"
        )
    return Acl(resource, pattern, name, wanted["principal"], wanted["host"], operation, permission)


def filter_from(wanted: Message) -> AclFilter:
    """The filter of a description or deletion. Raises Invalid."""
    found = AclFilter(
        _member(ResourceType, wanted["resource_type_filter"]),
        _member(PatternType, wanted["pattern_type_filter"]),
        wanted["resource_name_filter"],
        wanted["principal_filter"],
        wanted["host_filter"],
        _member(Operation, wanted["operation"]),
        _member(Permission, wanted["permission_type"]),
    )
    if not found.resource or not found.pattern or not found.operation or not found.permission:
        raise Invalid("Unknown patternFilter or entryFilter: an element is not known here.")
    return found


def entry(acl: Acl) -> Message:
    """The part of an ACL that says who and what."""
    return {
        "principal": acl.principal,
        "host": acl.host,
        "operation": acl.operation,
        "permission_type": acl.permission,
    }


def pattern(acl: Acl) -> Message:
    """The part of an ACL that says about which resources."""
    return {"resource_type": acl.resource, "resource_name": acl.name, "pattern_type": acl.pattern}


def refusal(error: Invalid) -> Message:
    return {"error_code": ErrorCode.INVALID_REQUEST, "error_message": str(error)}


def _member(kind: type[E], code: int) -> E:
    try:
        return kind(code)
    except ValueError:
        return kind(0)
