"""Guards of the APIs that tell what there is: Metadata, DescribeTopicPartitions, DescribeCluster.

Of a topic that the client may not describe, nothing is told: asked by name it is TOPIC_AUTHORIZATION_FAILED, existing
or not; asked by id the same, without its name; asked for all topics it is left out.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.guards.asking import TOPIC_DENIED, add_to, may_cluster, may_topic, topic_name
from ottla.broker.security.authorizer import NO_OPERATIONS
from ottla.broker.security.resources import CLUSTER_NAME, Operation, ResourceType
from ottla.broker.wire.schema import NO_UUID, Message


def metadata(broker: Broker, call: Call) -> Message | None:
    asked = call.body["topics"]
    everything = asked is None or (call.version == 0 and not asked)
    if everything:
        call.amend_reply(lambda reply: _leave_out(broker, call, reply))
    else:
        kept, denied = _describable(broker, call, asked)
        if not kept and not call.version:
            # An empty list means all topics in version 0: let them be listed, and show none of them.
            call.amend_reply(lambda reply: reply.update(topics=()))
        call.body["topics"] = kept
        add_to(call, "topics", denied)
    call.amend_reply(lambda reply: _operations(broker, call, reply))
    return None


def _leave_out(broker: Broker, call: Call, reply: Message) -> None:
    reply["topics"] = [
        answer for answer in reply["topics"] if may_topic(broker, call, Operation.DESCRIBE, answer["name"], quiet=True)
    ]


def _describable(broker: Broker, call: Call, asked: list[Message]) -> tuple[list[Message], list[Message]]:
    """The topics that the client may know of, or create; and what it is told about the others."""
    kept: list[Message] = []
    denied: list[Message] = []
    creates = call.body["allow_auto_topic_creation"] and broker.config.auto_create_topics
    for wanted in asked:
        by_id = wanted["topic_id"] != NO_UUID
        name = topic_name(broker, wanted["name"], wanted["topic_id"])
        if name is None:
            kept.append(wanted)
        elif not may_topic(broker, call, Operation.DESCRIBE, name):
            if by_id:
                answer = {"error_code": TOPIC_DENIED, "name": None, "topic_id": wanted["topic_id"]}
            else:
                answer = {"error_code": TOPIC_DENIED, "name": name, "topic_id": NO_UUID}
            denied.append(answer)
        elif creates and name not in broker.catalog.topics and not _may_create(broker, call, name):
            denied.append({"error_code": TOPIC_DENIED, "name": name, "topic_id": NO_UUID})
        else:
            kept.append(wanted)
    return kept, denied


def _may_create(broker: Broker, call: Call, name: str) -> bool:
    return may_cluster(broker, call, Operation.CREATE, quiet=True) or may_topic(broker, call, Operation.CREATE, name)


def _operations(broker: Broker, call: Call, reply: Message) -> None:
    for answer in reply["topics"]:
        if "topic_authorized_operations" in answer:
            answer["topic_authorized_operations"] = broker.authorizer.operations(
                call, ResourceType.TOPIC, answer["name"]
            )
    _cluster_operations(broker, call, reply)


def _cluster_operations(broker: Broker, call: Call, reply: Message) -> None:
    if "cluster_authorized_operations" in reply:
        known = may_cluster(broker, call, Operation.DESCRIBE, quiet=True)
        reply["cluster_authorized_operations"] = (
            broker.authorizer.operations(call, ResourceType.CLUSTER, CLUSTER_NAME) if known else NO_OPERATIONS
        )


def describe_cluster(broker: Broker, call: Call) -> Message | None:
    call.amend_reply(lambda reply: _cluster_operations(broker, call, reply))
    return None


def describe_topic_partitions(broker: Broker, call: Call) -> Message | None:
    asked = call.body["topics"]
    names = [wanted["name"] for wanted in asked] or list(broker.catalog.topics)
    allowed = [name for name in names if may_topic(broker, call, Operation.DESCRIBE, name, quiet=not asked)]
    known = set(allowed)
    denied = [
        {"name": name, "error_code": TOPIC_DENIED, "topic_id": NO_UUID} for name in names if asked and name not in known
    ]
    if not allowed:
        return {"topics": denied}
    call.body["topics"] = [{"name": name} for name in allowed]
    add_to(call, "topics", denied)
    call.amend_reply(lambda reply: _operations(broker, call, reply))
    return None
