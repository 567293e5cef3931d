"""Listening sockets: where the broker can be reached, how, and what kind of connection comes of it."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
from typing import TYPE_CHECKING, Any

from ottla.broker.config import BrokerConfig
from ottla.broker.connection import Connection
from ottla.broker.security.config import ListenerConfig, SecurityConfig
from ottla.errors import BrokerError, ConfigurationError, PortInUse

if TYPE_CHECKING:
    from ottla.broker.security.service import ListenerSecurity
    from ottla.broker.server import Server

BACKLOG = 512
OPEN = SecurityConfig()


def listener_configs(config: BrokerConfig) -> tuple[ListenerConfig, ...]:
    """The listeners that are configured; without any, the broker's host and port, in plain text.

    Raises:
        ConfigurationError: One of them could be reached from other machines by anybody.
    """
    security = config.security or OPEN
    found = security.listeners or (ListenerConfig("PLAINTEXT", "PLAINTEXT", config.host, config.port),)
    if not (security.allow_insecure or config.allow_insecure):
        exposed = [one for one in found if not (one.on_loopback or one.is_secure)]
        if exposed:
            names = ", ".join(f"{one.name} ({one.protocol}) on {one.host or 'all addresses'}" for one in exposed)
            raise ConfigurationError(
                f"embedded broker: {names}: other machines could use it without showing who they are, or everybody on "
                f"the way could read along. Listen on 127.0.0.1, or use SASL_SSL, or SSL with "
                f"ssl.client.auth=required. If the network is closed and this is meant, say so: --allow-insecure (in a "
                f"configuration file ottla.allow.insecure=true)."
            )
    return found


def listen(configs: tuple[ListenerConfig, ...], stack: contextlib.ExitStack) -> list[socket.socket]:
    """A bound, listening socket for each; the stack closes them. Raises PortInUse and BrokerError."""
    return [stack.enter_context(_bound(config)) for config in configs]


def _bound(config: ListenerConfig) -> socket.socket:
    host = config.host or "0.0.0.0"
    family: Any = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, config.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse("embedded broker", host, config.port, "--port") from error
        raise BrokerError(f"embedded broker: cannot listen on {host}:{config.port}: {error}") from error
    return sock


class Listener:
    """One listening socket.

    Args:
        config: What it is for.
        sock: The socket, bound and listening.
        security: TLS and SASL of its connections; None for a plain one.
    """

    def __init__(self, config: ListenerConfig, sock: socket.socket, security: ListenerSecurity | None) -> None:
        sock.setblocking(False)
        self.config = config
        self.sock = sock
        self.security = security
        self.port: int = sock.getsockname()[1]

    def advertised(self, sock: socket.socket) -> tuple[str, int]:
        """Host and port that the client behind a connected socket is told."""
        if self.config.advertised is not None:
            host, port = self.config.advertised
            return host, port or self.port
        return str(sock.getsockname()[0]), self.port

    def connect(self, server: Server, sock: socket.socket, peer: str) -> Connection:
        """A connection of this listener's kind."""
        security = self.security
        if security is None:
            return Connection(server, sock, peer, self)
        if security.context is not None:
            connection: Connection = TlsConnection(server, sock, peer, self, security)
        else:
            connection = Connection(server, sock, peer, self)
        if security.mechanisms:
            from ottla.broker.security.gate import SaslGate

            connection.gate = SaslGate(connection, security)
            connection.size_max = min(security.sasl_max_receive_bytes, connection.size_max)
        if security.mechanisms or security.context is not None:
            connection.close_unless_authenticated(security.authentication_timeout_s)
        return connection


class TlsConnection(Connection):
    """A connection through TLS. Its handshake goes on whenever the socket is ready; it never waits."""

    def __init__(
        self, server: Server, sock: socket.socket, peer: str, listener: Listener, security: ListenerSecurity
    ) -> None:
        from ottla.broker.security.tls import TlsSocket

        assert security.context is not None
        super().__init__(server, sock, peer, listener)
        server.loop.unwatch(sock)
        self._security = security
        self._shaken = False
        self._tls = TlsSocket(sock, security.context)
        self.sock = self._tls  # type: ignore[assignment]  # it is used like one
        self._events = 0
        self._watch()

    def ready(self, events: int) -> None:
        if not self._shaken:
            if not self._shake_hands():
                return
            events = selectors.EVENT_READ
        super().ready(events)
        # What is deciphered already is in no socket: the selector will not tell of it.
        while not self.closed and not self._is_full() and self._tls.pending():
            super().ready(selectors.EVENT_READ)

    def send(self) -> None:
        super().send()
        if not self.closed and not self._is_full() and self._tls.pending():
            self.server.loop.post(lambda: None if self.closed else self.ready(selectors.EVENT_READ))

    def _shake_hands(self) -> bool:
        """Goes on with the handshake; whether it is done."""
        try:
            wants_to_write = self._tls.shake_hands()
            if wants_to_write is not None:
                events = selectors.EVENT_WRITE if wants_to_write else selectors.EVENT_READ
                if events != self._events:
                    self.server.loop.watch(self.sock, events, self.ready)
                    self._events = events
                return False
            certificate = self._tls.certificate()
            if self.gate is None:
                self.authenticated(self._security.principal_of(certificate))
        except (OSError, ValueError) as error:
            self._security.refused(self.peer, error)
            self.close()
            return False
        self._shaken = True
        return True
