"""DescribeLogDirs (35), versions 0 to 4: the data folder, and how many bytes each partition takes."""

from __future__ import annotations

import os

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.messages.describe_log_dirs import DESCRIBE_LOG_DIRS
from ottla.broker.wire.schema import Message

API = DESCRIBE_LOG_DIRS


def handle(broker: Broker, call: Call) -> Message:
    wanted: dict[str, set[int]] | None = None
    if call.body["topics"] is not None:
        wanted = {one["topic"]: set(one["partitions"]) for one in call.body["topics"]}
    topics: list[Message] = []
    for topic in broker.catalog.topics.values():
        if wanted is not None and topic.name not in wanted:
            continue
        partitions = [
            {"partition_index": index, "partition_size": log.size, "offset_lag": 0, "is_future_key": False}
            for index, log in enumerate(topic.partitions)
            if wanted is None or index in wanted[topic.name]
        ]
        topics.append({"name": topic.name, "partitions": partitions})
    space = os.statvfs(broker.catalog.folder)
    return {
        "results": [
            {
                "log_dir": str(broker.catalog.folder),
                "topics": topics,
                "total_bytes": space.f_blocks * space.f_frsize,
                "usable_bytes": space.f_bavail * space.f_frsize,
            }
        ]
    }
