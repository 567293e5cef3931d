"""DescribeCluster (60), versions 0 to 2: the one node, and the cluster's id."""

from __future__ import annotations

from ottla.broker.api.topics import AUTHORIZED_CLUSTER
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.describe_cluster import DESCRIBE_CLUSTER
from ottla.broker.wire.schema import Message

API = DESCRIBE_CLUSTER
BROKERS = 1


def handle(broker: Broker, call: Call) -> Message:
    if call.body["endpoint_type"] != BROKERS:
        # There is no controller to speak to apart from the broker itself (UNSUPPORTED_ENDPOINT_TYPE is 115).
        return {"error_code": 115, "error_message": "Only brokers can be described.", "brokers": []}
    answer: Message = {
        "error_code": ErrorCode.NONE,
        "cluster_id": broker.catalog.cluster_id,
        "controller_id": broker.config.node_id,
        "brokers": [{"broker_id": broker.config.node_id, "host": call.connection.host, "port": call.connection.port}],
    }
    if call.body["include_cluster_authorized_operations"]:
        answer["cluster_authorized_operations"] = AUTHORIZED_CLUSTER
    return answer
