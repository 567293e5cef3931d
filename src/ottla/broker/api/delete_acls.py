"""DeleteAcls (31), versions 1 to 3: removes the ACLs that each filter matches, and says which those were.

Needs ALTER on the cluster (CLUSTER_AUTHORIZATION_FAILED for each filter). Answered once durable. Errors:
SECURITY_DISABLED without an authorizer, INVALID_REQUEST for a filter that holds something unknown.
"""

from __future__ import annotations

from ottla.broker.api.acl_bindings import CLUSTER_DENIED, NO_AUTHORIZER, Invalid, entry, filter_from, pattern, refusal
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.security.acls import Acl
from ottla.broker.security.resources import Operation
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.delete_acls import DELETE_ACLS
from ottla.broker.wire.schema import Message

API = DELETE_ACLS


def handle(broker: Broker, call: Call) -> Message | None:
    filters = call.body["filters"]
    denied: Message | None = None
    if not broker.authorizer.allows_cluster(call, Operation.ALTER):
        denied = {"error_code": ErrorCode.CLUSTER_AUTHORIZATION_FAILED, "error_message": CLUSTER_DENIED}
    elif not broker.authorizer.configured:
        denied = {"error_code": ErrorCode.SECURITY_DISABLED, "error_message": NO_AUTHORIZER}
    if denied is not None:
        return {"filter_results": [denied for _ in filters]}
    acls = broker.catalog.security.acls
    results: list[Message] = []
    gone: dict[Acl, None] = {}
    for one in filters:
        try:
            wanted = filter_from(one)
        except Invalid as error:
            results.append(refusal(error))
            continue
        matching = [acl for acl in acls if wanted.matches(acl)]
        gone |= dict.fromkeys(matching)
        answers = [{"error_code": ErrorCode.NONE, **pattern(acl), **entry(acl)} for acl in matching]
        results.append({"error_code": ErrorCode.NONE, "matching_acls": answers})
    broker.catalog.security.write(*(["no-acl", *acl.to_json()] for acl in gone))
    broker.authorizer.changed()
    broker.durable(broker.catalog.journal, lambda: call.reply({"filter_results": results}))
    return None
