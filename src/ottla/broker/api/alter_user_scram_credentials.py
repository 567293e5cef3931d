"""AlterUserScramCredentials (51), version 0: sets and removes users' SCRAM credentials.

The client sends the salted password; kept is what a client cannot log in with (see security/scram.py). Answered once
durable; connections that are open stay so. Needs ALTER on the cluster (CLUSTER_AUTHORIZATION_FAILED for each user).
Errors, per user: UNACCEPTABLE_CREDENTIAL (iterations below 4096 or above 16384, empty name),
UNSUPPORTED_SASL_MECHANISM, DUPLICATE_RESOURCE, RESOURCE_NOT_FOUND.
"""

from __future__ import annotations

from ottla.broker.api.acl_bindings import CLUSTER_DENIED
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.security.credentials import HASHES, ITERATIONS_MAX, ITERATIONS_MIN, Credential
from ottla.broker.security.resources import Operation
from ottla.broker.security.store import Entry, SecurityStore
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.alter_user_scram_credentials import ALTER_USER_SCRAM_CREDENTIALS
from ottla.broker.wire.schema import Message

API = ALTER_USER_SCRAM_CREDENTIALS
Fault = tuple[ErrorCode, str]
TWICE: Fault = (ErrorCode.DUPLICATE_RESOURCE, "A user credential cannot be altered twice in the same request")


def handle(broker: Broker, call: Call) -> Message | None:
    deletions, upsertions = call.body["deletions"], call.body["upsertions"]
    if not broker.authorizer.allows_cluster(call, Operation.ALTER):
        names = dict.fromkeys(wanted["name"] for wanted in (*deletions, *upsertions))
        denied = (ErrorCode.CLUSTER_AUTHORIZATION_FAILED, CLUSTER_DENIED)
        return {"results": [_answer(name, denied) for name in names]}
    store = broker.catalog.security
    faults: dict[str, Fault | None] = {}
    entries: dict[str, Entry] = {}
    for wanted in deletions:
        _put(wanted, _deletion_fault(store, wanted), ["no-scram", wanted["name"], wanted["mechanism"]], faults, entries)
    for wanted in upsertions:
        fault = _upsertion_fault(wanted)
        entry = [] if fault else ["scram", wanted["name"], wanted["mechanism"], _credential(wanted).to_json()]
        _put(wanted, fault, entry, faults, entries)
    store.write(*entries.values())
    reply = {"results": [_answer(name, fault) for name, fault in faults.items()]}
    broker.durable(broker.catalog.journal, lambda: call.reply(reply))
    return None


def _put(
    wanted: Message, fault: Fault | None, entry: Entry, faults: dict[str, Fault | None], entries: dict[str, Entry]
) -> None:
    """Notes a change, or why there is none; a user named twice gets neither of the two."""
    name = wanted["name"]
    if name in faults:
        entries.pop(name, None)
        faults[name] = faults[name] or TWICE
        return
    faults[name] = fault
    if fault is None:
        entries[name] = entry


def _deletion_fault(store: SecurityStore, wanted: Message) -> Fault | None:
    fault = _fault(wanted)
    if fault is None and (wanted["name"], wanted["mechanism"]) not in store.credentials:
        return ErrorCode.RESOURCE_NOT_FOUND, "Attempt to delete a user credential that does not exist"
    return fault


def _upsertion_fault(wanted: Message) -> Fault | None:
    fault = _fault(wanted)
    if fault is not None:
        return fault
    if wanted["iterations"] < ITERATIONS_MIN:
        return ErrorCode.UNACCEPTABLE_CREDENTIAL, "Too few iterations"
    if wanted["iterations"] > ITERATIONS_MAX:
        return ErrorCode.UNACCEPTABLE_CREDENTIAL, "Too many iterations"
    return None


def _fault(wanted: Message) -> Fault | None:
    if not wanted["name"]:
        return ErrorCode.UNACCEPTABLE_CREDENTIAL, "Username must not be empty"
    if wanted["mechanism"] not in HASHES:
        return ErrorCode.UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism"
    return None


def _credential(wanted: Message) -> Credential:
    salted, salt = bytes(wanted["salted_password"]), bytes(wanted["salt"])
    return Credential.from_salted_password(wanted["mechanism"], salted, salt, wanted["iterations"])


def _answer(name: str, fault: Fault | None) -> Message:
    code, message = fault or (ErrorCode.NONE, None)
    return {"user": name, "error_code": code, "error_message": message}
