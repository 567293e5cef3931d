"""One stream program under measurement: started, warmed up, given records, watched, checked.

Records of a round are written in one transaction and let loose by its commit: all programs read committed records
only, so the clock starts for a program that runs, has its partitions, and waits. It stops when every total that must
come is in the output topic, committed; for workloads that give one result per order, when the group's committed
offsets are behind the last record. CPU time is that of all processes of the program, user and system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from bench.streamers.job import CUSTOMER_TOTALS, JOIN, PARTITIONS, WINDOWED, Job
from bench.streams_orders import OrderResult, Orders
from bench.targets import cpu_seconds
from bench.workloads import CLIENT, BenchFailed
from ottla.serde.deserializer import Deserializer

ROOT = Path(__file__).parent.parent
TRANSACTION_MS = 800_000
LOOK_S = 0.02
STUCK_S = 180.0
SETTLED_S = 2.0
CORES = os.cpu_count() or 1
STOP_S = 20.0
KEPT = {"retention.ms": "-1"}
"""The orders are years old."""


@dataclass(frozen=True)
class Round:
    """What a program did with the records of a round."""

    seconds: float
    cpu: float
    broker_cpu: float
    records: int

    @property
    def per_second(self) -> float:
        return self.records / self.seconds

    @property
    def cpu_us(self) -> float:
        return self.cpu / self.records * 1e6

    @property
    def broker_us(self) -> float:
        return self.broker_cpu / self.records * 1e6


@dataclass
class Racer:
    """A program with topics of its own.

    Args:
        name: In the tables.
        commands: Its processes.
        job: What it does.
        orders: What it is given in each round.
        broker_pid: Whose CPU time is looked at besides.
        deserializer: Reads results.
        warm_ups: Rounds that do not count: a JVM compiles what it runs often.
    """

    name: str
    commands: Sequence[Sequence[str]]
    job: Job
    orders: Orders
    broker_pid: int
    deserializer: Deserializer
    warm_ups: int = 1
    rounds: list[Round] = field(default_factory=list)
    _number: int = 0
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Racer:
        job = self.job
        self._admin = AdminClient({**CLIENT, "bootstrap.servers": job.bootstrap})
        self._topics = [job.orders, job.customers, job.output]
        made = self._admin.create_topics([NewTopic(name, PARTITIONS, 1, config=KEPT) for name in self._topics])
        for future in made.values():
            future.result(30)
        self._producer = Producer(
            {
                **CLIENT,
                "bootstrap.servers": job.bootstrap,
                "transactional.id": f"fill-{uuid.uuid4().hex[:12]}",
                "transaction.timeout.ms": TRANSACTION_MS,
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self._producer.init_transactions(60)
        self._output = Consumer(
            {
                **CLIENT,
                "bootstrap.servers": job.bootstrap,
                "group.id": "bench-output",
                "isolation.level": "read_committed",
                "fetch.queue.backoff.ms": 5,
                "enable.auto.commit": False,
            }
        )
        self._output.assign([TopicPartition(job.output, number, 0) for number in range(PARTITIONS)])
        if job.workload == JOIN:
            self._write(job.customers, ((key, value, 1) for key, value in self.orders.customers))
        self._log = Path(tempfile.mkdtemp(prefix="ottla-streams-")) / "log"
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._output.close()
        mine = [name for name in self._admin.list_topics(timeout=10).topics if self._is_mine(name)]
        for future in self._admin.delete_topics(mine).values():
            future.result(30)
        shutil.rmtree(self._log.parent, ignore_errors=True)
        shutil.rmtree(self.job.state_dir, ignore_errors=True)

    def _is_mine(self, name: str) -> bool:
        return self.job.application in name

    # ------------------------------------------------------------------ the race

    def warm_up(self) -> None:
        """Starts the program, lets all of it join the group, and gives it rounds that do not count."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        with self._log.open("ab") as log:
            self._processes = [
                subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                for command in self.commands
            ]
        self._joined()
        for _ in range(self.warm_ups):
            self._fill()
            self._producer.commit_transaction(60)
            self._await()

    def round(self) -> Round:
        """One measured round. Raises BenchFailed if it is not done in time, or ends otherwise than it must."""
        self._fill()
        time.sleep(0.3)
        cpu, broker = self._cpu(), cpu_seconds(self.broker_pid)
        began = time.perf_counter()
        self._producer.commit_transaction(60)
        self._await()
        seconds = time.perf_counter() - began
        time.sleep(0.2)  # what it does behind the last commit belongs to it too
        done = Round(seconds, self._cpu() - cpu, cpu_seconds(self.broker_pid) - broker, len(self.orders.values))
        self.rounds.append(done)
        return done

    def stop(self) -> None:
        """Ends the program."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def check(self) -> None:
        """Looks through the whole output once the program has ended. Raises BenchFailed if it is not as it must be."""
        self.stop()
        if self._adds_up:
            expected = self.orders.totals(self.job.workload, self._number)
            found = {message.key(): _cents(message.value()) for message in self._all_results()}
            wrong = [key for key, cents in expected.items() if found.get(key) != cents]
            if wrong:
                raise BenchFailed(
                    f"{self.name}, {self.job.workload}: {len(wrong)} of {len(expected)} totals are wrong: "
                    f"{wrong[0]!r} is {found.get(wrong[0])}, not {expected[wrong[0]]} cents"
                )
            return
        count, cents = self.orders.results(self.job.workload)
        found = self._results_counted()
        if found != (count * self._number, cents * self._number):
            raise BenchFailed(
                f"{self.name}, {self.job.workload}: {found[0]} results of {found[1]} cents, "
                f"not {count * self._number} of {cents * self._number}"
            )

    def _results_counted(self) -> tuple[int, int]:
        """How many results there are, and what they add up to in cents."""
        count = cents = 0
        messages = self._all_results()
        while values := [message.value() for message in islice(messages, 10_000)]:
            results = self.deserializer.decode_many(values, OrderResult)
            count += len(results)
            cents += sum(round(result.total_amount * 100) for result in results)
        return count, cents

    # ------------------------------------------------------------------ steps

    @property
    def _adds_up(self) -> bool:
        return self.job.workload in (CUSTOMER_TOTALS, WINDOWED)

    def _fill(self) -> None:
        """Writes the next round's records, which nobody sees before the commit."""
        self._write(self.job.orders, self.orders.records(self.job.workload, self._number), commit=False)
        self._number += 1
        if self._adds_up:
            self._missing = self.orders.totals(self.job.workload, self._number)
        else:
            self._behind = self._ends()

    def _ends(self) -> dict[int, int]:
        """Where the orders end, with those that nobody sees yet."""
        asked = {TopicPartition(self.job.orders, number): OffsetSpec.latest() for number in range(PARTITIONS)}
        answers = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return {place.partition: answer.result(10).offset for place, answer in answers.items()}

    def _write(self, topic: str, records: Iterable[tuple[bytes, bytes, int]], *, commit: bool = True) -> None:
        self._producer.begin_transaction()
        produce: Any = self._producer.produce
        for key, value, time_ms in records:
            while True:
                try:
                    produce(topic, value, key, timestamp=time_ms)
                    break
                except BufferError:
                    self._producer.poll(0.05)
        if self._producer.flush(120):
            raise BenchFailed(f"{topic} could not be filled")
        if commit:
            self._producer.commit_transaction(60)

    def _joined(self) -> None:
        """Waits until the group has its members and has had them for a while."""
        deadline, since = time.monotonic() + STUCK_S, time.monotonic()
        while time.monotonic() - since < SETTLED_S:
            self._look_out(deadline, "does not settle in its group")
            time.sleep(0.2)
            try:
                group = self._admin.describe_consumer_groups([self.job.application])[self.job.application].result(10)
                settled = group.state == ConsumerGroupState.STABLE and len(group.members) >= CORES
            except KafkaException:
                settled = False  # there is no such group yet
            since = since if settled else time.monotonic()

    def _await(self) -> None:
        deadline = time.monotonic() + STUCK_S
        while not (self._totals_are_there() if self._adds_up else self._offsets_are_there()):
            missing = f" ({len(self._missing)} totals are missing)" if self._adds_up else ""
            self._look_out(deadline, f"is not done after {STUCK_S:g} s{missing}")

    def _look_out(self, deadline: float, what: str) -> None:
        """Raises BenchFailed where the program has ended or time has run out."""
        ended = [process.returncode for process in self._processes if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            why = f"ended with status {ended[0]}" if ended else what
            raise BenchFailed(f"{self.name}, {self.job.workload}, {self.job.guarantee}: {why}\n{self._told()}")

    def _totals_are_there(self) -> bool:
        missing = self._missing
        for message in self._output.consume(10_000, LOOK_S):
            # All amounts are positive: a total never comes by twice.
            if message.error() is None and missing.get(key := message.key()) == _cents(message.value()):
                del missing[key]
        return not missing

    def _offsets_are_there(self) -> bool:
        time.sleep(LOOK_S)
        wanted = [TopicPartition(self.job.orders, number) for number in range(PARTITIONS)]
        asked = [ConsumerGroupTopicPartitions(self.job.application, wanted)]
        try:
            answer = self._admin.list_consumer_group_offsets(asked)[self.job.application].result(10)
        except KafkaException:
            return False  # there is no such group yet
        return all(one.offset >= self._behind[one.partition] for one in answer.topic_partitions or [])

    def _all_results(self) -> Iterator[Any]:
        places = [TopicPartition(self.job.output, number, 0) for number in range(PARTITIONS)]
        ends = {place.partition: self._output.get_watermark_offsets(place, timeout=10)[1] for place in places}
        self._output.assign(places)
        at: dict[int, int] = {}
        while any(at.get(partition, 0) < end for partition, end in ends.items()):
            for message in self._output.consume(10_000, 0.05):
                if message.error() is None:
                    yield message
            # Marks of transactions are no records: the position moves over them.
            at = {place.partition: max(0, place.offset) for place in self._output.position(places)}
            if not self._output.assignment():
                break

    def _cpu(self) -> float:
        return sum(cpu_seconds(process.pid) for process in self._processes)

    def _told(self) -> str:
        return self._log.read_text("utf-8", "replace")[-3000:]


def _cents(value: bytes) -> int:
    return int(Decimal(value.decode()).scaleb(2))
