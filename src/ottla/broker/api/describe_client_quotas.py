"""DescribeClientQuotas (48), versions 0 and 1: the quotas of the entities that a filter matches.

An entity is a user, a client id, both, or an IP address; a name of null is the default for its type. Each component of
the filter names a type and wants it exact (0), the default (1) or any (2); strict wants no further types. Errors:
INVALID_REQUEST for a filter that makes no sense, UNSUPPORTED_VERSION for an unknown type.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.security.store import Entity
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.describe_client_quotas import DESCRIBE_CLIENT_QUOTAS
from ottla.broker.wire.schema import Message

API = DESCRIBE_CLIENT_QUOTAS
TYPES = ("user", "client-id", "ip")
EXACT, DEFAULT, ANY = range(3)


def handle(broker: Broker, call: Call) -> Message:
    components = call.body["components"]
    fault = _fault(components)
    if fault is not None:
        return {"error_code": fault[0], "error_message": fault[1], "entries": None}
    entries = [
        {
            "entity": [{"entity_type": kind, "entity_name": name} for kind, name in entity],
            "values": [{"key": key, "value": value} for key, value in values.items()],
        }
        for entity, values in broker.catalog.security.quotas.items()
        if _matches(dict(entity), entity, components, strict=call.body["strict"])
    ]
    return {"error_code": ErrorCode.NONE, "entries": entries}


def _fault(components: list[Message]) -> tuple[ErrorCode, str] | None:
    seen: set[str] = set()
    for component in components:
        kind, match_type, match = component["entity_type"], component["match_type"], component["match"]
        if not kind:
            return ErrorCode.INVALID_REQUEST, "Invalid empty entity type."
        if kind in seen:
            return ErrorCode.INVALID_REQUEST, f"Entity type {kind} cannot appear more than once in the filter."
        seen.add(kind)
        if kind not in TYPES:
            return ErrorCode.UNSUPPORTED_VERSION, f"Unsupported entity type {kind}"
        if match_type not in (EXACT, DEFAULT, ANY):
            return ErrorCode.INVALID_REQUEST, f"Unknown match type {match_type}"
        if (match_type == EXACT) != (match is not None):
            return ErrorCode.INVALID_REQUEST, "A match string belongs to an exact match, and to no other."
    if "ip" in seen and len(seen) > 1:
        return ErrorCode.INVALID_REQUEST, "Invalid entity filter component combination: ip beside another."
    return None


def _matches(names: dict[str, str | None], entity: Entity, components: list[Message], *, strict: bool) -> bool:
    if strict and len(entity) != len(components):
        return False
    for component in components:
        if component["entity_type"] not in names:
            return False
        name = names[component["entity_type"]]
        if component["match_type"] == EXACT and name != component["match"]:
            return False
        if component["match_type"] == DEFAULT and name is not None:
            return False
    return True
