"""Contract: aiokafka, the other family of Python clients, works unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError, TopicAlreadyExistsError

from ottla.testing import Broker
from tests.contracts.clients import HOUR_AGO_MS, PATIENCE_S, create_topic, produce, read_partition, values


@pytest.fixture
async def producer(broker: Broker) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as started:
        yield started


def group_consumer(broker: Broker, topic: str, group: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap_servers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        heartbeat_interval_ms=200,
        metadata_max_age_ms=2_000,
    )


async def take(consumer: AIOKafkaConsumer, count: int) -> list[bytes | None]:
    async with asyncio.timeout(PATIENCE_S):
        return [(await consumer.getone()).value for _ in range(count)]


async def test_what_it_produces_it_consumes_in_order(broker: Broker, topic: str, producer: AIOKafkaProducer) -> None:
    sent = [b"v%d" % number for number in range(300)]
    for sending in [await producer.send(topic, value) for value in sent]:
        await sending
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest"
    ) as consumer:
        assert await take(consumer, 300) == sent


async def test_an_acknowledgement_names_partition_offset_and_time(topic: str, producer: AIOKafkaProducer) -> None:
    first = await producer.send_and_wait(topic, b"a", timestamp_ms=HOUR_AGO_MS)
    second = await producer.send_and_wait(topic, b"b")
    assert (first.partition, first.offset, first.timestamp) == (0, 0, HOUR_AGO_MS)
    assert second.offset == 1


async def test_an_idempotent_producer_is_served(broker: Broker, topic: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, enable_idempotence=True) as producer:
        for number in range(50):
            await producer.send(topic, b"v%d" % number)
    assert values(read_partition(broker, topic, 50)) == [b"v%d" % number for number in range(50)]


async def test_librdkafka_reads_what_aiokafka_compressed(broker: Broker, topic: str) -> None:
    sent = [b"value " * 50 + b"%d" % number for number in range(100)]
    async with AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, compression_type="gzip", linger_ms=20
    ) as producer:
        for value in sent:
            await producer.send(topic, value, key=b"k", headers=[("h", b"1")])
    records = read_partition(broker, topic, 100)
    assert values(records) == sent
    assert (records[0].key(), records[0].headers()) == (b"k", [("h", b"1")])


async def test_aiokafka_reads_what_librdkafka_compressed(broker: Broker, topic: str) -> None:
    sent = [b"value " * 50 + b"%d" % number for number in range(100)]
    produce(broker, topic, sent, compression_type="gzip", linger_ms=20)
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest"
    ) as consumer:
        assert await take(consumer, 100) == sent


async def test_a_record_that_is_too_large_is_refused(broker: Broker, topic_name: str) -> None:
    create_topic(broker, topic_name, max_message_bytes="1000")
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic_name, b"x" * 2000)


async def test_two_members_share_a_topic(broker: Broker, topic_of_3: str, group_name: str) -> None:
    first, second = (group_consumer(broker, topic_of_3, group_name) for _ in range(2))
    async with first, second, asyncio.timeout(PATIENCE_S):
        while sorted((len(first.assignment()), len(second.assignment()))) != [1, 2]:
            await asyncio.gather(first.getmany(timeout_ms=50), second.getmany(timeout_ms=50))


async def test_a_group_goes_on_where_it_committed(
    broker: Broker, topic: str, group_name: str, producer: AIOKafkaProducer
) -> None:
    for number in range(3):
        await producer.send_and_wait(topic, b"v%d" % number)
    async with group_consumer(broker, topic, group_name) as consumer:
        assert await take(consumer, 2) == [b"v0", b"v1"]
        await consumer.commit()
    async with group_consumer(broker, topic, group_name) as consumer:
        assert await consumer.committed(TopicPartition(topic, 0)) == 2
        assert await take(consumer, 1) == [b"v2"]


async def test_offsets_are_found_by_time_and_meaning(broker: Broker, topic: str, producer: AIOKafkaProducer) -> None:
    for number in range(5):
        await producer.send_and_wait(topic, b"v", timestamp_ms=HOUR_AGO_MS + number * 1000)
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers) as consumer:
        partition = TopicPartition(topic, 0)
        assert await consumer.beginning_offsets([partition]) == {partition: 0}
        assert await consumer.end_offsets([partition]) == {partition: 5}
        found = await consumer.offsets_for_times({partition: HOUR_AGO_MS + 2500})
        assert found[partition].offset == 3


async def test_a_waiting_consumer_gets_a_new_record(broker: Broker, topic: str, producer: AIOKafkaProducer) -> None:
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest", fetch_max_wait_ms=10_000
    ) as consumer:
        waiting = asyncio.create_task(take(consumer, 1))
        await producer.send_and_wait(topic, b"at last")
        assert await waiting == [b"at last"]


async def test_the_administrator_creates_lists_and_deletes_topics(broker: Broker, topic_name: str) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await client.start()
    try:
        await client.create_topics([NewTopic(topic_name, 2, 1)])
        with pytest.raises(TopicAlreadyExistsError):
            _raise_for(await client.create_topics([NewTopic(topic_name, 2, 1)]))
        async with asyncio.timeout(PATIENCE_S):
            while topic_name not in await client.list_topics():
                pass
            await client.delete_topics([topic_name])
            while topic_name in await client.list_topics():
                pass
    finally:
        await client.close()


def _raise_for(response: object) -> None:
    from aiokafka.errors import for_code

    for _, code, *_ in response.topic_errors:  # type: ignore[attr-defined]
        if code:
            raise for_code(code)
