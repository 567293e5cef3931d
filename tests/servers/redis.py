"""A throwaway Redis from the machine's own installation."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

from ottla.errors import ServerFailed
from ottla.testing.process import ServerProcess, run_command
from ottla.testing.server import HOST, Server

_READY = re.compile(r"Ready to accept connections")


class Redis(Server):
    """One Redis server on loopback, keeping nothing.

    Raises:
        ServerFailed: There is no `redis-server` on the PATH.
    """

    name = "Redis"

    def __init__(self) -> None:
        found = shutil.which("redis-server")
        if found is None:
            raise ServerFailed("Redis is not installed (no redis-server on the PATH)")
        self._redis_server = found
        super().__init__()

    @property
    def version(self) -> str:
        """As the running server says it: `7.0.15`."""
        found = re.search(rb"redis_version:(\S+)", self.ask(b"INFO server\r\n"))
        assert found is not None, "INFO names no version"
        return found[1].decode()

    def ask(self, command: bytes) -> bytes:
        """Sends one inline command and gives the first piece of the answer."""
        with socket.create_connection((HOST, self.port), timeout=5) as connection:
            connection.sendall(command)
            return connection.recv(65536)

    def _launch(self, log: Path) -> ServerProcess:
        self.data_dir.mkdir(exist_ok=True)
        options = ["--port", str(self.port), "--bind", HOST, "--save", "", "--dir", str(self.data_dir)]
        process = ServerProcess(self.name, run_command(self._redis_server, *options), log=log)
        process.wait_for_line(_READY, self.start_timeout_s)
        return process
