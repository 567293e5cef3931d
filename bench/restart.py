"""How long the embedded broker needs to come back to a lot of data, and how much memory it then has."""

from __future__ import annotations

import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench import targets
from bench.commands import note
from bench.workloads import CLIENT, BenchFailed, Load, Setting
from ottla.testing import Broker, EmbeddedBroker

TOPICS = 10
VALUE_BYTES = 10_000
TAIL_BYTES = 1000
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class Restart:
    """One start on existing data: seconds from the process's start to `broker ready`, and resident MB soon after."""

    how: str
    seconds: float
    megabytes: float


def measure(gigabytes: float, partitions: int, runs: int) -> list[Restart]:
    """Writes the data, then stops (or kills) and starts the broker `runs` times each, with nothing in the page cache.

    Before each kill every partition gets another record, so that each has something no checkpoint knows of.

    Raises:
        BenchFailed: Records are missing after a restart.
    """
    with tempfile.TemporaryDirectory(prefix="ottla-bench-", ignore_cleanup_errors=True) as folder:
        data = Path(folder, "data")
        names = [f"restart-{number}" for number in range(TOPICS)]
        each = max(1, partitions // TOPICS)
        note(f"restart: writing {gigabytes:g} GB to {each * TOPICS} partitions ...")
        with targets.embedded(data, flush="none") as broker:
            ends = _fill(broker, names, each, gigabytes)
        restarts: list[Restart] = []
        with targets.embedded(data) as broker:
            for _ in range(runs):
                broker.stop()
                restarts.append(_start(broker, "SIGTERM"))
                ends = _add_everywhere(broker, names, each, ends)
                broker.kill()
                restarts.append(_start(broker, "kill -9"))
                _check(broker, ends)
        return restarts


def _fill(broker: Broker, names: list[str], partitions: int, gigabytes: float) -> dict[tuple[str, int], int]:
    admin = AdminClient({**CLIENT, "bootstrap.servers": broker.bootstrap_servers})
    for made in admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        made.result(60)
    count = max(1, int(gigabytes * 1e9 / VALUE_BYTES / len(names) / partitions))
    value = random.Random(1).randbytes(VALUE_BYTES)
    for name in names:
        load = Load(broker.bootstrap_servers, name, Setting(VALUE_BYTES, "none", partitions), retries=10)
        load.spread(value, count, partitions)
    return {(name, number): count + 1 for name in names for number in range(partitions)}


def _add_everywhere(
    broker: Broker, names: list[str], partitions: int, ends: dict[tuple[str, int], int]
) -> dict[tuple[str, int], int]:
    """One record more in each partition: what a new `Load` writes to be ready."""
    for name in names:
        Load(broker.bootstrap_servers, name, Setting(TAIL_BYTES, "none", partitions))
    return {at: end + 1 for at, end in ends.items()}


def _start(broker: EmbeddedBroker, how: str) -> Restart:
    os.sync()
    for path in broker.data_dir.rglob("*"):
        if path.is_file():
            _drop_from_cache(path)
    begun = time.perf_counter()
    broker.start()
    seconds = time.perf_counter() - begun
    time.sleep(SETTLE_SECONDS)  # whatever goes on in the background after the start counts as memory, too
    return Restart(how, seconds, targets.resident_mb(broker.pid))


def _drop_from_cache(path: Path) -> None:
    """As after a reboot: the file's pages are read from the disk again."""
    if hasattr(os, "posix_fadvise"):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def _check(broker: Broker, ends: dict[tuple[str, int], int]) -> None:
    consumer = Consumer({**CLIENT, "bootstrap.servers": broker.bootstrap_servers, "group.id": "restart"})
    try:
        for (name, number), end in list(ends.items())[:: max(1, len(ends) // 50)]:
            found = consumer.get_watermark_offsets(TopicPartition(name, number), 30)
            if found != (0, end):
                raise BenchFailed(f"{name}-{number} holds offsets {found} after the restart, written were {(0, end)}")
    finally:
        consumer.close()
