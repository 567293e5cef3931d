"""CreateAcls (30), versions 1 to 3: adds access control lists; one that is there already is added silently.

Needs ALTER on the cluster (CLUSTER_AUTHORIZATION_FAILED for each). Answered once durable. Errors: SECURITY_DISABLED
without an authorizer, INVALID_REQUEST for what cannot be an ACL.
"""

from __future__ import annotations

from ottla.broker.api.acl_bindings import CLUSTER_DENIED, NO_AUTHORIZER, Invalid, acl_from, refusal
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.security.acls import Acl
from ottla.broker.security.resources import Operation
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.create_acls import CREATE_ACLS
from ottla.broker.wire.schema import Message

API = CREATE_ACLS


def handle(broker: Broker, call: Call) -> Message | None:
    creations = call.body["creations"]
    denied: Message | None = None
    if not broker.authorizer.allows_cluster(call, Operation.ALTER):
        denied = {"error_code": ErrorCode.CLUSTER_AUTHORIZATION_FAILED, "error_message": CLUSTER_DENIED}
    elif not broker.authorizer.configured:
        denied = {"error_code": ErrorCode.SECURITY_DISABLED, "error_message": NO_AUTHORIZER}
    if denied is not None:
        return {"results": [denied for _ in creations]}
    results: list[Message] = []
    new: dict[Acl, None] = {}
    for wanted in creations:
        try:
            acl = acl_from(wanted)
        except Invalid as error:
            results.append(refusal(error))
            continue
        if acl not in broker.catalog.security.acls:
            new[acl] = None
        results.append({"error_code": ErrorCode.NONE})
    broker.catalog.security.write(*(["acl", *acl.to_json()] for acl in new))
    broker.authorizer.changed()
    broker.durable(broker.catalog.journal, lambda: call.reply({"results": results}))
    return None
