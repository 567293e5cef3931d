"""Each event once: whoever publishes at least once may publish one twice, and a total must not count it twice.

Exactly once, as streams promise it, is about the records of a topic; that two records are one event only their key
tells. A store remembers the orders that were seen, some fifty bytes for each.
"""

from __future__ import annotations

from typing import TypeVar

from ottla.streams import KStream, Processor, ProcessorContext, Record, StreamsBuilder

V = TypeVar("V")


def once_per_key(builder: StreamsBuilder, events: KStream[str, V], store: str) -> KStream[str, V]:
    """The first event of each key.

    Args:
        store: The name of the store that remembers them.
    """
    builder.add_store(store, key=str, value=int)

    class First(Processor[str, V]):
        def init(self, context: ProcessorContext[str, V]) -> None:
            self.context = context
            self.seen = context.store(store)

        def process(self, record: Record[str, V]) -> None:
            if self.seen.get(record.key) is None:
                self.seen.put(record.key, record.timestamp_ms)
                self.context.forward(record)

    return events.process_values(First, stores=[store], value=events.value, name=store)
