"""How a child says that it is ready: a line that it prints, or a URL that answers 200."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit


class Readiness(Protocol):
    """A question asked again and again until it says yes. Asked from one thread at a time; must not block for long."""

    def probe(self, log_file: Path, offset: int) -> Callable[[], re.Match[str] | bool]:
        """Gives a function to poll, for a child whose output goes to `log_file` from byte `offset` on."""

    def describe(self) -> str:
        """What is being waited for, in words."""


class LineReady:
    """Ready once the child printed a line in which `pattern` (a regular expression) is found.

    The match is kept in `Child.ready_match`, so that a port chosen by the child can be read from it.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = re.compile(pattern)

    def probe(self, log_file: Path, offset: int) -> Callable[[], re.Match[str] | bool]:
        position = offset

        def look() -> re.Match[str] | bool:
            nonlocal position
            with log_file.open("rb") as file:
                file.seek(position)
                new = file.read()
            complete, newline, _ = new.rpartition(b"\n")  # a half-written line is read again next time
            position += len(complete) + len(newline)
            for line in complete.decode("utf-8", "replace").splitlines():
                if match := self.pattern.search(line):
                    return match
            return False

        return look

    def describe(self) -> str:
        return f"a line matching {self.pattern.pattern!r}"


class HttpReady:
    """Ready once a GET of `url` answers 200. A refused connection, another status or no answer in time mean not yet.

    Args:
        url: An http:// URL, usually `/health/ready`.
        timeout_s: For one attempt, in seconds.
    """

    def __init__(self, url: str, *, timeout_s: float = 1.0) -> None:
        self.url = url
        self.timeout_s = timeout_s

    def probe(self, log_file: Path, offset: int) -> Callable[[], re.Match[str] | bool]:
        return self._answers

    def _answers(self) -> bool:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=self.timeout_s)
        try:
            connection.request("GET", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def describe(self) -> str:
        return f"200 from {self.url}"
