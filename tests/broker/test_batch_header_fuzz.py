"""Record batches whose headers say anything at all: the broker refuses them, or takes what Kafka would take.

The checksum is right for what the header says, so that the checks behind it are reached. What was taken is served as it
came, and a start after a kill finds it again. OTTLA_FUZZ_TIMES=N tries N times as many (`make soak`).
"""

from __future__ import annotations

import os
import shutil
import struct
from contextlib import closing
from pathlib import Path

import psutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottla.broker.log.batch import CONTROL, CRC_FROM, HEADER, LOG_APPEND_TIME, TRANSACTIONAL, BatchHeader, crc_of
from ottla.broker.log.recovery import now_ms
from tests.broker.batches import batch, headers
from tests.broker.running import Client, RunningBroker

TIMES = int(os.environ.get("OTTLA_FUZZ_TIMES", "1"))
NOW = now_ms()
TOPICS = {"plain": {}, "stamped": {"message_timestamp_type": "LogAppendTime"}, "keyed": {"cleanup_policy": "compact"}}
# What Produce answers to a batch: CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, INVALID_TIMESTAMP, OUT_OF_ORDER_SEQUENCE_NUMBER,
# INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, INVALID_PRODUCER_ID_MAPPING, UNSUPPORTED_COMPRESSION_TYPE, INVALID_RECORD.
REFUSALS = {2, 10, 32, 45, 47, 48, 49, 76, 87}
BODIES = [batch(values)[HEADER.size :] for values in ([b"value"], [b"a", b"b", b"c"], [b"x" * 300])]
COUNTS = (1, 3, 1)
LEAST_RECORD_BYTES = 7


def numbers(bits: int, *likely: int) -> st.SearchStrategy[int]:
    limit = 1 << (bits - 1)
    odd = st.sampled_from([*likely, -1, 0, 1, 2, 3, -2, limit - 1, limit - 2, -limit])
    return odd | st.integers(-limit, limit - 1)


FIELDS = {
    "base_offset": numbers(64),
    "length": numbers(32, 49, 70, 75),
    "leader_epoch": numbers(32),
    "magic": numbers(8),
    "attributes": numbers(16, 1, 4, 5, 7, LOG_APPEND_TIME, TRANSACTIONAL, CONTROL),
    "last_offset_delta": numbers(32),
    "base_timestamp": numbers(64, NOW),
    "max_timestamp": numbers(64, NOW, NOW + 2**32),
    "producer_id": numbers(64, 7),
    "producer_epoch": numbers(16),
    "base_sequence": numbers(32),
    "record_count": numbers(32),
}


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A batch of a few records in which some fields of the header hold anything."""
    chosen = draw(st.integers(0, len(BODIES) - 1))
    body, count = BODIES[chosen], COUNTS[chosen]
    producer = draw(st.sampled_from([(-1, -1, -1), (7, 0, 0), (7, 0, 1), (8, 3, 2**31 - 1)]))
    times = (draw(st.sampled_from([NOW, 0, -1])), NOW)
    attributes = draw(st.sampled_from([0, 0, 0, 2, 3]))
    length = HEADER.size - 12 + len(body)
    right = BatchHeader(0, length, -1, 2, 0, attributes, count - 1, *times, *producer, count)
    wrong = draw(st.lists(st.sampled_from(list(FIELDS)), max_size=3, unique=True))
    header = right._replace(**{name: draw(FIELDS[name]) for name in wrong})
    if draw(st.booleans()):  # two wrong fields that agree are the harder case
        header = header._replace(last_offset_delta=max(header.record_count - 1, -(2**31)))
    tail = HEADER.pack(*header)[CRC_FROM:] + body
    crc = crc_of(tail) ^ draw(st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1]))
    return HEADER.pack(*header._replace(crc=crc))[:CRC_FROM] + tail


def memory() -> int:
    """Bytes of this process, in which the broker runs."""
    return int(psutil.Process().memory_info().rss)


def is_acceptable(data: bytes) -> bool:
    """What Kafka's validation of a batch asks of its header."""
    header = BatchHeader._make(HEADER.unpack_from(data))
    body = len(data) - HEADER.size
    return (
        header.magic == 2
        and header.base_offset == 0
        and header.size == len(data)
        and header.crc == crc_of(data[CRC_FROM:])
        and header.record_count >= 1
        and header.last_offset_delta == header.record_count - 1
        and header.codec <= 4
        and (header.codec > 0 or header.record_count * LEAST_RECORD_BYTES <= body)
        and not header.attributes & (CONTROL | TRANSACTIONAL)  # no transaction is open
        and (header.producer_id < 0 or (header.producer_epoch >= 0 and header.base_sequence >= 0))
    )


def stored(client: Client, topic: str) -> list[bytes]:
    """All batches of a topic's partition, from the first one on."""
    found: list[bytes] = []
    offset = 0
    while True:
        answer = client.fetch(topic, offset)
        assert answer["error_code"] == 0
        data = bytes(answer["records"] or b"")
        if not data:
            assert offset == answer["high_watermark"]
            return found
        at = 0
        for header in headers(data):
            assert header.base_offset == offset
            found.append(data[at : at + header.size])
            at, offset = at + header.size, header.last_offset + 1


def without_what_the_broker_sets(data: bytes, topic: str) -> bytes:
    header = BatchHeader._make(HEADER.unpack_from(data))._replace(base_offset=0, leader_epoch=0)
    if topic == "stamped":
        header = header._replace(attributes=header.attributes | LOG_APPEND_TIME, max_timestamp=0, crc=0)
    return HEADER.pack(*header) + data[HEADER.size :]


def test_a_batch_with_any_header_is_refused_or_kept_as_it_came(tmp_path: Path) -> None:
    taken: dict[str, list[bytes]] = {topic: [] for topic in TOPICS}
    folder, killed = tmp_path / "data", tmp_path / "killed"
    with RunningBroker(folder, flush="none", auto_create_topics=False) as running, closing(running.connect()) as client:
        for topic, config in TOPICS.items():
            client.create(topic, **config)

        @settings(max_examples=200 * TIMES, deadline=None, suppress_health_check=list(HealthCheck))
        @given(topic=st.sampled_from(list(TOPICS)), data=mutated())
        def produce(topic: str, data: bytes) -> None:
            answer = client.produce(topic, data)
            if answer["error_code"]:
                assert answer["error_code"] in REFUSALS, answer
                assert answer["base_offset"] == -1
            else:
                assert is_acceptable(data), struct.unpack_from(HEADER.format, data)
                if len(taken[topic]) == 0 or answer["base_offset"] >= end[topic]:  # else it is a repetition
                    end[topic] = answer["base_offset"] + BatchHeader._make(HEADER.unpack_from(data)).record_count
                    taken[topic].append(data)

        end = dict.fromkeys(TOPICS, 0)
        before = memory()
        produce()
        assert memory() - before < (100 << 20) * TIMES, "what a header claims must not cost memory"
        assert running.server.broker.metrics.failed_requests == 0, "a handler failed: see the log"
        served = {topic: stored(client, topic) for topic in TOPICS}
        shutil.copytree(folder, killed)  # as kill -9 leaves it: nothing is written down for the next start
    for topic in TOPICS:
        assert len(taken[topic]) > 5, "hardly anything was taken: the test would prove nothing"
        came = [without_what_the_broker_sets(data, topic) for data in taken[topic]]
        assert [without_what_the_broker_sets(data, topic) for data in served[topic]] == came
    for left in (killed, folder):
        with RunningBroker(left, flush="none") as again, closing(again.connect()) as client:
            assert {topic: stored(client, topic) for topic in TOPICS} == served
