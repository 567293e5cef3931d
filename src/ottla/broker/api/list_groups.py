"""ListGroups (16), versions 0 to 5: all groups, or those of some states (version 4) and types (5). All are classic."""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.messages.list_groups import LIST_GROUPS
from ottla.broker.wire.schema import Message

API = LIST_GROUPS
CLASSIC = "classic"


def handle(broker: Broker, call: Call) -> Message:
    states = {state.lower() for state in call.body["states_filter"]}
    types = {kind.lower() for kind in call.body["types_filter"]}
    groups = [
        {
            "group_id": group.name,
            "protocol_type": group.protocol_type or "",
            "group_state": group.state,
            "group_type": CLASSIC,
        }
        for group in broker.coordinator.groups.values()
        if (not states or group.state.lower() in states) and (not types or CLASSIC in types)
    ]
    return {"groups": groups}
