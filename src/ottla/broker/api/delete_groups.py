"""DeleteGroups (42), versions 0 to 2: deletes empty groups with their offsets.

Errors: GROUP_ID_NOT_FOUND (also for an empty name), NON_EMPTY_GROUP.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.delete_groups import DELETE_GROUPS
from ottla.broker.wire.schema import Message

API = DELETE_GROUPS


def handle(broker: Broker, call: Call) -> None:
    results = [{"group_id": name, "error_code": _delete(broker, name)} for name in call.body["groups_names"]]
    broker.coordinator.flush(lambda: call.reply({"results": results}))


def _delete(broker: Broker, name: str) -> ErrorCode:
    return broker.coordinator.delete_group(name)


__all__ = ["API", "Message", "handle"]
