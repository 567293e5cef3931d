"""The scenario in Python: confluent-kafka, aiokafka and kafka-python."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiokafka
import confluent_kafka
from kafka.structs import OffsetAndMetadata

import kafka
from tests.clients.scenario import PARTITIONS, Consumed, Plan, Report

PATIENCE_S = 30.0


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode()


# --- confluent-kafka ---


def run_confluent_kafka(plan: Plan) -> Report:
    acknowledged = _confluent_produce(plan)
    consumed = _confluent_consume(plan)
    _confluent_transact(plan)
    return Report(consumed, acknowledged, transacted=True, aborted=True, offsets_in_transaction=True)


def _confluent_produce(plan: Plan) -> list[tuple[int, int, int]]:
    acknowledged: list[tuple[int, int, int]] = []

    def delivered(error: Any, message: confluent_kafka.Message) -> None:
        assert error is None, error
        n = int((message.key() or b"").removeprefix(b"key-"))
        acknowledged.append((n, message.partition() or 0, message.offset() or 0))

    producer = confluent_kafka.Producer(
        {"bootstrap.servers": plan.bootstrap, "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 5}
    )
    for n in range(plan.count):
        text = str(n)
        producer.produce(
            plan.topic, f"value-{n}", f"key-{n}", n % PARTITIONS, headers=[("n", text)], on_delivery=delivered
        )
    assert producer.flush(PATIENCE_S) == 0
    return acknowledged


def _confluent_consumer(plan: Plan, group: str) -> confluent_kafka.Consumer:
    settings = {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = confluent_kafka.Consumer({"bootstrap.servers": plan.bootstrap, **settings})
    consumer.subscribe([plan.topic])
    return consumer


def _confluent_read(consumer: confluent_kafka.Consumer, count: int) -> list[confluent_kafka.Message]:
    messages: list[confluent_kafka.Message] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(messages) < count and time.monotonic() < deadline:
        for message in consumer.consume(count - len(messages), 0.2):
            assert message.error() is None, message.error()
            messages.append(message)
    assert len(messages) == count
    return messages


def _confluent_consume(plan: Plan) -> list[Consumed]:
    consumer = _confluent_consumer(plan, plan.group)
    messages = _confluent_read(consumer, plan.count)
    consumer.commit(asynchronous=False)
    consumer.close()
    return [
        Consumed(m.partition() or 0, m.offset() or 0, _text(m.key()), str(_text(m.value())), _text(m.headers()[0][1]))
        for m in messages
    ]


def _confluent_transact(plan: Plan) -> None:
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": plan.bootstrap, "transactional.id": plan.transactional_id}
    )
    producer.init_transactions(PATIENCE_S)
    consumer = _confluent_consumer(plan, plan.transactional_group)
    messages = _confluent_read(consumer, plan.count)
    step = plan.count // 3
    for commit, part in (
        (False, messages[:step]),
        *((True, messages[i : i + step]) for i in range(0, plan.count, step)),
    ):
        producer.begin_transaction()
        for message in part:
            producer.produce(plan.copies, b"copy of " + (message.value() or b""), partition=message.partition() or 0)
        nexts = {message.partition(): (message.offset() or 0) + 1 for message in part}
        offsets = [confluent_kafka.TopicPartition(plan.topic, p or 0, offset) for p, offset in nexts.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), PATIENCE_S)
        producer.flush(PATIENCE_S)  # else an abort drops what was not sent yet, and the broker never sees it
        if commit:
            producer.commit_transaction(PATIENCE_S)
        else:
            producer.abort_transaction(PATIENCE_S)
    consumer.close()


# --- aiokafka ---


def run_aiokafka(plan: Plan) -> Report:
    return asyncio.run(_aiokafka(plan))


async def _aiokafka(plan: Plan) -> Report:
    async with asyncio.timeout(2 * PATIENCE_S):
        acknowledged = await _aiokafka_produce(plan)
        records = await _aiokafka_read(plan, plan.group)
        await _aiokafka_transact(plan)
    consumed = [
        Consumed(r.partition, r.offset, _text(r.key), str(_text(r.value)), _text(r.headers[0][1])) for r in records
    ]
    return Report(consumed, acknowledged, transacted=True, aborted=True, offsets_in_transaction=True)


async def _aiokafka_produce(plan: Plan) -> list[tuple[int, int, int]]:
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=plan.bootstrap, enable_idempotence=True, compression_type="gzip"
    )
    async with producer:
        waiting = [
            await producer.send(
                plan.topic,
                b"value-%d" % n,
                b"key-%d" % n,
                partition=n % PARTITIONS,
                headers=[("n", b"%d" % n)],
            )
            for n in range(plan.count)
        ]
        sent = await asyncio.gather(*waiting)
    return [(n, at.partition, at.offset) for n, at in enumerate(sent)]


async def _aiokafka_read(plan: Plan, group: str) -> list[Any]:
    consumer = aiokafka.AIOKafkaConsumer(
        plan.topic,
        bootstrap_servers=plan.bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    records: list[Any] = []
    async with consumer:
        while len(records) < plan.count:
            for found in (await consumer.getmany(timeout_ms=200)).values():
                records += found
        await consumer.commit()
    return records


async def _aiokafka_transact(plan: Plan) -> None:
    consumer = aiokafka.AIOKafkaConsumer(
        plan.topic,
        bootstrap_servers=plan.bootstrap,
        group_id=plan.transactional_group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=plan.bootstrap, transactional_id=plan.transactional_id)
    copied, aborted = 0, False
    async with consumer, producer:
        while copied < plan.count:
            found = await consumer.getmany(timeout_ms=200)
            if not found:
                continue
            for commit in (True,) if aborted else (False, True):
                await producer.begin_transaction()
                for at, records in found.items():
                    for record in records:
                        await producer.send(plan.copies, b"copy of " + record.value, partition=at.partition)
                offsets = {at: records[-1].offset + 1 for at, records in found.items()}
                await producer.flush()
                await producer.send_offsets_to_transaction(offsets, plan.transactional_group)
                await (producer.commit_transaction() if commit else producer.abort_transaction())
            aborted = True
            copied += sum(map(len, found.values()))


# --- kafka-python ---


def run_kafka_python(plan: Plan) -> Report:
    acknowledged = _kafka_python_produce(plan)
    consumer = _kafka_python_consumer(plan, plan.group)
    records = _kafka_python_read(consumer, plan.count)
    consumer.commit()
    consumer.close()
    _kafka_python_transact(plan)
    consumed = [
        Consumed(r.partition, r.offset, _text(r.key), str(_text(r.value)), _text(r.headers[0][1])) for r in records
    ]
    return Report(consumed, acknowledged, transacted=True, aborted=True, offsets_in_transaction=True)


def _kafka_python_produce(plan: Plan) -> list[tuple[int, int, int]]:
    producer = kafka.KafkaProducer(bootstrap_servers=plan.bootstrap, enable_idempotence=True, compression_type="gzip")
    waiting = [
        producer.send(plan.topic, b"value-%d" % n, b"key-%d" % n, headers=[("n", b"%d" % n)], partition=n % PARTITIONS)
        for n in range(plan.count)
    ]
    sent = [future.get(PATIENCE_S) for future in waiting]
    producer.close()
    return [(n, at.partition, at.offset) for n, at in enumerate(sent)]


def _kafka_python_consumer(plan: Plan, group: str) -> Any:
    return kafka.KafkaConsumer(
        plan.topic,
        bootstrap_servers=plan.bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )


def _kafka_python_read(consumer: Any, count: int) -> list[Any]:
    records: list[Any] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(records) < count and time.monotonic() < deadline:
        for found in consumer.poll(200).values():
            records += found
    assert len(records) == count
    return records


def _kafka_python_transact(plan: Plan) -> None:
    consumer = _kafka_python_consumer(plan, plan.transactional_group)
    records = _kafka_python_read(consumer, plan.count)
    producer = kafka.KafkaProducer(bootstrap_servers=plan.bootstrap, transactional_id=plan.transactional_id)
    producer.init_transactions()
    step = plan.count // 3
    for commit, part in ((False, records[:step]), *((True, records[i : i + step]) for i in range(0, plan.count, step))):
        producer.begin_transaction()
        for record in part:
            producer.send(plan.copies, b"copy of " + record.value, partition=record.partition)
        offsets = {
            kafka.TopicPartition(plan.topic, record.partition): OffsetAndMetadata(record.offset + 1, "", -1)
            for record in part
        }
        producer.send_offsets_to_transaction(offsets, consumer.group_metadata())
        producer.flush()  # else an abort drops what was not sent yet, and the broker never sees it
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    producer.close()
    consumer.close()
