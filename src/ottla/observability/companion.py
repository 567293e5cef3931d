"""What goes along with the records of an app: spans, and what log lines say of the record in hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from ottla.listeners.hooks import Companion
from ottla.observability.in_hand import LogCompanion
from ottla.observability.tracing import Tracing
from ottla.settings import Settings


def companion_for(settings: Settings, tracing: Tracing | None) -> Companion | None:
    """What an app with these settings needs; None, which costs nothing, where that is nothing.

    Args:
        settings: Whether log lines are JSON.
        tracing: Its spans, where they are wanted.
    """
    wanted: list[Companion] = []
    if tracing is not None:
        wanted.append(tracing)
    if settings.logging.format == "json":
        wanted.append(LogCompanion())
    return wanted[0] if len(wanted) == 1 else Several(wanted) if wanted else None


class Several:
    """Several companions as one: entered in their order."""

    def __init__(self, companions: Sequence[Companion]) -> None:
        self._all = tuple(companions)

    note = None

    @contextmanager
    def handling(self, records: Sequence[Any]) -> Iterator[None]:
        with ExitStack() as stack:
            for one in self._all:
                stack.enter_context(one.handling(records))
            yield

    def failed(self, error: BaseException) -> None:
        for one in self._all:
            one.failed(error)

    def given_up(self, error: BaseException) -> None:
        for one in self._all:
            one.given_up(error)

    def received(self, messages: Sequence[Any]) -> None:
        for one in self._all:
            one.received(messages)

    def committed(self, topics: Sequence[str], seconds: float, error: Any) -> None:
        for one in self._all:
            one.committed(topics, seconds, error)
