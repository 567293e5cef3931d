"""Topics full of orders, and consumer programs run against them: what `bench listener` and `bench peers` share."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from bench.consumers.job import Job
from bench.retail import OrderCreated, OrderSeen, orders
from bench.workloads import CLIENT, BenchFailed, topic
from ottla.events import Envelope, envelope_headers, event_type, new_event_id
from ottla.registry import RegistryClient
from ottla.serde.serializer import Serializer

ROOT = Path(__file__).parent.parent
PROGRAM_SECONDS = 900
TOPIC, SEEN_TOPIC = event_type(OrderCreated).topic, event_type(OrderSeen).topic


@dataclass(frozen=True)
class Program:
    """A consumer program.

    Attributes:
        name: In the tables.
        module: In bench.consumers.
        kind: Its own argument, if any.
        share: It gets so much of the topic (a slow one need not read all of it).
        python: The interpreter it runs in.
    """

    name: str
    module: str
    kind: str = ""
    share: float = 1.0
    python: str = sys.executable

    def command(self, job: Job) -> list[str]:
        """What to run for a job."""
        return [self.python, "-m", f"bench.consumers.{self.module}", job.argument(), self.kind]


@dataclass(frozen=True)
class Spring(Program):
    """spring-kafka, as `java` says how to run it."""

    java: tuple[str, ...] = ()

    def command(self, job: Job) -> list[str]:
        place = [job.bootstrap, job.topic, str(job.partitions), job.group, str(job.records)]
        return [*self.java, *place, job.schema, self.kind]


@dataclass(frozen=True)
class Outcome:
    """What a program did: records per second, and microseconds of CPU for each (all threads)."""

    per_second: float
    cpu_us: float


@contextmanager
def full_topic(bootstrap: str, registry: str, partitions: int, records: int, file: Path | None) -> Iterator[Job]:
    """A topic with so many orders, deleted afterwards; gives what a program needs to know."""
    serializer = Serializer(RegistryClient(registry))
    with topic(bootstrap, partitions, TOPIC) as name, topic(bootstrap, partitions, SEEN_TOPIC):
        producer = Producer({**CLIENT, "bootstrap.servers": bootstrap, "linger.ms": 20, "enable.idempotence": True})
        kind, started = event_type(OrderCreated).name, datetime.now(UTC)
        for order in orders(records, file):
            value, identity = serializer.encode(order, name), new_event_id()
            headers: Any = envelope_headers(Envelope(identity, kind, "/bench", started, identity))
            while True:
                try:
                    producer.produce(name, value, order.order_id.encode(), headers=headers)
                    break
                except BufferError:
                    producer.poll(0.05)
        if producer.flush(120):
            raise BenchFailed(f"{name} could not be filled")
        yield Job(bootstrap, registry, name, partitions, "", records, serializer.schema_text(OrderCreated))


def run_program(program: Program, job: Job, **changes: Any) -> Outcome:
    """Lets a program read a topic, in a group of its own, and looks that the group's offsets are there.

    Raises:
        BenchFailed: It did not do it, or did not commit what it handled.
    """
    records = int(job.records * program.share)
    job = replace(job, group=f"bench-{uuid.uuid4().hex[:12]}", records=records, **changes)
    command = program.command(job)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        raise BenchFailed(f"{program.name} failed with status {done.returncode}:\n{done.stdout}{done.stderr[-4000:]}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    if program.share == 1.0 and (found := committed(job)) < records:
        raise BenchFailed(f"{program.name} committed {found} of {records} records")
    return Outcome(answer["records"] / answer["seconds"], answer["cpu"] / answer["records"] * 1e6)


def committed(job: Job) -> int:
    """Records that the group has committed, by its offsets."""
    admin = AdminClient({**CLIENT, "bootstrap.servers": job.bootstrap})
    wanted = ConsumerGroupTopicPartitions(job.group, [TopicPartition(job.topic, n) for n in range(job.partitions)])
    found = admin.list_consumer_group_offsets([wanted])[job.group].result(30)
    return sum(max(0, one.offset) for one in found.topic_partitions or [])
