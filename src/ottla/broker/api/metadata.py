"""Metadata (3), versions 0 to 13: the node, and topics with their partitions and ids.

All topics when none are named (null; in version 0 also an empty list). A named topic that does not exist is created if
both the broker (`auto_create_topics`) and the request allow it; otherwise it is UNKNOWN_TOPIC_OR_PARTITION, by id
UNKNOWN_TOPIC_ID. There is one node, it leads everything, in epoch 0.
"""

from __future__ import annotations

import logging

from ottla.broker.api.topics import AUTHORIZED_CLUSTER, AUTHORIZED_TOPIC
from ottla.broker.broker import Broker
from ottla.broker.catalog import INTERNAL_TOPICS, Topic, collide, name_fault
from ottla.broker.connection import Call
from ottla.broker.log.partition_log import LEADER_EPOCH
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.metadata import METADATA
from ottla.broker.wire.schema import NO_UUID, Message

logger = logging.getLogger("ottla.broker")

API = METADATA


def handle(broker: Broker, call: Call) -> Message | None:
    asked = call.body["topics"]
    everything = asked is None or (call.version == 0 and not asked)
    created = False
    answers: list[Message] = []
    if everything:
        answers = [describe(broker, topic, call) for topic in broker.catalog.topics.values()]
    for wanted in () if everything else asked:
        topic = broker.topic(wanted["name"], wanted["topic_id"])
        if topic is None and wanted["name"] and _may_create(broker, call, wanted["name"]):
            try:
                topic = broker.catalog.create(wanted["name"], broker.config.partitions, {})
                created = True
            except OSError as error:
                logger.error("topic %s could not be created: %s", wanted["name"], error)
        answers.append(describe(broker, topic, call) if topic else _unknown(wanted))
    reply = {
        "brokers": [{"node_id": broker.config.node_id, "host": call.connection.host, "port": call.connection.port}],
        "cluster_id": broker.catalog.cluster_id,
        "controller_id": broker.config.node_id,
        "topics": answers,
    }
    if call.body["include_cluster_authorized_operations"]:
        reply["cluster_authorized_operations"] = AUTHORIZED_CLUSTER
    if created:
        broker.durable(broker.catalog.journal, lambda: call.reply(reply))
        return None
    return reply


def _may_create(broker: Broker, call: Call, name: str) -> bool:
    allowed: bool = call.body["allow_auto_topic_creation"]
    if not (broker.config.auto_create_topics and allowed) or name_fault(name) is not None:
        return False
    return not any(collide(name, other) for other in broker.catalog.topics)


def describe(broker: Broker, topic: Topic, call: Call) -> Message:
    node = broker.config.node_id
    answer: Message = {
        "name": topic.name,
        "topic_id": topic.id,
        "is_internal": topic.name in INTERNAL_TOPICS,
        "partitions": [
            {
                "partition_index": index,
                "leader_id": node,
                "leader_epoch": LEADER_EPOCH,
                "replica_nodes": (node,),
                "isr_nodes": (node,),
            }
            for index in range(len(topic.partitions))
        ],
    }
    if call.body["include_topic_authorized_operations"]:
        answer["topic_authorized_operations"] = AUTHORIZED_TOPIC
    return answer


def _unknown(wanted: Message) -> Message:
    by_id = wanted["topic_id"] != NO_UUID
    code = ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if wanted["name"] and name_fault(wanted["name"]):
        code = ErrorCode.INVALID_TOPIC_EXCEPTION
    return {"error_code": code, "name": wanted["name"] if not by_id else None, "topic_id": wanted["topic_id"]}
