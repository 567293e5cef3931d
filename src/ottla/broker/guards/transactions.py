"""Guards of the APIs about producers and transactions."""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.guards.asking import (
    CLUSTER_DENIED,
    GROUP_DENIED,
    TOPIC_DENIED,
    TRANSACTION_DENIED,
    add_to,
    may,
    may_cluster,
    may_group,
    may_topic,
    split,
)
from ottla.broker.security.resources import Operation, ResourceType
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

BATCHED_SINCE = 4  # AddPartitionsToTxn from here on is what brokers say to each other


def _may_write(broker: Broker, call: Call, transactional_id: str) -> bool:
    return may(broker, call, Operation.WRITE, ResourceType.TRANSACTIONAL_ID, transactional_id)


def init_producer_id(broker: Broker, call: Call) -> Message | None:
    """An idempotent producer needs IDEMPOTENT_WRITE on the cluster, or WRITE on any topic at all (KIP-679)."""
    transactional_id = call.body["transactional_id"]
    if transactional_id is not None:
        if _may_write(broker, call, transactional_id):
            return None
        code = TRANSACTION_DENIED
    else:
        if may_cluster(broker, call, Operation.IDEMPOTENT_WRITE, quiet=True):
            return None
        if broker.authorizer.allows_some(call, Operation.WRITE, ResourceType.TOPIC):
            return None
        code = CLUSTER_DENIED
    return {"error_code": code, "producer_id": -1, "producer_epoch": -1}


def add_partitions(broker: Broker, call: Call) -> Message | None:
    body = call.body
    if call.version >= BATCHED_SINCE:
        if may_cluster(broker, call, Operation.CLUSTER_ACTION):
            return None
        return {"error_code": CLUSTER_DENIED}
    topics = body["topics"]
    if not _may_write(broker, call, body["transactional_id"]):
        return {"results_by_topic": [_partitions(one, TRANSACTION_DENIED) for one in topics]}
    allowed, denied = split(topics, lambda one: may_topic(broker, call, Operation.WRITE, one["name"]))
    if not denied:
        return None
    # All or nothing: the partitions beside a refused one are not added either.
    not_attempted = ErrorCode.OPERATION_NOT_ATTEMPTED
    results = [_partitions(one, TOPIC_DENIED) for one in denied] + [_partitions(one, not_attempted) for one in allowed]
    return {"results_by_topic": results}


def _partitions(one: Message, code: ErrorCode) -> Message:
    partitions = [{"partition_index": index, "partition_error_code": code} for index in one["partitions"]]
    return {"name": one["name"], "results_by_partition": partitions}


def add_offsets(broker: Broker, call: Call) -> Message | None:
    if not _may_write(broker, call, call.body["transactional_id"]):
        return {"error_code": TRANSACTION_DENIED}
    if not may_group(broker, call, Operation.READ, call.body["group_id"]):
        return {"error_code": GROUP_DENIED}
    return None


def end(broker: Broker, call: Call) -> Message | None:
    if _may_write(broker, call, call.body["transactional_id"]):
        return None
    return {"error_code": TRANSACTION_DENIED, "producer_id": -1, "producer_epoch": -1}


def write_markers(broker: Broker, call: Call) -> Message | None:
    """ALTER on the cluster is for the admin client that aborts a hanging transaction (KIP-664)."""
    if may_cluster(broker, call, Operation.ALTER, quiet=True) or may_cluster(broker, call, Operation.CLUSTER_ACTION):
        return None
    return {
        "markers": [
            {
                "producer_id": marker["producer_id"],
                "topics": [
                    {
                        "name": topic["name"],
                        "partitions": [
                            {"partition_index": index, "error_code": CLUSTER_DENIED}
                            for index in topic["partition_indexes"]
                        ],
                    }
                    for topic in marker["topics"]
                ],
            }
            for marker in call.body["markers"]
        ]
    }


def describe(broker: Broker, call: Call) -> Message | None:
    ids = call.body["transactional_ids"]
    call.body["transactional_ids"], denied = split(ids, lambda one: _may_describe(broker, call, one, quiet=False))
    empty = {"transaction_state": "", "producer_id": -1, "producer_epoch": -1, "topics": ()}

    def known(reply: Message) -> None:
        for state in reply["transaction_states"]:
            state["topics"] = [
                one
                for one in state.get("topics", ())
                if may_topic(broker, call, Operation.DESCRIBE, one["topic"], quiet=True)
            ]

    call.amend_reply(known)
    answers = [{"transactional_id": one, "error_code": TRANSACTION_DENIED, **empty} for one in denied]
    add_to(call, "transaction_states", answers)
    return None


def list_all(broker: Broker, call: Call) -> Message | None:
    def visible(reply: Message) -> None:
        reply["transaction_states"] = [
            state
            for state in reply.get("transaction_states", ())
            if _may_describe(broker, call, state["transactional_id"], quiet=True)
        ]

    call.amend_reply(visible)
    return None


def _may_describe(broker: Broker, call: Call, transactional_id: str, *, quiet: bool) -> bool:
    return may(broker, call, Operation.DESCRIBE, ResourceType.TRANSACTIONAL_ID, transactional_id, quiet=quiet)
