"""The brokers that `bench broker` compares, and what their processes cost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ottla.testing import Broker, EmbeddedBroker, KafkaHome, RealKafka

HEAP = "1g"
# What Kafka's own kafka-run-class.sh gives a broker.
JVM_OPTIONS = (
    "-server",
    f"-Xms{HEAP}",
    f"-Xmx{HEAP}",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
)
# `RealKafka` is set up for tests: small and quick to start. Here Kafka gets its own defaults back.
PROPERTIES = {
    "num.network.threads": "3",
    "num.io.threads": "8",
    "log.cleaner.dedupe.buffer.size": "134217728",
    "log.segment.delete.delay.ms": "100",  # deleted topics give their disk space back before the next are measured
    "broker.session.timeout.ms": "60000",  # it may be held while others are measured: see `alone`
    "broker.heartbeat.interval.ms": "2000",
}
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

KAFKA, OTTLA = "kafka", "ottla"
# The other one's guarantee: Kafka syncs before each acknowledgement, the embedded broker leaves it to the system.
FSYNC, NO_FSYNC = "kafka, flush each", "ottla, flush none"


@dataclass(frozen=True)
class ServerHome(KafkaHome):
    """Kafka's jars, run with the JVM settings of a server."""

    def command(self, main: str, *arguments: str, heap: str = HEAP, log4j: Path | None = None) -> list[str]:
        logging = [] if log4j is None else [f"-Dlog4j2.configurationFile={log4j}"]
        return [self.java, *JVM_OPTIONS, *logging, "-cp", f"{self.libs}/*", main, *arguments]


def kafka(**properties: str) -> RealKafka:
    """Apache Kafka as its own start script would run it, not started yet. Raises ServerFailed without Java or jars.

    Args:
        properties: Further ones, or others.
    """
    home = KafkaHome.find()
    return RealKafka(properties=PROPERTIES | properties, home=ServerHome(home.libs, home.version, home.java))


def embedded(data_dir: Path | None = None, **options: str | int | bool) -> EmbeddedBroker:
    """The embedded broker with its default options, but for those given; not started yet."""
    return EmbeddedBroker(data_dir, options=options)


def all_targets() -> Mapping[str, Broker]:
    """Kafka and the embedded broker, and both with the other one's guarantee; none is started."""
    return {
        KAFKA: kafka(),
        OTTLA: embedded(),
        NO_FSYNC: embedded(flush="none"),
        FSYNC: kafka(**{"log.flush.interval.messages": "1"}),
    }


@contextmanager
def alone(brokers: Mapping[str, Broker], name: str) -> Iterator[Broker]:
    """One of the brokers, the others being held (SIGSTOP) meanwhile.

    At rest Kafka syncs its metadata log twice a second, on the disk that the other one waits for, and its JVM is not
    idle either.
    """
    others = [broker.pid for other, broker in brokers.items() if other != name]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield brokers[name]
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def resident_mb(pid: int) -> float:
    """Resident memory of a process, in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"process {pid} has ended")
