"""The embedded broker, as a process for tests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ottla.testing.process import ServerProcess, run_python
from ottla.testing.server import HOST, Broker

_PROGRAM = """
import json, logging
from pathlib import Path
from ottla.broker import BrokerConfig, serve
logging.basicConfig(level="WARNING", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
options = json.loads(sys.argv[4]) | {"data_dir": Path(sys.argv[1])}
if sys.argv[5]:
    from ottla.broker.kafka_settings import load_config
    serve(load_config(Path(sys.argv[5]), **options))
else:
    serve(BrokerConfig(host=sys.argv[2], port=int(sys.argv[3]), **options))
"""
_READY = re.compile(r"^broker ready on \S+:(\d+)\s*$", re.MULTILINE)


class EmbeddedBroker(Broker):
    """Ottla's own broker. Ready in about a tenth of a second; nothing but Python is needed.

    Args:
        data_dir: Where it keeps its data. None: a temporary folder, removed by `close()`.
        port: The port to listen on; 0 takes a free one.
        options: Further fields of `ottla.broker.BrokerConfig`.
        properties: Settings under Kafka's names, as in a server.properties: how a test gets a secured broker.
            `{port}` in a value is replaced by the broker's port.

    Example:
        with EmbeddedBroker(options={"partitions": 3}) as broker:
            connect(broker.bootstrap_servers)

        users = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_ann="secret";'
        with EmbeddedBroker(properties={
            "listeners": "SASL_PLAINTEXT://127.0.0.1:{port}",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": users,
        }) as broker: ...
    """

    name = "embedded broker"

    def __init__(
        self,
        data_dir: Path | str | None = None,
        port: int = 0,
        *,
        options: Mapping[str, str | int | bool] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(data_dir, port)
        self._options = json.dumps(dict(options or {}))
        self._properties = dict(properties or {})

    def _launch(self, log: Path) -> ServerProcess:
        configuration = str(self._write_configuration()) if self._properties else ""
        command = run_python(_PROGRAM, str(self.data_dir), HOST, str(self.port), self._options, configuration)
        process = ServerProcess(self.name, command, log=log)
        process.wait_for_line(_READY, self.start_timeout_s)
        return process

    def _write_configuration(self) -> Path:
        """The properties as a file that only its owner can read: they may hold passwords."""
        given = {"listeners": f"PLAINTEXT://{HOST}:{self.port}", **self._properties}
        path = self.data_dir.parent / f"{self.data_dir.name}.properties"
        path.touch(mode=0o600)
        lines = [f"{name}={_escaped(value.replace('{port}', str(self.port)))}\n" for name, value in given.items()]
        path.write_text("".join(lines), "utf-8")
        return path


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")
