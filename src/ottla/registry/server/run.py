"""The registry as a process."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import threading
import time
from types import FrameType

import uvicorn

from ...errors import PortInUse
from ...settings import KafkaSettings
from .app import create_app
from .config import RegistryConfig
from .kafka_log import KafkaLog
from .registry import Registry

PROPERTIES: dict[str, str | int | float | bool] = {
    # A topic that is gone (a broker without a data folder was restarted) is noticed after this long, not after 30 s.
    "topic.metadata.propagation.max.ms": 3000,
}


def serve(config: RegistryConfig) -> None:
    """Runs a registry until SIGTERM or SIGINT, then returns.

    Prints `registry ready on http://HOST:PORT` on stdout once every stored schema is read and requests are answered;
    until a broker answers it says on stderr that it waits. Health is answered from the start.

    Raises:
        PortInUse: Something else listens on the port.
    """
    listening = _listen(config.host, config.port)
    logging.getLogger("ottla.kafka.client").addFilter(_SomeOfIt())
    host, port = listening.getsockname()[:2]
    kafka = KafkaSettings(bootstrap_servers=config.bootstrap_servers, properties=PROPERTIES | config.properties)
    log = KafkaLog(kafka, config.topic, replication=config.replication, timeout_s=config.append_timeout_s)
    registry = Registry(log)
    server = _Server(
        uvicorn.Config(
            create_app(registry),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=1,
        ),
        log,
    )
    announce = threading.Thread(
        target=_announce, args=(server, registry, f"http://{host}:{port}"), name="announce", daemon=True
    )
    registry.state.start()
    announce.start()
    if threading.current_thread() is threading.main_thread():
        # uvicorn raises the signal it shut down for once more, with the handler it found here: by default that would
        # kill the process instead of letting it end with status 0.
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, lambda _signal, _frame: setattr(server, "should_exit", True))
    try:
        server.run(sockets=[listening])
    finally:
        registry.state.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is: else every answer takes 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse("schema registry", host, port, "--port or registry.url") from error
        raise
    return listening


def _announce(server: uvicorn.Server, registry: Registry, url: str) -> None:
    while not server.should_exit:
        if server.started and registry.state.wait_until_loaded(0.25):
            print(f"registry ready on {url}", flush=True)
            return


class _Server(uvicorn.Server):
    """Told to stop, it first releases the requests that wait for Kafka: nothing may hold the process for seconds."""

    def __init__(self, config: uvicorn.Config, log: KafkaLog) -> None:
        super().__init__(config)
        self._log = log

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._log.stop_waiting()
        super().handle_exit(sig, frame)


class _SomeOfIt(logging.Filter):
    """Lets a line of librdkafka's through every ten seconds: while a broker is away, it writes one per attempt."""

    def __init__(self) -> None:
        super().__init__()
        self._silent_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._silent_until:
            return False
        self._silent_until = now + 10.0
        return True
