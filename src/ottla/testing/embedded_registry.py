"""The schema registry, as a process for tests."""

from __future__ import annotations

import re
from pathlib import Path

from ottla.testing.process import ServerProcess, run_python
from ottla.testing.server import HOST, Server

_PROGRAM = """
from ottla.registry.server import RegistryConfig, serve
serve(RegistryConfig(host=sys.argv[1], port=int(sys.argv[2]), bootstrap_servers=sys.argv[3], topic=sys.argv[4]))
"""
_READY = re.compile(r"^registry ready on http://\S+:(\d+)\s*$", re.MULTILINE)


class EmbeddedRegistry(Server):
    """Ottla's own schema registry. It keeps its schemas in a topic of the broker, so it has no data of its own.

    Args:
        bootstrap_servers: The broker, embedded or real.
        port: The port to listen on; 0 takes a free one.
        topic: Where it keeps its schemas.
    """

    name = "schema registry"

    def __init__(self, bootstrap_servers: str, port: int = 0, *, topic: str = "_schemas") -> None:
        super().__init__(port=port)
        self._topic = topic
        self._bootstrap_servers = bootstrap_servers

    @property
    def url(self) -> str:
        """Where clients find it: `http://127.0.0.1:PORT`."""
        return f"http://{HOST}:{self.port}"

    def _launch(self, log: Path) -> ServerProcess:
        program = run_python(_PROGRAM, HOST, str(self.port), self._bootstrap_servers, self._topic)
        process = ServerProcess(self.name, program, log=log)
        process.wait_for_line(_READY, self.start_timeout_s)
        return process
