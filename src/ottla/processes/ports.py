"""Is a port free? Asked before anything is started, so that the answer names the setting instead of a stack trace."""

from __future__ import annotations

import errno
import random
import socket
from contextlib import ExitStack, suppress

from ottla.errors import ConfigurationError, PortInUse

# Linux takes the ports of outgoing connections from 32768 up, macOS from 49152 up.
_RANGE = range(20000, 32000)


def ensure_port_free(what: str, host: str, port: int, setting: str) -> None:
    """Checks that a server could listen on `host`:`port` now. Port 0 is always free.

    Args:
        what: The server, in words, for the message.
        setting: What chooses another port, for the message (`"--broker-port"`).

    Raises:
        PortInUse: Something listens there already.
        ConfigurationError: The address cannot be used at all (not this machine's, or a port that needs root).
    """
    if port == 0:
        return
    try:
        with _listening_socket(host, port):
            pass
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(what, host, port, setting) from None
        raise ConfigurationError(
            f"{what}: cannot listen on {host}:{port} ({error.strerror}). Choose another port with {setting}."
        ) from None


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """`count` different ports that were free a moment ago (another program may take one before it is used).

    They lie below the range from which systems take the ports of outgoing connections. Else a client that tries again
    and again to reach a server that is down could be given that very port, and keep the server from coming back.

    Raises:
        ConfigurationError: There are not that many.
    """
    found: list[int] = []
    with ExitStack() as held:  # all held at once, so that none is found twice
        for port in random.sample(_RANGE, len(_RANGE)):
            if len(found) == count:
                break
            with suppress(OSError):
                held.enter_context(_listening_socket(host, port))
                found.append(port)
    if len(found) < count:
        raise ConfigurationError(f"{host} has no {count} free ports from {_RANGE.start} to {_RANGE.stop}")
    return found


def _listening_socket(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        # As servers do it: connections of an earlier run that still linger must not count as "in use".
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(1)
    except OSError:
        sock.close()
        raise
    return sock
