"""Contract: leader epochs, by which consumers notice that a log was cut: the one there is, its end, and wrong ones."""

from __future__ import annotations

import pytest

from ottla.broker.wire.messages.fetch import FETCH
from ottla.broker.wire.messages.list_offsets import LIST_OFFSETS
from ottla.broker.wire.messages.offset_for_leader_epoch import OFFSET_FOR_LEADER_EPOCH
from ottla.broker.wire.schema import Message
from ottla.testing import Broker
from tests.contracts.asking import Asking
from tests.contracts.clients import produce

NONE, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_LEADER_EPOCH = 0, 3, 75
VERSIONS = [2, 3, 4]  # of which Apache Kafka 4 knows


def epoch_end(broker: Broker, topic: str, epoch: int, *, current: int = -1, version: int = 4) -> Message:
    """What is said of the end of an epoch of the topic's partition 0."""
    part = {"partition": 0, "current_leader_epoch": current, "leader_epoch": epoch}
    with Asking(broker) as asking:
        wanted = [{"topic": topic, "partitions": [part]}]
        answer = asking.ask(OFFSET_FOR_LEADER_EPOCH, version, replica_id=-1, topics=wanted)
    (found,) = answer["topics"][0]["partitions"]
    return {name: found[name] for name in ("error_code", "leader_epoch", "end_offset")}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_epoch_of_now_ends_where_the_log_ends(broker: Broker, topic: str, version: int) -> None:
    assert epoch_end(broker, topic, 0, version=version) == {"error_code": NONE, "leader_epoch": 0, "end_offset": 0}
    produce(broker, topic, [b"a", b"b", b"c"])
    assert epoch_end(broker, topic, 0, version=version) == {"error_code": NONE, "leader_epoch": 0, "end_offset": 3}


@pytest.mark.parametrize("epoch", [-1, 1, 2**31 - 1])
def test_an_epoch_that_has_not_been_has_no_end(broker: Broker, topic: str, epoch: int) -> None:
    produce(broker, topic, [b"a"])
    assert epoch_end(broker, topic, epoch) == {"error_code": NONE, "leader_epoch": -1, "end_offset": -1}


@pytest.mark.parametrize(("current", "error"), [(-1, NONE), (0, NONE), (1, UNKNOWN_LEADER_EPOCH)])
def test_who_knows_a_later_epoch_than_the_broker_is_told_so_by_every_api(
    broker: Broker, topic: str, current: int, error: int
) -> None:
    produce(broker, topic, [b"a"])
    assert epoch_end(broker, topic, 0, current=current)["error_code"] == error
    with Asking(broker) as asking:
        part = {"partition_index": 0, "current_leader_epoch": current, "timestamp": -1}
        wanted = [{"name": topic, "partitions": [part]}]
        answer = asking.ask(LIST_OFFSETS, 5, replica_id=-1, topics=wanted)
        (listed,) = answer["topics"][0]["partitions"]
        part = {"partition": 0, "current_leader_epoch": current, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
        wanted = [{"topic": topic, "partitions": [part]}]
        answer = asking.ask(FETCH, 11, max_wait_ms=0, min_bytes=0, topics=wanted, rack_id="")
        (fetched,) = answer["responses"][0]["partitions"]
    assert (listed["error_code"], fetched["error_code"]) == (error, error)
    assert bool(fetched["records"]) == (error == NONE)


def test_the_epoch_of_a_topic_that_is_not_there_is_not_known(broker: Broker, topic_name: str) -> None:
    assert epoch_end(broker, topic_name, 0)["error_code"] == UNKNOWN_TOPIC_OR_PARTITION
