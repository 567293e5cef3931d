"""The embedded broker, as a process for tests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ottla.testing.process import ServerProcess, run_python
from ottla.testing.server import HOST, Broker

_PROGRAM = """
import json
from pathlib import Path
from ottla.broker import BrokerConfig, serve
options = json.loads(sys.argv[4])
serve(BrokerConfig(data_dir=Path(sys.argv[1]), host=sys.argv[2], port=int(sys.argv[3]), **options))
"""
_READY = re.compile(r"^broker ready on \S+:(\d+)\s*$", re.MULTILINE)


class EmbeddedBroker(Broker):
    """Ottla's own broker. Ready in about a tenth of a second; nothing but Python is needed.

    Args:
        data_dir: Where it keeps its data. None: a temporary folder, removed by `close()`.
        port: The port to listen on; 0 takes a free one.
        options: Further fields of `ottla.broker.BrokerConfig`.

    Example:
        with EmbeddedBroker(options={"partitions": 3}) as broker:
            connect(broker.bootstrap_servers)
    """

    name = "embedded broker"

    def __init__(
        self,
        data_dir: Path | str | None = None,
        port: int = 0,
        *,
        options: Mapping[str, str | int | bool] | None = None,
    ) -> None:
        super().__init__(data_dir, port)
        self._options = json.dumps(dict(options or {}))

    def _launch(self, log: Path) -> ServerProcess:
        command = run_python(_PROGRAM, str(self.data_dir), HOST, str(self.port), self._options)
        process = ServerProcess(self.name, command, log=log)
        process.wait_for_line(_READY, self.start_timeout_s)
        return process
