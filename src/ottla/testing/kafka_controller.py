"""Apache Kafka's controller, in a process apart from the broker's."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from ottla.errors import ServerFailed
from ottla.testing.kafka_home import KafkaHome, format_storage, write_log4j
from ottla.testing.process import ServerProcess, run_command
from ottla.testing.server import HOST, Server

READY = re.compile(r"Kafka Server started")
FENCED = re.compile(r"Fencing broker \d+ at epoch")
NODE = 2
FENCED_TIMEOUT_S = 60.0


class KafkaController(Server):
    """The controller of a cluster with one broker. It lives on when the broker is killed, as in every real cluster.

    Where both are one process, a broker that starts after a kill first believes the metadata from before: it leads
    everything, and ends transactions; seconds later its partitions have no leader for a moment, and Kafka's coordinator
    leaves out the end marks of those that have none (`TransactionMarkerChannelManager`: "likely deleted already").
    Their records then share the fate of the producer's next transaction: undone ones are committed, or the other way
    round. So exactly once cannot be tested over kills of such a node.

    Args:
        data_dir: Where it keeps its data.
        properties: Added to (or put in the place of) its properties.
    """

    name = "Apache Kafka's controller"
    start_timeout_s = 90.0
    stop_timeout_s = 30.0

    def __init__(self, data_dir: Path, home: KafkaHome, properties: Mapping[str, str]) -> None:
        super().__init__(data_dir)
        self._home = home
        self._properties = dict(properties)

    @property
    def voters(self) -> str:
        """Where brokers find it: `controller.quorum.voters`."""
        return f"{NODE}@{HOST}:{self.port}"

    def fencings(self) -> int:
        """How often it has declared the broker dead."""
        return len(FENCED.findall(self.log_path.read_text("utf-8", "replace")))

    def wait_for_fencing(self, number: int) -> None:
        """Returns when it has declared the broker dead so often. Raises ServerFailed if it does not."""
        deadline = time.monotonic() + FENCED_TIMEOUT_S
        while self.fencings() < number:
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} did not notice that its broker is dead:\n{self.log_tail()}")
            time.sleep(0.02)

    def _launch(self, log: Path) -> ServerProcess:
        properties = {
            **self._properties,
            "process.roles": "controller",
            "node.id": str(NODE),
            "listeners": f"CONTROLLER://{HOST}:{self.port}",
            "controller.quorum.voters": self.voters,
            "log.dirs": str(self.data_dir),
        }
        configuration = self.data_dir.parent / f"{self.data_dir.name}.properties"
        configuration.write_text("".join(f"{name}={value}\n" for name, value in properties.items()), "utf-8")
        log4j = write_log4j(self.data_dir.parent / f"{self.data_dir.name}-log4j2.properties", level="INFO")
        if not (self.data_dir / "meta.properties").exists():
            format_storage(self._home, configuration, self.data_dir)
        command = self._home.command("kafka.Kafka", str(configuration), heap="128m", log4j=log4j)
        process = ServerProcess(self.name, run_command(*command), log=log)
        process.wait_for_line(READY, self.start_timeout_s)
        return process
