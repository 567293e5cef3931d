"""The broker as a process, and through real clients."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ottla.testing import EmbeddedBroker

PATIENCE_S = 20.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path / "data") as running:
        yield running


def spawn(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ottla.broker", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ready(process: subprocess.Popen[str]) -> int:
    """Waits for the ready line; gives the port."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("broker ready on 127.0.0.1:"), line
    return int(line.rpartition(":")[2])


def create(broker: EmbeddedBroker, topic: str, partitions: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(PATIENCE_S)


def read(consumer: Consumer, count: int) -> list[Message]:
    found: list[Message] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < deadline:
        for message in consumer.consume(count - len(found), 0.5):
            assert message.error() is None, message.error()
            found.append(message)
    return found


def test_it_says_when_it_is_ready_and_stops_on_sigterm_within_a_second(tmp_path: Path) -> None:
    process = spawn("--data", str(tmp_path), "--port", "0")
    port = ready(process)
    socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S).close()
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "", "")
    assert time.monotonic() - begun < 1


def test_without_a_folder_it_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "ottla.broker", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    ready(process)
    assert len(list(tmp_path.iterdir())) == 1
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_busy_port_is_named_with_the_option_that_changes_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = spawn("--data", str(tmp_path), "--port", str(port))
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert f"port {port} on 127.0.0.1 is already in use" in err
    assert "--port" in err


def test_a_second_process_on_one_folder_is_refused(broker: EmbeddedBroker) -> None:
    process = spawn("--data", str(broker.data_dir), "--port", "0")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert f"in use by another broker (process {broker.pid})" in err


def flip_a_bit(broker: EmbeddedBroker) -> Path:
    (path,) = broker.data_dir.glob("logs/*/0/*.log")
    data = bytearray(path.read_bytes())
    data[65] ^= 1
    path.write_bytes(data)
    return path


def produce_three(broker: EmbeddedBroker) -> None:
    create(broker, "t")
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 0})
    for number in range(3):
        producer.produce("t", b"value %d" % number)
        assert producer.flush(PATIENCE_S) == 0


def test_a_log_damaged_behind_its_checkpoint_is_named_with_file_and_position(broker: EmbeddedBroker) -> None:
    produce_three(broker)
    broker.kill()
    path = flip_a_bit(broker)
    process = spawn("--data", str(broker.data_dir), "--port", "0")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert f"{path}, position 0" in err


def test_records_damaged_before_the_checkpoint_are_reported_after_the_start_and_never_served(
    broker: EmbeddedBroker,
) -> None:
    produce_three(broker)
    broker.stop()
    path = flip_a_bit(broker)
    broker.start()
    deadline = time.monotonic() + PATIENCE_S
    while f"{path}, position 0" not in broker.log_path.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert f"{path}, position 0: the batch does not match its checksum or its place" in broker.log_path.read_text()
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "g", "log_level": 0})
    consumer.assign([TopicPartition("t", 0, 0)])
    message = consumer.poll(PATIENCE_S)
    consumer.close()
    assert message is not None
    error = message.error()
    assert error is not None
    assert error.code() == KafkaError.INVALID_MSG  # as librdkafka calls CORRUPT_MESSAGE


def test_confluent_kafka_produces_and_a_group_goes_on_after_kill_9(broker: EmbeddedBroker) -> None:
    create(broker, "t", 3)
    settings = {"bootstrap.servers": broker.bootstrap_servers, "log_level": 0, "reconnect.backoff.max.ms": 200}
    producer = Producer(settings | {"enable.idempotence": True, "compression.type": "lz4"})
    consumer = Consumer(settings | {"group.id": "g", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe(["t"])
    for number in range(300):
        producer.produce("t", str(number).encode(), partition=number % 3)
    assert producer.flush(PATIENCE_S) == 0
    assert len(read(consumer, 300)) == 300
    consumer.commit(asynchronous=False)
    broker.kill()
    for number in range(300, 600):
        producer.produce("t", str(number).encode(), partition=number % 3)
    broker.restart()
    assert producer.flush(PATIENCE_S) == 0
    again = read(consumer, 300)
    assert sorted(int(message.value() or b"") for message in again) == list(range(300, 600))
    for partition in range(3):
        numbers = [int(message.value() or b"") for message in again if message.partition() == partition]
        assert numbers == sorted(numbers)
    # The member that was there before the kill may still commit: its generation was kept.
    consumer.commit(asynchronous=False)
    committed = consumer.committed([TopicPartition("t", partition) for partition in range(3)], timeout=PATIENCE_S)
    assert [partition.offset for partition in committed] == [200, 200, 200]
    consumer.close()


async def test_aiokafka_produces_and_two_consumers_share_a_group(broker: EmbeddedBroker) -> None:
    await asyncio.to_thread(create, broker, "t", 4)
    server = {"bootstrap_servers": broker.bootstrap_servers}
    first, second = (
        AIOKafkaConsumer("t", **server, group_id="g", auto_offset_reset="earliest", heartbeat_interval_ms=200)
        for _ in range(2)
    )
    producer = AIOKafkaProducer(**server, enable_idempotence=True, compression_type="gzip")
    await asyncio.gather(producer.start(), first.start(), second.start())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not len(first.assignment()) == len(second.assignment()) == 2:
                await asyncio.gather(first.getmany(timeout_ms=50), second.getmany(timeout_ms=50))
            sent = [producer.send_and_wait("t", b"%d" % n, partition=n % 4) for n in range(100)]
            await asyncio.gather(*sent)
            values: list[int] = []
            while len(values) < 100:
                for batches in await asyncio.gather(first.getmany(timeout_ms=50), second.getmany(timeout_ms=50)):
                    values += [int(record.value) for records in batches.values() for record in records]
        assert sorted(values) == list(range(100))
    finally:
        await asyncio.gather(producer.stop(), first.stop(), second.stop())
