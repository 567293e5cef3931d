"""Apache Kafka itself, as a process for tests: one node, KRaft, no Docker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ottla.errors import ServerFailed
from ottla.testing.kafka_controller import KafkaController
from ottla.testing.kafka_home import KafkaHome, format_storage, write_log4j
from ottla.testing.presence import wait_until_told
from ottla.testing.process import ServerProcess, run_command
from ottla.testing.server import HOST, Broker, free_port

_READY = re.compile(r"Kafka Server started")

_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "CLIENT",
    "controller.listener.names": "CONTROLLER",
    # One node keeps one copy.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Quick and small: no wait for further members, few internal partitions, small buffers.
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.assignment.interval.ms": "0",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "200",
    "group.consumer.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.num.partitions": "3",
    "share.coordinator.state.topic.num.partitions": "1",
    "log.cleaner.dedupe.buffer.size": "2097152",
    # After a kill, a new start is let in when the old one's session has run out (9 s by default). No shorter:
    # the controller fences a healthy broker when the machine stands still for so long.
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "4",
    # As production clusters have it.
    "auto.create.topics.enable": "false",
    # How often timed out transactions are looked for (10 s by default): so long no test shall wait.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
}


class RealKafka(Broker):
    """One node of Apache Kafka in a small JVM. Ready in some seconds; needs Java 17 and Kafka's jars (`KafkaHome`).

    Its settings are Kafka's own, except: one copy of everything, no wait for a group's further members, quick
    heartbeats of groups of the new protocol (which may be given short sessions), a look at timed out transactions every
    200 ms, and topics are not created by asking for them.

    Args:
        data_dir: Where it keeps its data. None: a temporary folder, removed by `close()`.
        port: The clients' port; 0 takes a free one.
        properties: Added to (or put in the place of) the broker's properties.
        heap: The JVM's heap (`-Xmx`).
        home: The jars; None looks for them.
        controller_apart: The controller has a process of its own and lives on when the broker is killed; `kill` returns
            when it has noticed. For tests of transactions over kills (`KafkaController` says why).

    Raises:
        ServerFailed: No Java or no jars; says how to get them.
    """

    name = "Apache Kafka"
    start_timeout_s = 90.0
    stop_timeout_s = 30.0

    def __init__(
        self,
        data_dir: Path | str | None = None,
        port: int = 0,
        *,
        properties: Mapping[str, str] | None = None,
        heap: str = "256m",
        home: KafkaHome | None = None,
        controller_apart: bool = False,
    ) -> None:
        self.home = home or KafkaHome.find()
        self._properties = dict(properties or {})
        self._heap = heap
        self._controller_port = 0
        super().__init__(data_dir, port)
        self._controller: KafkaController | None = None
        if controller_apart:
            beside = self.data_dir.parent / f"{self.data_dir.name}-controller"
            self._controller = KafkaController(beside, self.home, {**_PROPERTIES, **self._properties})

    @property
    def version(self) -> str:
        """Kafka's version."""
        return self.home.version

    def kill(self) -> None:
        if self._controller is None or not self.running:
            super().kill()
            return
        fencings = self._controller.fencings()
        super().kill()
        self._controller.wait_for_fencing(fencings + 1)

    def close(self) -> None:
        self.stop()
        if self._controller is not None:
            self._controller.close()
        super().close()

    def _launch(self, log: Path) -> ServerProcess:
        if self._controller is not None:
            self._controller.start()
        elif not self._controller_port:
            self._controller_port = free_port()
        configuration = self._write_configuration()
        log4j = write_log4j(self.data_dir.parent / f"{self.data_dir.name}-log4j2.properties", level="INFO")
        if not (self.data_dir / "meta.properties").exists():
            format_storage(self.home, configuration, self.data_dir)
        command = self.home.command("kafka.Kafka", str(configuration), heap=self._heap, log4j=log4j)
        process = ServerProcess(f"{self.name} {self.version}", run_command(*command), log=log)
        process.wait_for_line(_READY, self.start_timeout_s)
        if not wait_until_told(self.bootstrap_servers, self.start_timeout_s, lambda: process.alive):
            process.kill()
            raise ServerFailed(f"{self.name} has started, but tells of no broker:\n{self.log_tail()}")
        return process

    def _write_configuration(self) -> Path:
        client = f"CLIENT://{HOST}:{self.port}"
        properties = {
            **_PROPERTIES,
            "listeners": f"{client},CONTROLLER://{HOST}:{self._controller_port}",
            "advertised.listeners": client,
            "controller.quorum.voters": f"1@{HOST}:{self._controller_port}",
            "log.dirs": str(self.data_dir),
        }
        if self._controller is not None:
            properties |= {
                "process.roles": "broker",
                "listeners": client,
                "controller.quorum.voters": self._controller.voters,
            }
        properties |= self._properties
        path = self.data_dir.parent / f"{self.data_dir.name}.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()), "utf-8")
        return path
