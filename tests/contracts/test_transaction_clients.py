"""Contract: clients transact: librdkafka, aiokafka, and Java with its tools, which speak transaction.version 2."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as AioPartition
from aiokafka.errors import ProducerFenced
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from ottla.errors import ServerFailed
from ottla.testing import Broker, KafkaHome
from tests.conftest import IN_CI
from tests.contracts.asking import Asking
from tests.contracts.clients import consumer, create_topic, produce, producer, read, values, wait_until
from tests.contracts.transactor import Transactor, committed, fetch

COPIER = "org.apache.kafka.tools.TransactionalMessageCopier"
TRANSACTIONS = "org.apache.kafka.tools.TransactionsCommand"
CALL_S = 20.0


@pytest.fixture
def asking(broker: Broker) -> Iterator[Asking]:
    with Asking(broker) as opened:
        yield opened


@pytest.fixture
def java() -> KafkaHome:
    try:
        return KafkaHome.find()
    except ServerFailed as missing:
        (pytest.fail if IN_CI else pytest.skip)(str(missing))


def transactional(broker: Broker, name: str) -> Producer:
    client = producer(broker, transactional_id=f"x-{name}")
    client.init_transactions(CALL_S)
    return client


def committed_records(broker: Broker, topic: str, count: int) -> list[bytes | None]:
    with consumer(broker, isolation_level="read_committed") as client:
        client.assign([TopicPartition(topic, 0, 0)])
        return values(read(client, count))


# --- librdkafka ---


def test_librdkafka_reads_what_was_committed_only(broker: Broker, topic: str) -> None:
    client = transactional(broker, topic)
    for number, commit in enumerate((True, False, True)):
        client.begin_transaction()
        for letter in "abc":
            client.produce(topic, f"{number}{letter}".encode())
        client.flush(CALL_S)
        if commit:
            client.commit_transaction(CALL_S)
        else:
            client.abort_transaction(CALL_S)
    assert committed_records(broker, topic, 6) == [b"0a", b"0b", b"0c", b"2a", b"2b", b"2c"]


def test_librdkafka_fences_the_producer_before(broker: Broker, topic: str) -> None:
    first = transactional(broker, topic)
    first.begin_transaction()
    first.produce(topic, b"of the first")
    first.flush(CALL_S)
    second = transactional(broker, topic)
    second.begin_transaction()
    second.produce(topic, b"of the second")
    second.commit_transaction(CALL_S)
    with pytest.raises(KafkaException) as failure:
        first.commit_transaction(CALL_S)
    assert failure.value.args[0].fatal()
    assert committed_records(broker, topic, 1) == [b"of the second"]


def test_librdkafka_consumes_transforms_and_produces_exactly_once(
    broker: Broker, topic_of_3: str, group_name: str
) -> None:
    target = create_topic(broker, f"{topic_of_3}-copy")
    for partition in range(3):
        produce(broker, topic_of_3, [b"%d-%d" % (partition, n) for n in range(40)], partition=partition)
    client = transactional(broker, target)
    with consumer(broker, group_name, isolation_level="read_committed") as source:
        source.subscribe([topic_of_3])
        copied = rounds = 0
        while copied < 120:
            records = source.consume(15, 0.5)
            if not records:
                continue
            rounds += 1
            client.begin_transaction()
            for record in records:
                client.produce(target, record.value())
            client.send_offsets_to_transaction(
                source.position(source.assignment()), source.consumer_group_metadata(), CALL_S
            )
            if rounds % 3:
                client.commit_transaction(CALL_S)
                copied += len(records)
                continue
            client.flush(CALL_S)
            client.abort_transaction(CALL_S)
            for found in source.committed(source.assignment(), timeout=CALL_S):
                source.seek(TopicPartition(found.topic, found.partition, max(found.offset, 0)))
        offsets = source.committed([TopicPartition(topic_of_3, n) for n in range(3)], timeout=CALL_S)
    copies = committed_records(broker, target, 120)
    assert sorted(map(str, copies)) == sorted(str(b"%d-%d" % (p, n)) for p in range(3) for n in range(40))
    for partition in range(3):
        own = [value for value in copies if value and value.startswith(b"%d-" % partition)]
        assert own == [b"%d-%d" % (partition, n) for n in range(40)]
    assert [found.offset for found in offsets] == [40, 40, 40]


def test_a_consumer_waits_for_offsets_that_are_part_of_a_transaction(
    broker: Broker, topic: str, group_name: str
) -> None:
    client = transactional(broker, topic)
    with consumer(broker, group_name) as member:
        member.subscribe([topic])
        wait_until(lambda: member.poll(0.05) or member.assignment(), what="it has its partition")
        client.begin_transaction()
        client.produce(topic, b"v")
        offsets = [TopicPartition(topic, 0, 17)]
        client.send_offsets_to_transaction(offsets, member.consumer_group_metadata(), CALL_S)
    other = Consumer(
        {"bootstrap.servers": broker.bootstrap_servers, "group.id": group_name, "isolation.level": "read_committed"}
    )
    with pytest.raises(KafkaException):
        other.committed([TopicPartition(topic, 0)], timeout=0.5)
    client.commit_transaction(CALL_S)
    assert other.committed([TopicPartition(topic, 0)], timeout=CALL_S)[0].offset == 17
    other.close()


# --- aiokafka ---


async def test_aiokafka_transacts_with_offsets(broker: Broker, topic: str, group_name: str, asking: Asking) -> None:
    settings = {"bootstrap_servers": broker.bootstrap_servers}
    async with AIOKafkaProducer(transactional_id=f"x-{topic}", **settings) as client:
        async with client.transaction():
            await client.send_and_wait(topic, b"committed")
            await client.send_offsets_to_transaction({AioPartition(topic, 0): 5}, group_name)
        await client.begin_transaction()
        await client.send_and_wait(topic, b"aborted")
        await client.send_offsets_to_transaction({AioPartition(topic, 0): 9}, group_name)
        await client.abort_transaction()
        async with client.transaction():
            await client.send_and_wait(topic, b"committed too")
    reader = AIOKafkaConsumer(isolation_level="read_committed", auto_offset_reset="earliest", **settings)
    async with reader:
        reader.assign([AioPartition(topic, 0)])
        found = [(await reader.getone()).value for _ in range(2)]
    assert found == [b"committed", b"committed too"]
    wait_until(lambda: committed(asking, group_name, topic) == (0, 5), what="the offset is stable")


async def test_aiokafka_is_fenced_by_the_next_producer(broker: Broker, topic: str) -> None:
    settings = {"bootstrap_servers": broker.bootstrap_servers, "transactional_id": f"x-{topic}"}
    async with AIOKafkaProducer(**settings) as first:
        await first.begin_transaction()
        await first.send_and_wait(topic, b"of the first")
        async with AIOKafkaProducer(**settings):
            with pytest.raises(ProducerFenced):
                await first.commit_transaction()


# --- Java ---


def test_java_copies_in_transactions_exactly_once(
    java: KafkaHome, broker: Broker, topic: str, group_name: str, asking: Asking
) -> None:
    target = create_topic(broker, f"{topic}-copy")
    produce(broker, topic, [b"%d" % n for n in range(200)])
    done = java.run(
        COPIER, "--broker-list", broker.bootstrap_servers, "--input-topic", topic, "--input-partition", "0",
        "--output-topic", target, "--max-messages", "200", "--consumer-group", group_name, "--transaction-size", "23",
        "--transactional-id", f"x-{topic}", "--enable-random-aborts", "--use-group-metadata", timeout_s=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
    assert last["totalProcessed"] == "200" or last["totalProcessed"] == 200
    assert committed_records(broker, target, 200) == [b"%d" % n for n in range(200)]
    wait_until(lambda: committed(asking, group_name, topic) == (0, 200), what="the offset is stable")
    # Each end gave it a new epoch, as transaction.version 2 has it.
    assert Transactor(asking, f"x-{topic}").describe()["producer_epoch"] >= 200 // 23


def test_javas_tool_lists_describes_and_aborts_transactions(
    java: KafkaHome, broker: Broker, topic: str, asking: Asking
) -> None:
    one = Transactor(asking, f"x-{topic}").begin()
    one.add(topic, 0)
    one.produce(topic)

    def tool(*arguments: str) -> list[list[str]]:
        done = java.run(TRANSACTIONS, "--bootstrap-server", broker.bootstrap_servers, *arguments, timeout_s=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return [line.split() for line in done.stdout.splitlines() if line.strip()]

    assert [one.id, "1", str(one.producer_id), "Ongoing"] in tool("list")
    (described,) = [line for line in tool("describe", "--transactional-id", one.id) if one.id in line]
    assert described[:5] == ["1", one.id, str(one.producer_id), "0", "Ongoing"]
    assert described[-1] == f"{topic}-0"
    _, writer = tool("describe-producers", "--topic", topic, "--partition", "0")
    assert (writer[0], writer[1], writer[-1]) == (str(one.producer_id), "0", "0")
    assert not [line for line in tool("find-hanging", "--broker-id", "1") if topic in line]
    tool("abort", "--topic", topic, "--partition", "0", "--start-offset", "0")
    assert fetch(asking, topic).batches == [(0, "data"), (1, "abort")]
