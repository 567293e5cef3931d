"""A raw connection that speaks any API in any version, through the embedded broker's tables of messages.

That Apache Kafka understands it, and that its answers can be read to their last byte, is what proves the tables.
"""

from __future__ import annotations

import socket
import struct

from ottla.broker.wire.compiler import reader, writer
from ottla.broker.wire.schema import Api, Message
from ottla.testing import Broker

API_VERSIONS_KEY = 18


class Asking:
    """One connection. Context manager. `ask` sends and waits; `send` and `receive` do it apart."""

    def __init__(self, broker: Broker, *, timeout_s: float = 15.0, client_id: str = "contract") -> None:
        host, port = broker.bootstrap_servers.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=timeout_s)
        self._client_id = client_id.encode()
        self._sent: list[tuple[int, Api, int]] = []
        self._count = 0

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def ask(self, api: Api, version: int, **body: object) -> Message:
        self.send(api, version, **body)
        return self.receive()

    def send(self, api: Api, version: int, **body: object) -> None:
        flexible = api.is_flexible(version)
        chunks: list[bytes | bytearray | memoryview] = []
        writer(api.request, version, flexible)(body, chunks)
        self._count += 1
        head = struct.pack(">hhih", api.key, version, self._count, len(self._client_id)) + self._client_id
        frame = head + (b"\0" if flexible else b"") + b"".join(map(bytes, chunks))
        self._socket.sendall(struct.pack(">i", len(frame)) + frame)
        self._sent.append((self._count, api, version))

    def receive(self) -> Message:
        count, api, version = self._sent.pop(0)
        flexible = api.is_flexible(version)
        (size,) = struct.unpack(">i", self._exactly(4))
        data = self._exactly(size)
        assert struct.unpack_from(">i", data)[0] == count, "replies come in the order of their requests"
        start = 4 + (1 if flexible and api.key != API_VERSIONS_KEY else 0)
        message, end = reader(api.response, version, flexible)(memoryview(data), start)
        assert end == len(data), f"{api.name}: {len(data) - end} bytes are left of the answer"
        return message

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise ConnectionError("the broker closed the connection")
            data += part
        return bytes(data)
