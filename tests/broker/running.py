"""A broker in a thread of the test, and a client that speaks any API in any version through the broker's own tables."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

from ottla.broker.api.table import HANDLERS
from ottla.broker.config import BrokerConfig
from ottla.broker.server import Server
from ottla.broker.wire.compiler import reader, writer
from ottla.broker.wire.schema import Message

KEYS = {api.name: key for key, (api, _) in HANDLERS.items()}
PATIENCE_S = 10.0


class RunningBroker:
    """A server on a free port of loopback, in a thread. `failure` is what its run ended with, if anything."""

    def __init__(self, folder: Path, **options: object) -> None:
        folder.mkdir(exist_ok=True)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        self.server = Server(BrokerConfig(data_dir=folder, port=0, **options), folder, [listener])  # type: ignore[arg-type]
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.server.run()
        except Exception as error:
            self.failure = error

    def connect(self) -> Client:
        return Client(self.server.port)

    def stop(self) -> None:
        if self._thread.is_alive():
            self.server.loop.post(self.server.loop.stop)
        self.join()

    def join(self) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the broker did not stop"

    def __enter__(self) -> RunningBroker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Client:
    """One connection. `ask` sends and waits; `send` and `receive` do it apart, to have several requests under way."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.sent: list[tuple[str, int]] = []
        self.count = 0

    def ask(self, name: str, version: int, **body: object) -> Message:
        self.send(name, version, **body)
        return self.receive()

    def send(self, name: str, version: int, **body: object) -> None:
        api, _ = HANDLERS[KEYS[name]]
        flexible = api.is_flexible(version)
        chunks: list[bytes | bytearray | memoryview] = []
        writer(api.request, version, flexible)(body, chunks)
        head = struct.pack(">hhih", api.key, version, self.count, 4) + b"test" + (b"\0" if flexible else b"")
        self.send_frame(head + b"".join(map(bytes, chunks)))
        self.sent.append((name, version))
        self.count += 1

    def send_frame(self, frame: bytes) -> None:
        self.sock.sendall(struct.pack(">i", len(frame)) + frame)

    def receive(self) -> Message:
        name, version = self.sent.pop(0)
        api, _ = HANDLERS[KEYS[name]]
        flexible = api.is_flexible(version)
        data = self.frame()
        (correlation,) = struct.unpack_from(">i", data)
        assert correlation == self.count - len(self.sent) - 1, "replies come in the order of their requests"
        start = 4 + (1 if flexible and name != "ApiVersions" else 0)
        message, end = reader(api.response, version, flexible)(memoryview(data), start)
        assert end == len(data)
        return message

    def frame(self) -> bytes:
        (size,) = struct.unpack(">i", self.exactly(4))
        return self.exactly(size)

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            if not part:
                raise ConnectionResetError("the broker closed the connection")
            data += part
        return data

    def is_cut_off(self) -> bool:
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.sock.close()

    # The few requests that most tests begin with

    def create(self, topic: str, partitions: int = 1, **configs: str) -> None:
        settings = [{"name": name.replace("_", "."), "value": value} for name, value in configs.items()]
        wanted = {"name": topic, "num_partitions": partitions, "replication_factor": 1, "configs": settings}
        assert self.ask("CreateTopics", 4, topics=[wanted])["topics"][0]["error_code"] == 0

    def produce(self, topic: str, records: bytes, *, partition: int = 0, acks: int = -1) -> Message:
        self.send_produce(topic, records, partition=partition, acks=acks)
        answer: Message = self.receive()["responses"][0]["partition_responses"][0]
        return answer

    def send_produce(self, topic: str, records: bytes, *, partition: int = 0, acks: int = -1) -> None:
        data = [{"index": partition, "records": records}]
        self.send("Produce", 9, acks=acks, timeout_ms=1000, topic_data=[{"name": topic, "partition_data": data}])

    def send_fetch(self, topic: str, offset: int, *, wait_ms: int = 0, min_bytes: int = 1) -> None:
        wanted = {"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
        topics = [{"topic": topic, "partitions": [wanted]}]
        self.send("Fetch", 11, max_wait_ms=wait_ms, min_bytes=min_bytes, max_bytes=1 << 20, topics=topics)

    def fetch(self, topic: str, offset: int, *, wait_ms: int = 0, min_bytes: int = 1) -> Message:
        self.send_fetch(topic, offset, wait_ms=wait_ms, min_bytes=min_bytes)
        answer: Message = self.receive()["responses"][0]["partitions"][0]
        return answer
