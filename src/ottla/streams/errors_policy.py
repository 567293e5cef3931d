"""What becomes of a record that cannot be read, processed or written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ottla.streams.records import RawRecord

Response = Literal["continue", "fail", "dead-letter"]
"""`continue`: leave the record out, counted and logged. `fail`: stop the application. `dead-letter`: write it with its
raw bytes to `<topic>-dlq`, then go on."""

Stage = Literal["decode", "processing", "production"]


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed.

    Attributes:
        operator: The name of the operator it failed in.
        record: The input record; None where there was none (a punctuation, a flush). Where the broker refused an
            output: that output, with -1 for partition and offset.
        attempts: How often it was tried.
    """

    stage: Stage
    operator: str
    error: BaseException
    record: RawRecord | None
    attempts: int = 1


Handler = Response | Callable[[Failure], Response]


@dataclass(frozen=True, slots=True)
class ErrorHandlers:
    """What to do with failures: one answer for all, or a function that looks at each.

    Attributes:
        decode: Key or value of an input record cannot be read.
        processing: User code raised.
        production: An output cannot be encoded, or the broker refused it for good. The dead letter is then the output
            as it was to be written, or, where it cannot be encoded, the input record.
        dead_letter_topic: From a topic to the topic of its dead letters.
    """

    decode: Handler = "dead-letter"
    processing: Handler = "dead-letter"
    production: Handler = "fail"
    dead_letter_topic: Callable[[str], str] = "{}-dlq".format

    def response(self, failure: Failure) -> Response:
        """What is to be done."""
        handlers: dict[Stage, Handler] = {
            "decode": self.decode,
            "processing": self.processing,
            "production": self.production,
        }
        handler = handlers[failure.stage]
        return handler(failure) if callable(handler) else handler
