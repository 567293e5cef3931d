"""Contract: retention removes whole old segments from the front, by age and by size, while everybody reads on.

A broker of each kind that looks for old segments all the time: brokers as they come do it every few minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from ottla.broker.wire.messages.produce import PRODUCE
from ottla.testing import Broker, EmbeddedBroker, RealKafka
from tests.broker.batches import batch
from tests.conftest import _start
from tests.contracts.asking import Asking
from tests.contracts.clients import consumer, create_topic, read, read_partition, set_topic_config, wait_until
from tests.contracts.transactor import fetch, list_offset

NONE, OFFSET_OUT_OF_RANGE = 0, 1
LATEST, EARLIEST = -1, -2
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
OLD, NEW = 2 * HOUR_MS, 0  # ages, on both sides of a retention of an hour
OFTEN_MS = 100


@pytest.fixture(scope="module")
def looking(request: pytest.FixtureRequest, broker_kind: str) -> Iterator[Broker]:
    """A broker that looks for old segments, and for logs to compact, every 100 ms."""

    def make() -> Broker:
        if broker_kind == "embedded":
            options = {"retention_check_interval_ms": OFTEN_MS, "cleaner_backoff_ms": OFTEN_MS}
            return EmbeddedBroker(options={"auto_create_topics": False, **options})
        often = ("log.retention.check.interval.ms", "log.initial.task.delay.ms", "log.cleaner.backoff.ms")
        return RealKafka(properties=dict.fromkeys(often, str(OFTEN_MS)))

    server = _start(request.config, make)
    yield server
    server.close()


@pytest.fixture
def asking(looking: Broker) -> Iterator[Asking]:
    with Asking(looking) as opened:
        yield opened


def put(asking: Asking, topic: str, *ages_ms: int, key: bytes = b"key", value: bytes = b"v" * 100) -> int:
    """Produces one batch of records of these ages. Gives its size in the log."""
    now = time.time_ns() // 1_000_000
    records = batch([value] * len(ages_ms), timestamps=[now - age for age in ages_ms], key=key)
    data = [{"name": topic, "partition_data": [{"index": 0, "records": records}]}]
    answer = asking.ask(PRODUCE, 9, transactional_id=None, acks=-1, timeout_ms=10_000, topic_data=data)
    assert answer["responses"][0]["partition_responses"][0]["error_code"] == NONE
    return len(records)


def small_segments(broker: Broker, name: str, **config: str) -> str:
    """A topic in which every batch has a segment of its own, and stays until something else is said."""
    keep_all = {"retention_ms": "-1", "retention_bytes": "-1"}
    return create_topic(broker, name, internal_segment_bytes="300", **(keep_all | config))


def wait_for_start(asking: Asking, topic: str, offset: int) -> None:
    wait_until(lambda: list_offset(asking, topic, EARLIEST) >= offset, what=f"{topic} starts at {offset}")
    assert list_offset(asking, topic, EARLIEST) == offset


def wait_for_a_look(asking: Asking, broker: Broker, name: str, *, policy: str = "delete") -> None:
    """Returns when the broker has looked at all topics since this was called: a topic made for it has lost all."""
    for number in range(2):  # the first may have been met by a round that had begun before
        one = create_topic(broker, f"{name}-look-{number}", retention_ms=str(HOUR_MS), cleanup_policy=policy)
        put(asking, one, OLD)
        wait_for_start(asking, one, 1)


@pytest.fixture
def shortened(looking: Broker, asking: Asking, topic_name: str) -> str:
    """Old: 0 and 1. New: one of the two in one batch, 2 and 3, and 5. Record 4 is old and behind a new one."""
    small_segments(looking, topic_name)
    for ages in ([OLD], [OLD], [OLD, NEW], [OLD], [NEW]):
        put(asking, topic_name, *ages)
    assert list_offset(asking, topic_name, EARLIEST) == 0
    set_topic_config(looking, topic_name, "retention.ms", str(HOUR_MS))
    wait_for_start(asking, topic_name, 2)
    return topic_name


def test_segments_go_whose_newest_record_is_too_old_up_to_the_first_that_stays(
    looking: Broker, asking: Asking, shortened: str
) -> None:
    wait_for_a_look(asking, looking, shortened)
    assert list_offset(asking, shortened, EARLIEST) == 2
    assert [one.offset() for one in read_partition(looking, shortened, 4, start=2)] == [2, 3, 4, 5]


def test_a_read_before_the_start_is_out_of_range(asking: Asking, shortened: str) -> None:
    assert [fetch(asking, shortened, offset).error for offset in (0, 1)] == [OFFSET_OUT_OF_RANGE] * 2
    assert [fetch(asking, shortened, offset).error for offset in (2, 5, 6)] == [NONE] * 3
    assert fetch(asking, shortened, 7).error == OFFSET_OUT_OF_RANGE


def test_a_consumer_whose_place_is_gone_goes_on_at_the_start_or_is_told(
    looking: Broker, asking: Asking, shortened: str, group_name: str
) -> None:
    with consumer(looking, group_name) as client:
        client.commit(offsets=[TopicPartition(shortened, 0, 1)], asynchronous=False)
        client.assign([TopicPartition(shortened, 0)])
        assert [one.offset() for one in read(client, 4)] == [2, 3, 4, 5]
    with consumer(looking, group_name, auto_offset_reset="error") as client:
        client.assign([TopicPartition(shortened, 0)])
        with pytest.raises(KafkaException) as failure:
            read(client, 1)
        assert failure.value.args[0].code() == KafkaError._AUTO_OFFSET_RESET


def test_by_size_at_least_the_limit_is_kept(looking: Broker, asking: Asking, topic_name: str) -> None:
    small_segments(looking, topic_name)
    (size,) = {put(asking, topic_name, NEW) for _ in range(10)}
    set_topic_config(looking, topic_name, "retention.bytes", str(3 * size + 1))
    wait_for_start(asking, topic_name, 6)
    wait_for_a_look(asking, looking, topic_name)
    assert list_offset(asking, topic_name, EARLIEST) == 6
    set_topic_config(looking, topic_name, "retention.bytes", str(3 * size))
    wait_for_start(asking, topic_name, 7)
    set_topic_config(looking, topic_name, "retention.bytes", "0")
    wait_for_start(asking, topic_name, 10)


def test_the_active_segment_expires_too_and_offsets_go_on(looking: Broker, asking: Asking, topic_name: str) -> None:
    create_topic(looking, topic_name, retention_ms=str(HOUR_MS))
    put(asking, topic_name, OLD, OLD, OLD)
    wait_for_start(asking, topic_name, 3)
    assert list_offset(asking, topic_name, LATEST) == 3
    put(asking, topic_name, NEW)
    assert [one.offset() for one in read_partition(looking, topic_name, 1, start=3)] == [3]


def test_a_retention_of_minus_one_keeps_everything(looking: Broker, asking: Asking, topic_name: str) -> None:
    small_segments(looking, topic_name)
    for _ in range(3):
        put(asking, topic_name, 400 * 24 * HOUR_MS)
    wait_for_a_look(asking, looking, topic_name)
    assert [one.offset() for one in read_partition(looking, topic_name, 3)] == [0, 1, 2]


def test_a_compacted_topic_keeps_old_records(looking: Broker, asking: Asking, topic_name: str) -> None:
    small_segments(looking, topic_name, retention_ms=str(HOUR_MS), retention_bytes="1", cleanup_policy="compact")
    for key in (b"a", b"b", b"c"):
        put(asking, topic_name, OLD, key=key)
    wait_for_a_look(asking, looking, topic_name)
    wait_for_a_look(asking, looking, f"{topic_name}-compact", policy="compact,delete")
    assert [one.key() for one in read_partition(looking, topic_name, 3)] == [b"a", b"b", b"c"]


def test_a_topic_may_be_compacted_and_lose_what_is_old(looking: Broker, asking: Asking, topic_name: str) -> None:
    small_segments(looking, topic_name, cleanup_policy="compact,delete", min_cleanable_dirty_ratio="0.001")
    for key, age in ((b"a", OLD), (b"b", 2 * MINUTE_MS), (b"b", MINUTE_MS), (b"c", NEW)):
        put(asking, topic_name, age, key=key)

    def rows(start: int) -> list[tuple[int, bytes | None]]:
        found = []
        with consumer(looking) as client:
            client.assign([TopicPartition(topic_name, 0, start)])
            while not found or found[-1] != (3, b"c"):
                found += [(one.offset(), one.key()) for one in read(client, 1)]
        return found

    wait_until(lambda: rows(0) == [(0, b"a"), (2, b"b"), (3, b"c")], what="compacted")
    set_topic_config(looking, topic_name, "retention.ms", str(HOUR_MS))
    wait_until(lambda: list_offset(asking, topic_name, EARLIEST) > 0, what="the old one has gone")
    assert rows(list_offset(asking, topic_name, EARLIEST)) == [(2, b"b"), (3, b"c")]
