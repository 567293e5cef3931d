"""Log lines of a service: for people, or an object of JSON per line for programs. Standard logging only."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, TextIO

from ottla.observability.in_hand import fields_in_hand
from ottla.settings import LoggingSettings

# Libraries whose informational lines repeat what Ottla says itself, or come once per request.
CHATTY = ("uvicorn.error", "httpx", "httpcore")

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """`2026-01-31T08:15:02.123Z INFO  inventory-service handled ...`: time in UTC, level, service, message."""

    def __init__(self, service: str) -> None:
        super().__init__(f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {service.replace('%', '%%')} %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))


class JsonFormatter(logging.Formatter):
    """An object per line: time, level, logger, service, message; of a line that a handler logs, the record in hand and
    the trace; what was given by `extra=`; of an exception, its type, text and stack trace.

    Args:
        service: The name each line carries.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "service": self._service,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in fields_in_hand().items() if name not in line)
        line.update(_trace())
        line.update((name, value) for name, value in vars(record).items() if name not in _STANDARD and name not in line)
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, _ = record.exc_info
            line["exception"] = {
                "type": kind.__name__,
                "message": str(error),
                "stack": self.formatException(record.exc_info),
            }
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logging(service: str, settings: LoggingSettings | None = None, *, stream: TextIO | None = None) -> None:
    """Sends the root logger's lines to a stream and quiets the chatty libraries. `ottla run` does so by itself.

    Args:
        service: The name each line carries.
        settings: Format and level.
        stream: Where to; None is stderr.
    """
    settings = settings or LoggingSettings()
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service) if settings.format == "json" else LineFormatter(service))
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def _trace() -> dict[str, str]:
    """The span that is open, where there is OpenTelemetry."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    span = trace.get_current_span().get_span_context()
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"} if span.is_valid else {}
