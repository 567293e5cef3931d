"""Guards of the administrative APIs: settings, folders, elections, quotas."""

from __future__ import annotations

from collections.abc import Callable

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.guards.asking import (
    CLUSTER_DENIED,
    CLUSTER_MESSAGE,
    GROUP_DENIED,
    GROUP_MESSAGE,
    TOPIC_DENIED,
    TOPIC_MESSAGE,
    Guard,
    add_to,
    may_cluster,
    may_group,
    may_topic,
    split,
)
from ottla.broker.security.resources import Operation
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

TOPIC, GROUP = 2, 32  # the kinds of resources in the APIs about settings; anything else belongs to the cluster


def cluster(operation: Operation, refusal: Callable[[Call], Message] | None = None) -> Guard:
    """The guard of a request that concerns the cluster as a whole."""

    def guard(broker: Broker, call: Call) -> Message | None:
        if may_cluster(broker, call, operation):
            return None
        if refusal is not None:
            return refusal(call)
        return {"error_code": CLUSTER_DENIED, "error_message": CLUSTER_MESSAGE}

    return guard


def settings(operation: Operation, field: str) -> Guard:
    """The guard of a request about settings: of topics, groups, or else of the cluster's nodes."""

    def guard(broker: Broker, call: Call) -> Message | None:
        resources = call.body["resources"]
        call.body["resources"], denied = split(resources, lambda one: _may_set(broker, call, operation, one))
        add_to(call, field, [_refused(one) for one in denied])
        return None

    return guard


def _may_set(broker: Broker, call: Call, operation: Operation, one: Message) -> bool:
    kind, name = one["resource_type"], one["resource_name"]
    if kind == TOPIC:
        return may_topic(broker, call, operation, name)
    if kind == GROUP:
        return may_group(broker, call, operation, name)
    return may_cluster(broker, call, operation)


def _refused(one: Message) -> Message:
    denied: dict[int, tuple[ErrorCode, str]] = {
        TOPIC: (TOPIC_DENIED, TOPIC_MESSAGE),
        GROUP: (GROUP_DENIED, GROUP_MESSAGE),
    }
    code, message = denied.get(one["resource_type"], (CLUSTER_DENIED, CLUSTER_MESSAGE))
    return {
        "resource_type": one["resource_type"],
        "resource_name": one["resource_name"],
        "error_code": code,
        "error_message": message,
        "configs": (),
    }


def quota_refusal(call: Call) -> Message:
    """AlterClientQuotas answers for each entity."""
    return {
        "entries": [
            {"error_code": CLUSTER_DENIED, "error_message": CLUSTER_MESSAGE, "entity": entry["entity"]}
            for entry in call.body["entries"]
        ]
    }


def election_refusal(call: Call) -> Message:
    """ElectLeaders answers for each partition; version 0 has no other place for an error."""
    return {
        "error_code": CLUSTER_DENIED,
        "replica_election_results": [
            {
                "topic": topic["topic"],
                "partition_result": [
                    {"partition_id": index, "error_code": CLUSTER_DENIED} for index in topic["partitions"]
                ],
            }
            for topic in call.body["topic_partitions"] or ()
        ],
    }
