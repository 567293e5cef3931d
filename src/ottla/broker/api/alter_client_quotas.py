"""AlterClientQuotas (49), versions 0 and 1: sets and removes quotas; they hold at once, and are answered once durable.

Keys of users and client ids: producer_byte_rate, consumer_byte_rate, request_percentage, and controller_mutation_rate;
of IP addresses connection_creation_rate. Errors, per entity: INVALID_REQUEST for what cannot be an entity, a key or a
value.
"""

from __future__ import annotations

import re

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.security.store import Entity, Entry
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.alter_client_quotas import ALTER_CLIENT_QUOTAS
from ottla.broker.wire.schema import Message

API = ALTER_CLIENT_QUOTAS
INT_MAX, LONG_MAX = 2**31 - 1, 2**63 - 1
# The largest value of each key, and None where fractions are allowed.
CLIENT_KEYS: dict[str, int | None] = {
    "producer_byte_rate": LONG_MAX,
    "consumer_byte_rate": LONG_MAX,
    "request_percentage": None,
    "controller_mutation_rate": None,
}
IP_KEYS: dict[str, int | None] = {"connection_creation_rate": INT_MAX}
_ADDRESS = re.compile(r"localhost|\d{1,3}(\.\d{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


class _Invalid(ValueError):
    """What an entry asks for cannot be done."""


def handle(broker: Broker, call: Call) -> Message | None:
    store = broker.catalog.security
    answers: list[Message] = []
    changes: list[Entry] = []
    for entry in call.body["entries"]:
        answer: Message = {"error_code": ErrorCode.NONE, "entity": entry["entity"]}
        try:
            entity = _entity(entry["entity"])
            wanted = _values(entity, entry["ops"])
        except _Invalid as fault:
            answer |= {"error_code": ErrorCode.INVALID_REQUEST, "error_message": str(fault)}
        else:
            present = store.quotas.get(entity, {})
            pairs = [list(pair) for pair in entity]
            changes += [["quota", pairs, key, value] for key, value in wanted.items() if present.get(key) != value]
        answers.append(answer)
    if not call.body["validate_only"]:
        store.write(*changes)
        broker.quotas.changed()
    broker.durable(broker.catalog.journal, lambda: call.reply({"entries": answers}))
    return None


def _entity(parts: list[Message]) -> Entity:
    names: dict[str, str | None] = {}
    for part in parts:
        kind, name = part["entity_type"], part["entity_name"]
        if kind not in ("user", "client-id", "ip"):
            raise _Invalid(f"Unhandled client quota entity type: {kind}")
        if kind in names:
            raise _Invalid(f"Invalid client quota entity, duplicate entity entry {kind}")
        if name == "":
            raise _Invalid(f"Empty {kind} not supported")
        names[kind] = name
    if not names:
        raise _Invalid("Invalid empty client quota entity")
    if "ip" in names:
        if len(names) > 1:
            raise _Invalid("Invalid quota entity combination, IP entity should not be combined with User or ClientId")
        if names["ip"] is not None and not _ADDRESS.fullmatch(names["ip"]):
            raise _Invalid(f"{names['ip']} is not a valid IP or resolvable host.")
    return tuple(sorted(names.items()))


def _values(entity: Entity, operations: list[Message]) -> dict[str, float | None]:
    """The quotas from now on; None removes one."""
    keys = IP_KEYS if entity[0][0] == "ip" else CLIENT_KEYS
    wanted: dict[str, float | None] = {}
    for operation in operations:
        key, value = operation["key"], operation["value"]
        if key in wanted:
            raise _Invalid(f"Duplicate quota key {key} not updating quota for this entity")
        if operation["remove"]:
            wanted[key] = None
            continue
        if key not in keys:
            raise _Invalid(f"Invalid configuration key {key}")
        if not value > 0:  # also true of what is no number
            raise _Invalid(f"Quota {key} must be greater than 0")
        largest = keys[key]
        if value == float("inf") or (largest is not None and value > largest):
            raise _Invalid(f"Proposed value for {key} is too large.")
        if largest is not None and abs(value % 1.0) > 1e-6:
            raise _Invalid(f"{key} cannot be a fractional value.")
        wanted[key] = value
    return wanted
