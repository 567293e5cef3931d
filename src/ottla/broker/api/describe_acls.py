"""DescribeAcls (29), versions 1 to 3: the ACLs a filter matches, by resource pattern.

Needs DESCRIBE on the cluster (CLUSTER_AUTHORIZATION_FAILED). Errors: SECURITY_DISABLED without an authorizer,
INVALID_REQUEST for a filter that holds something unknown.
"""

from __future__ import annotations

from ottla.broker.api.acl_bindings import CLUSTER_DENIED, NO_AUTHORIZER, Invalid, entry, filter_from, pattern, refusal
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.security.resources import Operation
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.describe_acls import DESCRIBE_ACLS
from ottla.broker.wire.schema import Message

API = DESCRIBE_ACLS


def handle(broker: Broker, call: Call) -> Message:
    if not broker.authorizer.allows_cluster(call, Operation.DESCRIBE):
        return {"error_code": ErrorCode.CLUSTER_AUTHORIZATION_FAILED, "error_message": CLUSTER_DENIED}
    if not broker.authorizer.configured:
        return {"error_code": ErrorCode.SECURITY_DISABLED, "error_message": f"{NO_AUTHORIZER[:-1]} on the broker"}
    try:
        wanted = filter_from(call.body)
    except Invalid as error:
        return refusal(error)
    resources: dict[tuple[int, int, str], Message] = {}
    for acl in broker.catalog.security.acls:
        if wanted.matches(acl):
            key = (acl.resource, acl.pattern, acl.name)
            resources.setdefault(key, {**pattern(acl), "acls": []})["acls"].append(entry(acl))
    return {"error_code": ErrorCode.NONE, "resources": list(resources.values())}
