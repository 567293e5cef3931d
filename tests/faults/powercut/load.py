"""What a broker is kept busy with while all it does to its files is written down, and what it promised meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.faults.powercut.disk import Disk, read_journal

PATIENCE_S = 30.0
PLAIN, KEYED, COMMITTED, DELETED = "plain", "keyed", "transactional", "records-deleted"
GROUP = "group"
SMALL_SEGMENTS = {"internal.segment.bytes": "6000"}
COMPACTED = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "delete.retention.ms": "100"}
SETTINGS = {
    PLAIN: SMALL_SEGMENTS,
    KEYED: SMALL_SEGMENTS | COMPACTED,
    COMMITTED: {},
    DELETED: SMALL_SEGMENTS,
}

_PROGRAM = """
import json, sys
from pathlib import Path
from ottla.broker import BrokerConfig, serve
from ottla.broker.api import produce
produce.LATE_BYTES = 300  # what is done for large batches only happens to most of these
options = {"checkpoint_interval_ms": 150, "cleaner_backoff_ms": 30, "retention_check_interval_ms": 50}
serve(BrokerConfig(data_dir=Path(sys.argv[1]), port=0, **options | json.loads(sys.argv[2])))
"""


@dataclass
class Promises:
    """What clients were told; `at` is how long the journal was when they knew. Sent values may be there or not."""

    sent: dict[str, list[bytes]] = field(default_factory=dict)
    produced: dict[str, list[tuple[int, int, bytes | None, bytes]]] = field(
        default_factory=dict
    )  # at, offset, key, value
    seen: list[tuple[int, int, bytes]] = field(default_factory=list)  # at, offset, value, of PLAIN
    committed_offsets: list[tuple[int, int]] = field(default_factory=list)  # at, offset
    transactions: list[tuple[int, bool, list[bytes]]] = field(default_factory=list)  # at, committed, values
    starts: list[tuple[int, int]] = field(default_factory=list)  # at, low watermark of DELETED
    asked_start: int = 0
    created: dict[str, int] = field(default_factory=dict)  # topic: at
    gone: dict[str, int] = field(default_factory=dict)  # topic: at; 0 while it is being deleted


TakeOver = Callable[[str, int], Promises]


class Load:
    """A broker under the recorder, and its clients.

    Args:
        folder: Its data folder; empty.
        journal: Where the recorder writes.
        recorder: The compiled recorder.
        seed: Of what the clients do.
        options: Settings of the broker, by their names in `BrokerConfig`.
        take_over: For a folder that is not empty: is given the broker's address, when no transaction is open any more,
            and says what was promised until then.

    Attributes:
        promises: What the clients were told.
        taken_over: How long the journal was when `take_over` was called.
    """

    def __init__(
        self,
        folder: Path,
        journal: Path,
        recorder: Path,
        seed: int,
        options: Mapping[str, object] | None = None,
        take_over: TakeOver | None = None,
    ) -> None:
        self.promises = Promises()
        self.taken_over = 0
        self._take_over = take_over
        self._journal = journal
        self._dice = Random(seed)
        self._folder = folder
        self._recorder = recorder
        self._options = options or {}
        self._sent = 0
        self.rest = 0

    def run(self, rounds: int, seconds: float = 0.0, *, until_rest: bool = False) -> None:
        """Starts the broker, lets the clients do `rounds` of everything, and stops it with SIGTERM.

        With `seconds` the rounds are spread over that time at least. With `until_rest` the broker is stopped after it
        has synced, by itself, all that clients wrote; `rest` is how long the journal was then.
        """
        environment = {
            "LD_PRELOAD": str(self._recorder),
            "POWERCUT_ROOT": str(self._folder),
            "POWERCUT_JOURNAL": str(self._journal),
            "PYTHONPATH": ":".join(sys.path),
        }
        command = [sys.executable, "-c", _PROGRAM, str(self._folder), json.dumps(dict(self._options))]
        broker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert broker.stdout is not None
            address = broker.stdout.readline().split()[-1]
            self._clients(address, rounds, seconds)
            if until_rest:
                wait_until(self._rests, "all that was acknowledged is on the disk")
            broker.terminate()
            assert broker.wait(PATIENCE_S) == 0
        finally:
            broker.kill()
            broker.wait()
            broker.stdout.close()  # type: ignore[union-attr]

    def _clients(self, address: str, rounds: int, seconds: float) -> None:
        self._admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        settings = {"bootstrap.servers": address, "log_level": 0, "linger.ms": 0, "enable.idempotence": True}
        settings["batch.size"] = 4000  # a batch must fit into a segment
        self._producer = Producer(settings)
        self._crowd = [Producer(settings) for _ in range(6)]
        self._transactional = Producer({**settings, "transactional.id": "tx"})
        self._transactional.init_transactions(PATIENCE_S)
        if self._take_over:
            self.taken_over = self._at()
            self.promises = self._take_over(address, self.taken_over)
        for name, topic_settings in SETTINGS.items():
            if name not in self.promises.created:
                self._create(name, topic_settings)
        self._consumer = Consumer(
            {"bootstrap.servers": address, "group.id": GROUP, "enable.auto.commit": False, "fetch.wait.max.ms": 10}
        )
        start = max((offset for _, offset in self.promises.committed_offsets), default=0)
        self._consumer.assign([TopicPartition(PLAIN, 0, start)])
        actions: list[Callable[[int], None]] = [
            self._produce, self._produce, self._produce_keyed, self._produce_keyed, self._transact, self._consume,
            self._delete_records, self._topics,
        ]  # fmt: skip
        begun = time.monotonic()
        for number in range(rounds):
            for action in actions:
                action(number)
            time.sleep(max(0.0, begun + seconds * (number + 1) / rounds - time.monotonic()))
        self._consumer.close()
        del self._admin, self._producer, self._crowd, self._transactional

    def _rests(self) -> bool:
        disk = Disk(self._folder)
        for operation in read_journal(self._journal):
            disk.play(operation)
            self.rest = operation.position
        return not [name for name in disk.unsynced() if name.endswith((".log", ".journal"))]

    def _at(self) -> int:
        return self._journal.stat().st_size

    def _value(self, topic: str, size: int) -> bytes:
        self._sent += 1
        value = b"%s-%d-" % (topic.encode(), self._sent) + self._dice.randbytes(size)
        self.promises.sent.setdefault(topic, []).append(value)
        return value

    def _send(self, clients: list[Producer], topic: str, count: int, keys: int = 0) -> None:
        acknowledged = self.promises.produced.setdefault(topic, [])

        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            acknowledged.append((self._at(), message.offset() or 0, message.key(), message.value() or b""))

        for number in range(count):
            client = clients[number % len(clients)]
            key = b"key-%d" % self._dice.randrange(keys) if keys else None
            client.produce(topic, self._value(topic, self._dice.randrange(700)), key=key, on_delivery=delivered)
            client.poll(0)
        for client in clients:
            assert client.flush(PATIENCE_S) == 0

    def _produce(self, _: int) -> None:
        self._send([self._producer], PLAIN, self._dice.choice((1, 5, 40)))

    def _produce_keyed(self, _: int) -> None:
        self._send(self._crowd, KEYED, self._dice.randrange(6, 30), keys=6)

    def _transact(self, _: int) -> None:
        commits = self._dice.random() < 0.6
        self._transactional.begin_transaction()
        values = [self._value(COMMITTED, 50) for _ in range(self._dice.randrange(1, 4))]
        for value in values:
            self._transactional.produce(COMMITTED, value)
        if commits:
            self._transactional.commit_transaction(PATIENCE_S)
        else:
            assert self._transactional.flush(PATIENCE_S) == 0
            self._transactional.abort_transaction(PATIENCE_S)
        self.promises.transactions.append((self._at(), commits, values))

    def _consume(self, number: int) -> None:
        last = None
        for message in self._consumer.consume(50, 0.02):
            assert message.error() is None, message.error()
            self.promises.seen.append((self._at(), message.offset() or 0, message.value() or b""))
            last = message
        if last is not None and number % 3 == 0:
            self._consumer.commit(last, asynchronous=False)
            self.promises.committed_offsets.append((self._at(), (last.offset() or 0) + 1))

    def _delete_records(self, number: int) -> None:
        self._send([self._producer], DELETED, 3)
        if number % 4 == 3:
            offset = self.promises.produced[DELETED][-2][1]
            self.promises.asked_start = offset
            part = TopicPartition(DELETED, 0, offset)
            self._admin.delete_records([part])[part].result(PATIENCE_S)
            self.promises.starts.append((self._at(), offset))

    def _topics(self, number: int) -> None:
        if number % 5 == 2:
            self._create(self._passing(number), {})
        elif number % 5 == 4:
            name = self._passing(number - 2)
            self.promises.gone[name] = 0
            self._admin.delete_topics([name])[name].result(PATIENCE_S)
            self.promises.gone[name] = self._at()

    def _passing(self, number: int) -> str:
        return f"passing-{number}" + ("-later" if self._take_over else "")

    def _create(self, name: str, settings: dict[str, str]) -> None:
        self._admin.create_topics([NewTopic(name, 1, 1, config=settings)])[name].result(PATIENCE_S)
        self.promises.created[name] = self._at()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)
