"""ListPartitionReassignments (46), version 0: the moves under way. One node has none; tools ask all the same."""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.messages.list_partition_reassignments import LIST_PARTITION_REASSIGNMENTS
from ottla.broker.wire.schema import Message

API = LIST_PARTITION_REASSIGNMENTS


def handle(broker: Broker, call: Call) -> Message:
    return {"topics": ()}
