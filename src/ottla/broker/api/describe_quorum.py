"""DescribeQuorum (55), versions 0 to 2: who keeps the cluster's metadata, for kafka-metadata-quorum.

The one node is its own quorum of one: leader, only voter, and up to date. Its metadata log is the catalogue's journal,
and what is told as the log's end offset is the journal's size in bytes. Other topics than __cluster_metadata have no
quorum: UNKNOWN_TOPIC_OR_PARTITION.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.log.recovery import now_ms
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.describe_quorum import DESCRIBE_QUORUM
from ottla.broker.wire.schema import Message

API = DESCRIBE_QUORUM
METADATA_TOPIC = "__cluster_metadata"
LISTENER = "CONTROLLER"
EPOCH = 1


def handle(broker: Broker, call: Call) -> Message:
    found = False
    topics: list[Message] = []
    for topic in call.body["topics"]:
        partitions: list[Message] = []
        for part in topic["partitions"]:
            known = topic["topic_name"] == METADATA_TOPIC and part["partition_index"] == 0
            found = found or known
            partitions.append(_quorum(broker) if known else _unknown(part["partition_index"]))
        topics.append({"topic_name": topic["topic_name"], "partitions": partitions})
    listener = {"name": LISTENER, "host": call.connection.host, "port": call.connection.port}
    nodes = [{"node_id": broker.config.node_id, "listeners": [listener]}] if found else []
    return {"error_message": "", "topics": topics, "nodes": nodes}


def _quorum(broker: Broker) -> Message:
    now, end = now_ms(), broker.catalog.journal.size
    voter = {
        "replica_id": broker.config.node_id,
        "log_end_offset": end,
        "last_fetch_timestamp": now,
        "last_caught_up_timestamp": now,
    }
    return {
        "partition_index": 0,
        "error_message": "",
        "leader_id": broker.config.node_id,
        "leader_epoch": EPOCH,
        "high_watermark": end,
        "current_voters": [voter],
    }


def _unknown(index: int) -> Message:
    message = "This server does not host this topic-partition."
    return {"partition_index": index, "error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "error_message": message}
