"""ElectLeaders (43), versions 0 to 2: asks for an election, preferred (0) or unclean (1; since version 1).

There is one node, and it leads every partition for good: each partition named is answered ELECTION_NOT_NEEDED, and
where none is named (all are meant) none is listed, as in Kafka. UNKNOWN_TOPIC_OR_PARTITION for what is not there;
INVALID_REQUEST for an unknown kind of election.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.elect_leaders import ELECT_LEADERS
from ottla.broker.wire.schema import Message

API = ELECT_LEADERS
PREFERRED, UNCLEAN = 0, 1


def handle(broker: Broker, call: Call) -> Message:
    kind, wanted = call.body["election_type"], call.body["topic_partitions"]
    if wanted is None:
        return {"replica_election_results": [{"topic": name} for name in broker.catalog.topics]}
    fault = None
    if kind not in (PREFERRED, UNCLEAN):
        fault = (ErrorCode.INVALID_REQUEST, f"Unknown election type {kind}")
    results = [
        {
            "topic": one["topic"],
            "partition_result": [_result(broker, one["topic"], index, fault) for index in one["partitions"]],
        }
        for one in wanted
    ]
    return {"error_code": fault[0] if fault else ErrorCode.NONE, "replica_election_results": results}


def _result(broker: Broker, name: str, index: int, fault: tuple[ErrorCode, str] | None) -> Message:
    topic = broker.catalog.topics.get(name)
    if fault is not None:
        code, message = fault
    elif topic is None:
        code, message = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {name}"
    elif topic.partition(index) is None:
        code, message = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such partition as {name}-{index}"
    else:
        code, message = ErrorCode.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition."
    return {"partition_id": index, "error_code": code, "error_message": message}
