"""The processor API: steps of one's own, with stores, timers and children by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from ottla.errors import TopologyError
from ottla.streams.records import Record, RecordMetadata

if TYPE_CHECKING:
    from ottla.streams.operators.process import ProcessOperator

KIn = TypeVar("KIn")
VIn = TypeVar("VIn")
KOut = TypeVar("KOut")
VOut = TypeVar("VOut")

Punctuate = Literal["stream-time", "wall-clock"]


class ProcessorContext(Generic[KOut, VOut]):
    """What a processor can reach.

    Attributes:
        application_id: The application's name.
        task_id: The task's (`"0_3"`).
    """

    def __init__(self, operator: ProcessOperator, fixed_key: bool) -> None:
        self._operator = operator
        self._fixed_key = fixed_key
        self.application_id = operator.context.topology.application_id
        self.task_id = operator.context.task_name

    def forward(self, record: Record[KOut, VOut], *, to: str | None = None) -> None:
        """Gives a record to all children, or to the one with a name.

        Raises:
            TopologyError: There is no such child; or the key is another one in `process_values`.
        """
        self._operator.emit(record, to, self._fixed_key)

    def store(self, name: str) -> Any:
        """A store that was named when the processor was added.

        Raises:
            TopologyError: It was not.
        """
        if name not in self._operator.stores:
            raise TopologyError(
                f"processor {self._operator.name!r} is not connected to store {name!r}: name it in stores=[...]"
            )
        return self._operator.context.store(name)

    def schedule(self, interval: timedelta, kind: Punctuate, callback: Callable[[int], None]) -> Callable[[], None]:
        """Calls back at intervals of stream time or of the wall clock, with the time in milliseconds; gives a function
        that stops it. On stream time the first call comes with the first record."""
        return self._operator.schedule(interval // timedelta(milliseconds=1), kind, callback)

    @property
    def metadata(self) -> RecordMetadata | None:
        """Where the record that is being processed came from; None outside of `process`."""
        return self._operator.metadata()

    @property
    def stream_time_ms(self) -> int:
        """The highest timestamp the task has seen; -1 at first."""
        return self._operator.context.stream_time_ms

    @property
    def wall_clock_ms(self) -> int:
        """The time now."""
        return self._operator.context.clock.now_ms()


@runtime_checkable
class Processor(Protocol[KIn, VIn]):
    """A step of one's own. Each task makes one. `init` and `close` may be left out (derive from this class)."""

    def init(self, context: ProcessorContext[Any, Any]) -> None:
        """Called once, before the first record."""

    def process(self, record: Record[KIn, VIn]) -> None:
        """Called for each record."""
        ...

    def close(self) -> None:
        """Called once at the end."""
