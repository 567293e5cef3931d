"""TLS on the broker's loop: sockets that never block, with the reads and writes that a Connection makes."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import tempfile
from collections.abc import Iterator

from ottla.broker.security.config import TlsConfig

_VERIFY = {"none": ssl.CERT_NONE, "requested": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
RECORD_BYTES = 16 * 1024  # the most that one TLS record holds
BYTES_PER_SEND = 512 * 1024

Buffer = bytes | bytearray | memoryview


def server_context(config: TlsConfig) -> ssl.SSLContext:
    """The context for a listener's connections.

    Raises:
        ValueError: Certificate, key or authorities cannot be used; says which and why.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = min(_VERSIONS[version] for version in config.protocols)
    context.maximum_version = max(_VERSIONS[version] for version in config.protocols)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        # The module reads keys from files only.
        with _private_file(config.certificate) as certificate, _private_file(config.key) as key:
            context.load_cert_chain(certificate, key, password=config.key_password or _no_password)
    except (ssl.SSLError, OSError, _PasswordMissing) as error:
        raise ValueError(f"certificate and key cannot be used: {_reason(error)}") from None
    if config.trusted is not None:
        try:
            context.load_verify_locations(cadata=config.trusted)
        except ssl.SSLError as error:
            raise ValueError(f"the trusted certificates cannot be used: {_reason(error)}") from None
    context.verify_mode = _VERIFY[config.client_auth]
    if config.ciphers is not None:
        try:
            context.set_ciphers(config.ciphers.replace(",", ":"))
        except ssl.SSLError as error:
            raise ValueError(f"ssl.cipher.suites: {_reason(error)}; OpenSSL's names for TLS 1.2 are expected") from None
    return context


class _PasswordMissing(Exception):
    pass


def _no_password() -> str:
    """Without this OpenSSL would ask on the terminal."""
    raise _PasswordMissing("the key is encrypted, and ssl.key.password is not set")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return str(error) or type(error).__name__


@contextlib.contextmanager
def _private_file(text: str) -> Iterator[str]:
    handle, path = tempfile.mkstemp(prefix="ottla-tls-", suffix=".pem")  # readable by its owner alone
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        yield path
    finally:
        os.unlink(path)


class TlsSocket:
    """A connected, non-blocking socket with TLS around it, used like the socket itself.

    `recv_into` and `sendmsg` raise BlockingIOError where the plain socket would.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._again: Buffer | None = None

    def fileno(self) -> int:
        return self._tls.fileno()

    def close(self) -> None:
        self._tls.close()

    def shake_hands(self) -> bool | None:
        """Goes on with the handshake. None: it is done. True: it waits to send more; False: to receive more.

        Raises:
            OSError: It failed.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            return True
        return None

    def certificate(self) -> bytes | None:
        """The client's certificate in DER, checked; None if it showed none."""
        return self._tls.getpeercert(binary_form=True)

    def pending(self) -> int:
        """Bytes that are deciphered already: the selector does not know of them."""
        return self._tls.pending()

    def recv_into(self, view: memoryview) -> int:
        """Fills the view as far as there is data: a record holds 16 KiB, and a call each would be slow."""
        count = 0
        while count < len(view):
            try:
                received = self._tls.recv_into(view[count:])
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            if not received:
                return count  # the end; it is reported again by the next call
            count += received
        if not count:
            raise BlockingIOError
        return count

    def sendmsg(self, chunks: list[memoryview]) -> int:
        """Sends the beginning of what is given, small chunks together; gives the number of bytes."""
        total, position, index = 0, 0, 0
        while index < len(chunks) and total < BYTES_PER_SEND:
            data = self._again
            if data is None:
                data = _record(chunks, index, position)
            try:
                sent = self._tls.send(data)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self._again = data  # OpenSSL wants the very same bytes again
                break
            self._again = None
            total += sent
            position += sent
            while index < len(chunks) and position >= len(chunks[index]):
                position -= len(chunks[index])
                index += 1
        if not total:
            raise BlockingIOError
        return total


def _record(chunks: list[memoryview], index: int, position: int) -> Buffer:
    first = chunks[index][position:]
    if len(first) >= RECORD_BYTES or index + 1 == len(chunks):
        return first[:RECORD_BYTES]
    parts, size = [first], len(first)
    for chunk in chunks[index + 1 :]:
        parts.append(chunk[: RECORD_BYTES - size])
        size += len(parts[-1])
        if size >= RECORD_BYTES:
            break
    return b"".join(parts)
