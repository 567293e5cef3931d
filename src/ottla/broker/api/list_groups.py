"""ListGroups (16), versions 0 to 5: all groups, or those of some states (version 4) and types (5)."""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.consumer.group import ConsumerGroup
from ottla.broker.groups.group import Group
from ottla.broker.wire.messages.list_groups import LIST_GROUPS
from ottla.broker.wire.schema import Message

API = LIST_GROUPS
CLASSIC, CONSUMER = "classic", "consumer"


def kind_of(group: Group | ConsumerGroup) -> str:
    return CONSUMER if isinstance(group, ConsumerGroup) else CLASSIC


def handle(broker: Broker, call: Call) -> Message:
    states = {state.lower() for state in call.body["states_filter"]}
    types = {kind.lower() for kind in call.body["types_filter"]}
    groups = [
        {
            "group_id": group.name,
            "protocol_type": group.protocol_type or "",
            "group_state": group.state,
            "group_type": kind_of(group),
        }
        for group in broker.coordinator.groups.values()
        if (not states or group.state.lower() in states) and (not types or kind_of(group) in types)
    ]
    return {"groups": groups}
