"""Log lines of a service that `ottla run` serves: one line per event on stderr."""

from __future__ import annotations

import logging
import sys
import time

# Libraries whose informational lines repeat what Ottla says itself, or come once per request.
CHATTY = ("uvicorn.error", "httpx", "httpcore")


class LineFormatter(logging.Formatter):
    """`2026-01-31T08:15:02.123Z INFO  inventory-service handled ...`: time in UTC, level, service, message."""

    def __init__(self, service: str) -> None:
        super().__init__(f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {service.replace('%', '%%')} %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))


def configure_logging(service: str, level: str) -> None:
    """Sends the root logger's lines to stderr and quiets the chatty libraries.

    Args:
        service: The name each line carries.
        level: A level of the logging module, in any case (`"info"`).
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
