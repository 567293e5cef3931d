"""Stateful stream processing: Kafka Streams' concepts in Python.

The public names; they load when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ottla.streams.aggregates import Avg as Avg
    from ottla.streams.aggregates import Count as Count
    from ottla.streams.aggregates import Max as Max
    from ottla.streams.aggregates import Min as Min
    from ottla.streams.aggregates import Sum as Sum
    from ottla.streams.builder import StreamsBuilder as StreamsBuilder
    from ottla.streams.dsl.global_table import GlobalTable as GlobalTable
    from ottla.streams.dsl.graph import Materialized as Materialized
    from ottla.streams.dsl.stream import KStream as KStream
    from ottla.streams.dsl.table import KTable as KTable
    from ottla.streams.errors_policy import ErrorHandlers as ErrorHandlers
    from ottla.streams.errors_policy import Failure as Failure
    from ottla.streams.operators.suppress import BufferBound as BufferBound
    from ottla.streams.processor import Processor as Processor
    from ottla.streams.processor import ProcessorContext as ProcessorContext
    from ottla.streams.records import Record as Record
    from ottla.streams.serdes import Codecs as Codecs
    from ottla.streams.serdes import Serde as Serde
    from ottla.streams.topology.topology import Topology as Topology
    from ottla.streams.windows import Window as Window
    from ottla.streams.windows import Windowed as Windowed
    from ottla.streams.windows import hopping as hopping
    from ottla.streams.windows import session as session
    from ottla.streams.windows import sliding as sliding
    from ottla.streams.windows import tumbling as tumbling
    from ottla.streams.windows import within as within

_HOMES = {
    "Avg": "aggregates",
    "BufferBound": "operators.suppress",
    "Codecs": "serdes",
    "Count": "aggregates",
    "ErrorHandlers": "errors_policy",
    "Failure": "errors_policy",
    "GlobalTable": "dsl.global_table",
    "KStream": "dsl.stream",
    "KTable": "dsl.table",
    "Materialized": "dsl.graph",
    "Max": "aggregates",
    "Min": "aggregates",
    "Processor": "processor",
    "ProcessorContext": "processor",
    "Record": "records",
    "Serde": "serdes",
    "StreamsBuilder": "builder",
    "Sum": "aggregates",
    "Topology": "topology.topology",
    "Window": "windows",
    "Windowed": "windows",
    "hopping": "windows",
    "session": "windows",
    "sliding": "windows",
    "tumbling": "windows",
    "within": "windows",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"ottla.streams has no public name {name!r}; it has {', '.join(sorted(_HOMES))}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
