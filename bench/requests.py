"""Requests without a client library: what a broker needs for them is measured, and nothing else."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

from google_crc32c import value as crc32c

from ottla.broker.wire.compiler import reader, writer
from ottla.broker.wire.schema import Api, Message

_BATCH_TAIL = struct.Struct(">hiqqqhii")


class RawConnection:
    """One connection. `ask` waits for the answer; `send` and `receive` do it apart."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, api: Api, version: int, **body: Any) -> Message:
        self.sock.sendall(frame(api, version, body))
        return self.receive(api, version)

    def receive(self, api: Api, version: int) -> Message:
        (size,) = struct.unpack(">i", self.exactly(4))
        data = self.exactly(size)
        flexible = api.is_flexible(version)
        message, _ = reader(api.response, version, flexible)(memoryview(data), 5 if flexible else 4)
        return message

    def exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            if not part:
                raise ConnectionError("the broker closed the connection")
            data += part
        return bytes(data)

    def close(self) -> None:
        self.sock.close()


def frame(api: Api, version: int, body: Message) -> bytes:
    """A whole request, as it goes over the wire."""
    flexible = api.is_flexible(version)
    chunks: list[bytes | bytearray | memoryview] = []
    writer(api.request, version, flexible)(body, chunks)
    head = struct.pack(">hhih", api.key, version, 1, 5) + b"bench" + (b"\0" if flexible else b"")
    data = head + b"".join(map(bytes, chunks))
    return struct.pack(">i", len(data)) + data


def one_record(value: bytes) -> bytes:
    """A record batch of one record of up to 8,000 bytes, without key, stamped now."""
    now = time.time_ns() // 1_000_000
    length = _varint(len(value))
    body = b"\0\0\0\1" + length + value + b"\0"
    tail = _BATCH_TAIL.pack(0, 0, now, now, -1, -1, -1, 1) + _varint(len(body)) + body
    return struct.pack(">qiibI", 0, len(tail) + 9, -1, 2, crc32c(tail)) + tail


def _varint(value: int) -> bytes:
    value <<= 1
    return bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])
