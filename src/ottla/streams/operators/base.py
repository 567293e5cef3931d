"""The port that every operator implements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ottla.streams.operators.batch import Batch

if TYPE_CHECKING:
    from ottla.streams.context import TaskContext


class Operator:
    """A step of a topology within one task.

    Contract:
    - **Threads.** One task, one thread at a time.
    - **Order.** `process` handles records in their order, and what it forwards is in an order that record-by-record
      processing could have given.
    - **Failure.** What user code raises goes to `TaskContext.failed`, which raises or lets the record be left out.

    Attributes:
        name: The node's.
        children: Where `forward` leads, in the order they were added.
    """

    name: str
    children: tuple[Operator, ...] = ()
    context: TaskContext

    def start(self, context: TaskContext) -> None:
        """Called once, before the first record; stores are open."""
        self.context = context

    def process(self, batch: Batch) -> None:
        """Handles at least one record."""
        raise NotImplementedError

    def flush(self) -> None:
        """Hands on what was held back until a commit; parents are flushed first."""

    def close(self) -> None:
        """Called once at the end."""

    def forward(self, batch: Batch) -> None:
        """Gives records to all children."""
        if len(batch):
            for child in self.children:
                child.process(batch)


def applied(
    operator: Operator, batch: Batch, function: Callable[..., Any], *arguments: Sequence[Any]
) -> tuple[list[Any], Batch]:
    """Calls user code for every record and gives the results, and the batch without the records that failed.

    It goes on after a failure where it stopped, so that nothing is called twice for a record.

    Args:
        function: Takes one item of each of `arguments`.
    """
    results: list[Any] = []
    feed: Iterable[Any] = map(function, *arguments)
    failed: list[int] = []
    count = len(batch)
    while True:
        try:
            # What was appended before an exception stays, and `map` has consumed the item that raised.
            results.extend(feed)
        except Exception as error:
            index = len(results)
            operator.context.failed(operator, batch, index, error)
            failed.append(index)
            results.append(None)
            continue
        break
    assert len(results) == count
    if not failed:
        return results, batch
    chosen = [True] * count
    for index in failed:
        chosen[index] = False
    return [result for result, kept in zip(results, chosen, strict=True) if kept], batch.where(chosen)
