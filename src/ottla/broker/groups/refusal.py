"""Why a group does not do what it is asked to."""

from __future__ import annotations

import logging

from ottla.broker.wire.errors import ErrorCode

logger = logging.getLogger("ottla.broker")


class Refused(Exception):
    """A request that a group refuses: Kafka's error code, and the message that newer APIs carry beside it."""

    def __init__(self, code: ErrorCode, message: str = "") -> None:
        self.code = code
        super().__init__(message)

    @property
    def message(self) -> str | None:
        return str(self) or None


def unwritten(name: str, error: OSError) -> ErrorCode:
    """Logs that a change of a group could not be written down; gives what clients are told, who then try again."""
    logger.error("group %s: a change could not be written: %s", name, error)
    return ErrorCode.COORDINATOR_NOT_AVAILABLE
