"""The registry as a process."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import ssl
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from ...errors import ConfigurationError, PortInUse
from ...settings import KafkaSettings
from .access import read_accounts
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
        ConfigurationError: Accounts or certificates cannot be used.
    """
    accounts = None if config.accounts is None else read_accounts(Path(config.accounts))
    tls = _tls(config)
    listening = _listen(config.host, config.port)
    logging.getLogger("ottla.kafka.client").addFilter(_SomeOfIt())
    host, port = listening.getsockname()[:2]
    kafka = KafkaSettings(bootstrap_servers=config.bootstrap_servers, properties=PROPERTIES | config.properties)
    log = KafkaLog(kafka, config.topic, replication=config.replication, timeout_s=config.append_timeout_s)
    url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    registry = Registry(log, config.advertised_url or url, read_only=config.read_only)
    server = _Server(
        uvicorn.Config(
            create_app(registry, accounts=accounts, verify=_trust(config)),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=1,
            **tls,
        ),
        log,
    )
    announce = threading.Thread(target=_announce, args=(server, registry, url), name="announce", daemon=True)
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


def _tls(config: RegistryConfig) -> dict[str, Any]:
    """What uvicorn is told about TLS; empty without it.

    Raises:
        ConfigurationError: A file is missing, or is none of the kind.
    """
    if config.tls_certificate is None:
        if config.tls_key or config.tls_clients:
            raise ConfigurationError("TLS needs a certificate: give --tls-certificate (a PEM file) with --tls-key")
        return {}
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(config.tls_certificate, config.tls_key)
        if config.tls_clients is not None:
            context.load_verify_locations(config.tls_clients)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"cannot use {config.tls_certificate} with {config.tls_key or 'no key'}"
            f"{f' and {config.tls_clients}' if config.tls_clients else ''} for TLS: {error}"
        ) from error
    return {
        "ssl_certfile": config.tls_certificate,
        "ssl_keyfile": config.tls_key,
        "ssl_ca_certs": config.tls_clients,
        "ssl_cert_reqs": ssl.CERT_REQUIRED if config.tls_clients else ssl.CERT_NONE,
    }


def _trust(config: RegistryConfig) -> ssl.SSLContext | bool:
    """What this one trusts and shows when it asks another registry over TLS.

    Raises:
        ConfigurationError: A file is missing, or is none of the kind.
    """
    if config.tls_certificate is None and config.tls_authorities is None:
        return True
    try:
        context = ssl.create_default_context(cafile=config.tls_authorities)
        if config.tls_certificate is not None:
            context.load_cert_chain(config.tls_certificate, config.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"cannot use {config.tls_authorities} as authorities: {error}") from error
    return context


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
