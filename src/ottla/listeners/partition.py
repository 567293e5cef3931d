"""What the runner knows of an assigned partition, whichever kind of handlers its records go to."""

from __future__ import annotations

from typing import Protocol

from ottla.kafka.record import Message
from ottla.listeners.offsets import OffsetTracker


class Partition(Protocol):
    """The waiting records of one assigned partition, handled one after the other (or batch by batch).

    Contract: called from the consumer thread only, but for `feed`, which any thread may call; no method but
    `wait_stopped` blocks. Records are handled in the
    order they were fed. After `stop` no further record is begun: the one in hand finishes, unless it waits for a retry
    or an outage, which gives it up. `died` is for faults of the machinery; handlers' exceptions never get that far.

    Attributes:
        tracker: What is finished; told of records before they are fed.
        paused: Whether the runner has paused it; the runner's own note.
    """

    topic: str
    partition: int
    tracker: OffsetTracker
    paused: bool

    def start(self) -> None:
        """Records may be fed from now on."""

    def feed(self, messages: list[Message]) -> None:
        """More records."""

    def stop(self) -> None:
        """No further record is begun."""

    def wait_stopped(self, timeout_s: float) -> bool:
        """Waits until nothing is in hand any more; False if `timeout_s` was not enough."""

    def cancel(self) -> None:
        """Gives up what is in hand, as far as that is possible, and does not wait for it."""

    @property
    def died(self) -> BaseException | None:
        """What ended it, if anything but a stop did."""
