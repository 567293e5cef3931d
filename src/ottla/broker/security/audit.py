"""The audit log: one line of JSON for each decision, on the logger `ottla.broker.audit`.

Denials are INFO, as are failed authentications; what was allowed is DEBUG, and costs nothing while that is off. Asked
only to filter a list (which topics may this client see?), a "no" is no attempt at anything and is not logged.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from ottla.broker.security.resources import Operation, PatternType, ResourceType

if TYPE_CHECKING:
    from ottla.broker.connection import Call

logger = logging.getLogger("ottla.broker.audit")

NAME_MAX = 500  # of what clients call themselves and ask for: a line is a line


def show_denials() -> None:
    """Lets denials through even where the rest of the log begins at warnings, unless somebody has set this logger."""
    if logger.level == logging.NOTSET and not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)


def decided(call: Call, allowed: bool, operation: Operation, resource: ResourceType, name: str, rule: str) -> None:
    """Writes a decision down. `rule` says why: the ACL, super.users, or that there was none."""
    level = logging.DEBUG if allowed else logging.INFO
    if not logger.isEnabledFor(level):
        return
    line = {
        "event": "authorization",
        "result": "allowed" if allowed else "denied",
        "principal": call.principal,
        "host": call.client_host,
        "operation": operation.name,
        "resource": f"{resource.name}:{PatternType.LITERAL.name}:{name[:NAME_MAX]}",
        "api": call.api.name,
        "version": call.version,
        "client_id": (call.client_id or "")[:NAME_MAX],
        "rule": rule,
    }
    logger.log(level, "%s", json.dumps(line, ensure_ascii=True))


def authenticated(*, listener: str, host: str, mechanism: str, principal: str | None, fault: str | None = None) -> None:
    """Writes down that a client has shown who it is, or has not: then the principal is only what it claims to be."""
    level = logging.DEBUG if fault is None else logging.INFO
    if not logger.isEnabledFor(level):
        return
    line = {
        "event": "authentication",
        "result": "succeeded" if fault is None else "failed",
        "principal": principal[:NAME_MAX] if principal is not None else None,
        "host": host,
        "listener": listener,
        "mechanism": mechanism,
    }
    if fault is not None:
        line["fault"] = fault
    logger.log(level, "%s", json.dumps(line, ensure_ascii=True))


__all__ = ["authenticated", "decided", "logger"]
