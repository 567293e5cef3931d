"""What the core tells whoever watches it. `observability` listens here; the core knows nothing of metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ottla.kafka.record import Message


class Observer(Protocol):
    """Told of everything that happens to records. Called from several threads; must be quick and must not raise."""

    def handled(self, topic: str, handler: str, seconds: float) -> None:
        """A handler finished a record, `seconds` after its first attempt began."""

    def handled_many(self, topic: str, handler: str, seconds: list[float]) -> None:
        """As many calls of `handled`."""

    def failed(self, topic: str, handler: str) -> None:
        """One attempt of a handler raised."""

    def retried(self, topic: str, handler: str) -> None:
        """A further attempt begins."""

    def dead_lettered(self, topic: str, handler: str) -> None:
        """A record's copy was acknowledged by the dead-letter topic."""

    def parked(self, topic: str, handler: str) -> None:
        """A record's copy was acknowledged by a retry topic."""

    def skipped(self, topic: str) -> None:
        """A record of a known type that no handler listens to was passed over."""

    def published(self, topic: str, count: int = 1) -> None:
        """Events were acknowledged."""

    def publish_failed(self, topic: str) -> None:
        """An event that nobody waits for was refused."""

    def commit_failed(self) -> None:
        """The group's offsets could not be committed."""


class Companion(Protocol):
    """Goes along with records that are handled: for spans, and for what log lines say of the record in hand. Where
    there is none it costs nothing. Called from several threads; must not raise.

    Attributes:
        note: Told which record is in hand, instead of `handling`, where a record goes to its handler and nothing else
            happens; None: no record any more. A companion that needs `handling` for each has no such function.
    """

    @property
    def note(self) -> Callable[[Any], None] | None: ...

    def handling(self, records: Sequence[Any]) -> AbstractContextManager[None]:
        """Around all that is done for some records (`listeners.record.Delivery`) that go to one handler together: its
        attempts, their waits, the publishing. Entered and left in the same thread or task."""

    def failed(self, error: BaseException) -> None:
        """One attempt raised; within `handling`."""

    def given_up(self, error: BaseException) -> None:
        """A record goes to the dead letters; within `handling`, unless it never reached a handler."""

    def received(self, messages: Sequence[Message]) -> None:
        """Records of one partition have come, on the consumer thread."""

    def committed(self, topics: Sequence[str], seconds: float, error: Any) -> None:
        """A commit of offsets in these topics has ended, `seconds` after it began."""


class Conditions(Protocol):
    """Where parts of a service say that something is wrong, by name, and that it is right again."""

    def raise_condition(self, name: str, reason: str) -> None:
        """Something is wrong: the service is not ready while it lasts. Raising it again replaces the reason."""

    def clear_condition(self, name: str) -> None:
        """It is right again."""
