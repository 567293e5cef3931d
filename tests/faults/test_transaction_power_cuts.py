"""Power cuts under transactions: over partitions and offsets each is there as a whole or not at all, and none is stuck.

Two producers work at once, with explicit and with implicit additions (transaction.version 2), and commit or abort.
OTTLA_POWER_CUTS says how many cuts; OTTLA_POWER_CUT_SEED repeats a run's choices.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ottla.broker.wire.messages.create_topics import CREATE_TOPICS
from tests.broker.running import RunningBroker
from tests.contracts.asking import Asking
from tests.contracts.raw_log import committed_values
from tests.contracts.transactor import NONE, Transactor, committed, fetch
from tests.faults.powercut.disk import Disk, read_journal

CUTS = int(os.environ.get("OTTLA_POWER_CUTS", "20"))
SEED = int(os.environ.get("OTTLA_POWER_CUT_SEED", "11"))
CUTS_A_RUN = 250
TRANSACTIONS = 25
TOPIC, PARTITIONS, PRODUCERS = "t", 3, 2
PATIENCE_S = 30.0

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or not shutil.which("cc"), reason="the recorder wants Linux and a C compiler"
    ),
    pytest.mark.timeout(max(180, CUTS * 2)),
]

_PROGRAM = """
import json, sys
from pathlib import Path
from ottla.broker import BrokerConfig, serve
from ottla.broker.log import journal
journal.COMPACT_ABOVE_BYTES = 3000  # so that the journals are written anew now and then
options = {"checkpoint_interval_ms": 100} | json.loads(sys.argv[2])
serve(BrokerConfig(data_dir=Path(sys.argv[1]), port=0, **options))
"""


@dataclass
class Address:
    bootstrap_servers: str


@dataclass
class Transaction:
    """What a producer did.

    Attributes:
        counts: How many records each partition got.
        new: Whether it is one of transaction.version 2.
        decided: The recorder's position once the producer was told; None if it never was.
    """

    number: int
    commit: bool
    new: bool
    partitions: set[int] = field(default_factory=set)
    counts: dict[int, int] = field(default_factory=dict)
    with_offset: bool = False
    decided: int | None = None

    def value(self, partition: int) -> bytes:
        return b"%d-%d" % (self.number, partition)


class Worker(threading.Thread):
    """A producer. Its transactions begin `pause_s` apart at least."""

    def __init__(self, address: Any, number: int, recorded: Path, seed: int, pause_s: float = 0.0) -> None:
        super().__init__()
        self.pause_s = pause_s
        self.address = address
        self.number = number
        self.recorded = recorded
        self.dice = Random(seed)
        self.done: list[Transaction] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with Asking(self.address) as asking:
                one = Transactor(asking, f"x-{self.number}").begin(5)
                begun = time.monotonic()
                for number in range(TRANSACTIONS):
                    time.sleep(max(0.0, begun + number * self.pause_s - time.monotonic()))
                    self._transact(one, number * PRODUCERS + self.number)
        except BaseException as failure:
            self.failure = failure

    def _transact(self, one: Transactor, number: int) -> None:
        commit, new = self.dice.random() < 0.7, self.dice.random() < 0.6
        made = Transaction(number, commit, new)
        self.done.append(made)
        chosen = set(self.dice.sample(range(PARTITIONS), self.dice.randrange(1, PARTITIONS + 1)))
        if not new:
            assert set(one.add(TOPIC, *chosen)) == {NONE}
        for partition in chosen:
            made.partitions.add(partition)
            made.counts[partition] = self.dice.randrange(1, 4)
            values = [made.value(partition)] * made.counts[partition]
            assert one.produce(TOPIC, values, partition=partition, version=12 if new else 9)[0] == NONE
        if self.dice.random() < 0.7:
            made.with_offset = True
            group = f"g-{self.number}"
            if not new:
                assert one.add_offsets(group) == NONE
            assert one.commit_offset(group, TOPIC, number, version=5 if new else 3) == NONE
        one.finish(commit=made.commit, version=5 if new else 3)
        made.decided = self.recorded.stat().st_size


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = Path(__file__).parent / "powercut" / "recorder.c"
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return library


@pytest.mark.parametrize("run", range(max(1, -(-CUTS // CUTS_A_RUN))))
def test_transactions_are_whole_after_power_cuts(tmp_path: Path, recorder: Path, run: int) -> None:
    dice = Random(SEED + run)
    data, recorded = tmp_path / "data", tmp_path / "recorded"
    data.mkdir()
    workers = work(data, recorded, recorder, SEED + run)
    operations = list(read_journal(recorded))
    disk, played = Disk(data), 0
    for point in sorted(dice.sample(range(len(operations)), min(CUTS, CUTS_A_RUN))):
        while played < point:
            disk.play(operations[played])
            played += 1
        left = tmp_path / "left"
        left.mkdir()
        at = operations[point - 1].position if point else 0
        mode = disk.cut(left, dice)
        try:
            with RunningBroker(left) as broker, Asking(address_of(broker)) as asking:
                check(asking, workers, at)
        except Exception as broken:
            kept = tmp_path / "broken"
            left.rename(kept)
            raise AssertionError(
                f"after {point} of {len(operations)} operations, {mode!r} of what was not synced there "
                f"(seed {SEED}, run {run}; left in {kept}): {broken}"
            ) from broken
        shutil.rmtree(left)


def address_of(broker: RunningBroker) -> Any:
    return Address(f"127.0.0.1:{broker.server.port}")


def work(
    folder: Path,
    recorded: Path,
    recorder: Path,
    seed: int,
    options: Mapping[str, object] | None = None,
    pause_s: float = 0.0,
) -> list[Worker]:
    """Lets the producers work on a broker under the recorder. `options` are its settings, as in `BrokerConfig`."""
    environment = {
        "LD_PRELOAD": str(recorder),
        "POWERCUT_ROOT": str(folder),
        "POWERCUT_JOURNAL": str(recorded),
        "PYTHONPATH": ":".join(sys.path),
    }
    command = [sys.executable, "-c", _PROGRAM, str(folder), json.dumps(dict(options or {}))]
    broker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert broker.stdout is not None
    try:
        address: Any = Address(broker.stdout.readline().split()[-1])
        with Asking(address) as asking:
            topic = {"name": TOPIC, "num_partitions": PARTITIONS, "replication_factor": 1, "configs": []}
            answer = asking.ask(CREATE_TOPICS, 5, topics=[topic], timeout_ms=10_000)
            assert answer["topics"][0]["error_code"] == NONE
        workers = [Worker(address, number, recorded, seed + number, pause_s) for number in range(PRODUCERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.failure for worker in workers] == [None] * PRODUCERS
        broker.terminate()
        assert broker.wait(PATIENCE_S) == 0
        return workers
    finally:
        broker.kill()
        broker.wait()
        broker.stdout.close()


def check(asking: Asking, workers: list[Worker], at: int) -> None:
    """Raises AssertionError if what is left is not what `workers` were told before the recording was `at` long."""
    if fetch(asking, TOPIC).error != NONE:
        told = [made for worker in workers for made in worker.done if made.decided and made.decided <= at]
        assert not told, "the topic is gone"
        return
    # The next producers abort what is open, and nothing may stay open.
    for worker in workers:
        Transactor(asking, f"x-{worker.number}").begin(5)
    counts: dict[bytes, int] = defaultdict(int)
    for partition in range(PARTITIONS):
        found = fetch(asking, TOPIC, partition=partition)
        assert found.last_stable_offset == found.high_watermark, f"partition {partition}: a transaction is stuck"
        for value in committed_values(asking, TOPIC, partition):
            counts[value] += 1
    for worker in workers:
        last = -1
        for made in worker.done:
            seen = {counts[made.value(partition)] > 0 for partition in made.partitions}
            assert len(seen) <= 1, f"transaction {made.number} is torn"
            whole = seen == {True}
            if made.decided is not None and made.decided <= at:
                assert whole == made.commit, f"transaction {made.number}: commit {made.commit}, visible {whole}"
            assert made.commit or not whole, f"transaction {made.number} was aborted and is visible"
            if whole and made.with_offset:
                last = made.number
        error, offset = committed(asking, f"g-{worker.number}", TOPIC)
        assert (error, offset) == (NONE, last), f"the offset is {offset}, of the last transaction it is {last}"
