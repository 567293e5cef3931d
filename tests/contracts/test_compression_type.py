"""Contract: `compression.type` of a topic decides how its records are kept, whatever the producer chose."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ottla.broker.wire.messages.fetch import FETCH
from ottla.errors import ServerFailed
from ottla.testing import Broker, KafkaHome
from tests.broker.batches import batch, headers
from tests.conftest import IN_CI
from tests.contracts.asking import Asking
from tests.contracts.clients import create_topic, end_offset, produce, read_partition, values
from tests.contracts.differences import known_difference, no_zstd
from tests.contracts.transactor import Transactor
from tests.contracts.wire import MESSAGE_TOO_LARGE, NONE, RECORD_LIST_TOO_LARGE, Connection, init_producer_id
from tests.contracts.wire import produce as produce_batch

CODECS = {"uncompressed": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
VALUES = [b"%d-" % number * 200 for number in range(500)]


@pytest.fixture
def asking(broker: Broker) -> Iterator[Asking]:
    with Asking(broker) as one:
        yield one


@pytest.fixture
def producer_id(connection: Connection) -> int:
    return init_producer_id(connection)[0]


def stored_codecs(asking: Asking, topic: str) -> set[int]:
    found: set[int] = set()
    offset = 0
    while True:
        part = {"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
        topics = [{"topic": topic, "partitions": [part]}]
        answer = asking.ask(FETCH, 11, max_wait_ms=0, min_bytes=1, max_bytes=1 << 20, topics=topics)
        data = bytes(answer["responses"][0]["partitions"][0]["records"] or b"")
        if not data:
            return found
        for header in headers(data):
            found.add(header.attributes & 7)
            offset = header.last_offset + 1


@pytest.mark.parametrize("produced", ["gzip", "lz4"])
@pytest.mark.parametrize("wanted", CODECS)
def test_records_are_kept_in_the_topics_codec(
    broker: Broker, asking: Asking, topic_name: str, wanted: str, produced: str
) -> None:
    create_topic(broker, topic_name, compression_type=wanted)
    produce(broker, topic_name, VALUES, compression_type=produced, linger_ms=20, enable_idempotence=True)
    assert stored_codecs(asking, topic_name) == {CODECS[wanted]}
    assert values(read_partition(broker, topic_name, len(VALUES))) == VALUES


def test_zstd_is_compressed_anew(
    broker: Broker, asking: Asking, topic_name: str, broker_kind: str, request: pytest.FixtureRequest
) -> None:
    if no_zstd():
        known_difference(request, broker_kind, "Python before 3.14 opens zstd with a package only")
    create_topic(broker, topic_name, compression_type="gzip")
    produce(broker, topic_name, VALUES, compression_type="zstd", linger_ms=20)
    assert stored_codecs(asking, topic_name) == {CODECS["gzip"]}


def test_java_reads_what_was_compressed_anew(broker: Broker, topic_name: str) -> None:
    try:
        home = KafkaHome.find()
    except ServerFailed as missing:
        (pytest.fail if IN_CI else pytest.skip)(str(missing))
    for codec in ("snappy", "lz4", "zstd"):
        create_topic(broker, topic_name + codec, compression_type=codec)
        produce(broker, topic_name + codec, VALUES, linger_ms=20)
        done = home.run(
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            *("--bootstrap-server", broker.bootstrap_servers, "--topic", topic_name + codec),
            *("--from-beginning", "--max-messages", str(len(VALUES))),
            timeout_s=90,
        )
        assert done.stdout.encode().split() == VALUES, codec


def test_a_repeated_batch_is_known_after_it_was_compressed_anew(
    broker: Broker, connection: Connection, topic_name: str, producer_id: int
) -> None:
    create_topic(broker, topic_name, compression_type="gzip")
    for _ in range(2):
        sent = batch([b"a", b"b"], producer_id=producer_id, epoch=0, sequence=0)
        assert produce_batch(connection, topic_name, sent).base_offset == 0
    assert end_offset(broker, topic_name) == 2


def test_a_transaction_is_compressed_anew(asking: Asking, broker: Broker, topic_name: str) -> None:
    create_topic(broker, topic_name, compression_type="gzip")
    one = Transactor(asking, f"{topic_name}-tx").begin()
    one.add(topic_name, 0)
    one.produce(topic_name, [b"a", b"b"])
    one.finish(commit=True)
    assert values(read_partition(broker, topic_name, 2)) == [b"a", b"b"]
    assert stored_codecs(asking, topic_name) == {0, 1}, "the marker is not compressed"


def test_what_is_too_large_uncompressed_is_refused(broker: Broker, connection: Connection, topic_name: str) -> None:
    create_topic(broker, topic_name, compression_type="uncompressed", max_message_bytes="2000")
    assert produce_batch(connection, topic_name, batch([bytes(3000)], codec=1)).error == MESSAGE_TOO_LARGE


def test_what_counts_against_the_size_of_a_segment_is_what_is_kept(
    broker: Broker, connection: Connection, topic_name: str
) -> None:
    create_topic(broker, topic_name, compression_type="uncompressed", internal_segment_bytes="2000")
    assert produce_batch(connection, topic_name, batch([bytes(3000)], codec=1)).error == RECORD_LIST_TOO_LARGE
    create_topic(broker, f"{topic_name}-gzip", compression_type="gzip", internal_segment_bytes="2000")
    assert produce_batch(connection, f"{topic_name}-gzip", batch([bytes(3000)])).error == NONE
