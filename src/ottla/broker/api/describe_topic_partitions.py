"""DescribeTopicPartitions (75), version 0: topics page by page, for admin tools. No topics named means all.

Pages end after `response_partition_limit` partitions (2000 at most); the cursor says where the next one begins.
"""

from __future__ import annotations

from ottla.broker.api.topics import AUTHORIZED_TOPIC
from ottla.broker.broker import Broker
from ottla.broker.catalog import INTERNAL_TOPICS
from ottla.broker.connection import Call
from ottla.broker.log.partition_log import LEADER_EPOCH
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.describe_topic_partitions import DESCRIBE_TOPIC_PARTITIONS
from ottla.broker.wire.schema import Message

API = DESCRIBE_TOPIC_PARTITIONS
LIMIT = 2000


def handle(broker: Broker, call: Call) -> Message:
    body = call.body
    names = sorted({wanted["name"] for wanted in body["topics"]} or broker.catalog.topics)
    left = max(1, min(body["response_partition_limit"], LIMIT))
    first, skip = "", 0
    if body["cursor"] is not None:
        first, skip = body["cursor"]["topic_name"], body["cursor"]["partition_index"]
    answers: list[Message] = []
    for name in names:
        if name < first:
            continue
        begin = skip if name == first else 0
        topic = broker.catalog.topics.get(name)
        if topic is None:
            answers.append({"name": name, "error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION})
            continue
        if left <= 0:
            return {"topics": answers, "next_cursor": {"topic_name": name, "partition_index": 0}}
        stop = min(len(topic.partitions), begin + left)
        left -= stop - begin
        answers.append(
            {
                "name": name,
                "topic_id": topic.id,
                "is_internal": name in INTERNAL_TOPICS,
                "partitions": [_partition(broker, index) for index in range(begin, stop)],
                "topic_authorized_operations": AUTHORIZED_TOPIC,
            }
        )
        if stop < len(topic.partitions):
            return {"topics": answers, "next_cursor": {"topic_name": name, "partition_index": stop}}
    return {"topics": answers}


def _partition(broker: Broker, index: int) -> Message:
    node = broker.config.node_id
    return {
        "partition_index": index,
        "leader_id": node,
        "leader_epoch": LEADER_EPOCH,
        "replica_nodes": (node,),
        "isr_nodes": (node,),
        "eligible_leader_replicas": (),
        "last_known_elr": (),
    }
