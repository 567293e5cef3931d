"""DescribeUserScramCredentials (50), version 0: which SCRAM mechanisms users have, and with how many iterations.

Never what is kept of a password. Needs DESCRIBE on the cluster (CLUSTER_AUTHORIZATION_FAILED). No users named means
all. Errors, per user: RESOURCE_NOT_FOUND, DUPLICATE_RESOURCE (named twice).
"""

from __future__ import annotations

from collections import Counter

from ottla.broker.api.acl_bindings import CLUSTER_DENIED
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.security.resources import Operation
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.describe_user_scram_credentials import DESCRIBE_USER_SCRAM_CREDENTIALS
from ottla.broker.wire.schema import Message

API = DESCRIBE_USER_SCRAM_CREDENTIALS


def handle(broker: Broker, call: Call) -> Message:
    if not broker.authorizer.allows_cluster(call, Operation.DESCRIBE):
        return {"error_code": ErrorCode.CLUSTER_AUTHORIZATION_FAILED, "error_message": CLUSTER_DENIED}
    users: dict[str, list[Message]] = {}
    for (name, mechanism), credential in sorted(broker.catalog.security.credentials.items(), key=lambda pair: pair[0]):
        users.setdefault(name, []).append({"mechanism": mechanism, "iterations": credential.iterations})
    named = Counter(wanted["name"] for wanted in call.body["users"] or ())
    results = [_describe(name, named[name], users.get(name)) for name in named or users]
    return {"error_code": ErrorCode.NONE, "results": results}


def _describe(name: str, times: int, infos: list[Message] | None) -> Message:
    if times > 1:
        message = f"Cannot describe SCRAM credentials for the same user twice in a single request: {name}"
        return {"user": name, "error_code": ErrorCode.DUPLICATE_RESOURCE, "error_message": message}
    if infos is None:
        message = f"Attempt to describe a user credential that does not exist: {name}"
        return {"user": name, "error_code": ErrorCode.RESOURCE_NOT_FOUND, "error_message": message}
    return {"user": name, "error_code": ErrorCode.NONE, "credential_infos": infos}
