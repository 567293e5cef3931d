"""The worker of a partition, by how its topic's records are handled."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from ottla.listeners.async_lanes import AsyncLanes
from ottla.listeners.async_partition import AsyncPartition
from ottla.listeners.partition import Partition
from ottla.listeners.record import RecordProcessor
from ottla.listeners.sync_lanes import SyncLanes
from ottla.listeners.sync_partition import SyncPartition
from ottla.listeners.topic_ways import TopicWays


def make_partition(
    topic: str,
    partition: int,
    ways: TopicWays,
    processor: RecordProcessor,
    loop: asyncio.AbstractEventLoop | None,
    threads: Executor,
) -> Partition:
    """A worker that is not started yet. `threads`: those of the topic."""
    order, batch, remember = ways.orders[topic], ways.batches[topic], ways.waits(topic)
    if topic in ways.asynchronous:
        assert loop is not None, "set before the consumer thread starts"
        if order.parallel > 1:
            return AsyncLanes(topic, partition, processor, loop, threads, order)
        return AsyncPartition(topic, partition, processor, loop, threads, batch, remember=remember)
    if order.parallel > 1:
        return SyncLanes(topic, partition, processor, threads, order)
    return SyncPartition(topic, partition, processor, threads, batch, remember=remember)
