"""The topologies of KafkaStreamsHarness.java, line by line in Ottla."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ottla.streams import (
    BufferBound,
    KStream,
    KTable,
    Processor,
    ProcessorContext,
    Record,
    StreamsBuilder,
    hopping,
    session,
    sliding,
    tumbling,
    within,
)
from ottla.streams.dsl.grouped import GroupedStream

Text = KStream[str, str]
Rows = KTable[str, str]

TOPOLOGIES: dict[str, Callable[[StreamsBuilder], object]] = {}


def topology(make: Callable[[StreamsBuilder], object]) -> Callable[[StreamsBuilder], object]:
    TOPOLOGIES[make.__name__] = make
    return make


def ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)


def stream(b: StreamsBuilder, topic: str) -> Text:
    return b.stream(topic, key=str, value=str)


def table(b: StreamsBuilder, topic: str) -> Rows:
    return b.table(topic, key=str, value=str)


def versioned(b: StreamsBuilder, topic: str) -> Rows:
    return b.table(topic, key=str, value=str, history=ms(100))


def grouped(b: StreamsBuilder, topic: str) -> GroupedStream[str, str]:
    return stream(b, topic).group_by_key()


def out(of: KStream[str, Any] | KTable[str, Any]) -> None:
    (of.to_stream() if isinstance(of, KTable) else of).to("out", key=str, value=str)


def out_number(of: KTable[str, int]) -> None:
    out(of.to_stream().map_values(lambda n: None if n is None else str(n)))


def out_windowed(of: KTable[Any, Any]) -> None:
    out(
        of.to_stream().map(
            lambda k, v: (f"{k.key}@{k.window.start_ms}/{k.window.end_ms}", None if v is None else str(v))
        )
    )


def a(value: str | None) -> bool:
    return value is not None and value.startswith("a")


def removed(group: str, value: str) -> str:
    return group.replace(value, "", 1)


def head(value: str) -> str:
    return value[0]


def head_or_none(key: str, value: str) -> Any:
    return None if value is None else value[0]


def head_unless_a(key: str, value: str) -> Any:
    return None if value is None or a(value) else value[0]


def foreign_key(value: str) -> str | None:
    return None if value.startswith("-") else value[0]


def concat(key: str, value: str, state: str) -> str:
    return state + value


def plus(x: str, y: str) -> str:
    return x + y


def pair(x: str | None, y: str | None) -> str:
    return f"{'null' if x is None else x}+{'null' if y is None else y}"


def start() -> str:
    return ">"


def by_head(key: str, value: str) -> tuple[str, str]:
    return value[0], value


TUMBLING = tumbling(ms(10), grace=ms(5))
HOPPING = hopping(ms(10), ms(4), grace=ms(5))
SLIDING = sliding(ms(10), grace=ms(5))
SESSION = session(ms(5), grace=ms(5))
JOINS = {
    "": within(ms(5), grace=ms(4)),
    "_after": within(ms(0), after=ms(8), grace=ms(4)),
    "_before": within(ms(2), before=ms(7)),
}

# --- one record at a time ---

TOPOLOGIES["filter"] = lambda b: out(stream(b, "left").filter(lambda k, v: a(v)))
TOPOLOGIES["filter_not"] = lambda b: out(stream(b, "left").filter_not(lambda k, v: a(v)))
TOPOLOGIES["map"] = lambda b: out(stream(b, "left").map(lambda k, v: (v, k)))
TOPOLOGIES["map_values"] = lambda b: out(stream(b, "left").map_values(lambda v: None if v is None else v + v))
TOPOLOGIES["flat_map"] = lambda b: out(stream(b, "left").flat_map(lambda k, v: [] if v is None else [(k, v), (v, k)]))
TOPOLOGIES["flat_map_values"] = lambda b: out(stream(b, "left").flat_map_values(lambda v: [] if v is None else list(v)))
TOPOLOGIES["select_key"] = lambda b: out(stream(b, "left").select_key(lambda k, v: v))
TOPOLOGIES["merge"] = lambda b: out(stream(b, "left").merge(stream(b, "right")))
TOPOLOGIES["repartition"] = lambda b: out(stream(b, "left").select_key(lambda k, v: v, key=str).repartition())
TOPOLOGIES["to_chosen"] = lambda b: stream(b, "left").to(lambda record: "out" if a(record.value) else "out2")


@topology
def split_merge(b: StreamsBuilder) -> None:
    parts = (
        stream(b, "left").split().branch(lambda k, v: v is None, "none").branch(lambda k, v: a(v), "a").default("rest")
    )
    out(parts["a"].map_values(lambda v: "A:" + v, value=str).merge(parts["rest"]).merge(parts["none"]))


# --- aggregations ---

TOPOLOGIES["count"] = lambda b: out_number(grouped(b, "left").count())
TOPOLOGIES["reduce"] = lambda b: out(grouped(b, "left").reduce(plus))
TOPOLOGIES["aggregate"] = lambda b: out(grouped(b, "left").aggregate(start, concat))
TOPOLOGIES["aggregate_to_none"] = lambda b: out(
    grouped(b, "left").aggregate(start, lambda k, v, s: None if a(v) else s + v, value=str)
)
TOPOLOGIES["group_by"] = lambda b: out_number(
    stream(b, "left").filter(lambda k, v: v is not None).group_by(lambda k, v: head(v), key=str).count()
)
TOPOLOGIES["cogroup"] = lambda b: out(
    grouped(b, "left")
    .cogroup(lambda k, v, s: s + "l" + v)
    .cogroup(grouped(b, "right"), lambda k, v, s: s + "r" + v)
    .aggregate(start)
)

# --- tables ---

TOPOLOGIES["table"] = lambda b: out(table(b, "left"))
TOPOLOGIES["to_table"] = lambda b: out(stream(b, "left").to_table())
TOPOLOGIES["table_filter"] = lambda b: out(table(b, "left").filter(lambda k, v: a(v)))
TOPOLOGIES["table_filter_kept"] = lambda b: out(table(b, "left").filter(lambda k, v: a(v), store="kept"))
TOPOLOGIES["table_map_values"] = lambda b: out(table(b, "left").map_values(lambda v: v + v))
TOPOLOGIES["table_map_values_kept"] = lambda b: out(
    table(b, "left").map_values(lambda v: v + v, value=str, store="kept")
)
TOPOLOGIES["table_filter_group"] = lambda b: out(
    table(b, "left").filter(lambda k, v: not a(v)).group_by(by_head).reduce(plus, removed)
)
TOPOLOGIES["table_group_count"] = lambda b: out_number(table(b, "left").group_by(by_head).count())
TOPOLOGIES["table_group_reduce"] = lambda b: out(table(b, "left").group_by(by_head).reduce(plus, removed))
TOPOLOGIES["table_group_aggregate"] = lambda b: out(
    table(b, "left").group_by(by_head).aggregate(start, concat, lambda k, v, s: removed(s, v))
)
TOPOLOGIES["versioned_table_group"] = lambda b: out_number(versioned(b, "left").group_by(by_head).count())

# --- windows ---

TOPOLOGIES["tumbling_count"] = lambda b: out_windowed(grouped(b, "left").windowed_by(TUMBLING).count())
TOPOLOGIES["tumbling_reduce"] = lambda b: out_windowed(grouped(b, "left").windowed_by(TUMBLING).reduce(plus))
TOPOLOGIES["tumbling_on_close"] = lambda b: out_windowed(
    grouped(b, "left").windowed_by(TUMBLING).on_close().aggregate(start, concat)
)
TOPOLOGIES["hopping_aggregate"] = lambda b: out_windowed(
    grouped(b, "left").windowed_by(HOPPING).aggregate(start, concat)
)
TOPOLOGIES["hopping_on_close"] = lambda b: out_windowed(grouped(b, "left").windowed_by(HOPPING).on_close().count())
TOPOLOGIES["sliding_count"] = lambda b: out_windowed(grouped(b, "left").windowed_by(SLIDING).count())
TOPOLOGIES["sliding_aggregate"] = lambda b: out_windowed(
    grouped(b, "left").windowed_by(SLIDING).aggregate(start, concat)
)
TOPOLOGIES["sliding_on_close"] = lambda b: out_windowed(grouped(b, "left").windowed_by(SLIDING).on_close().count())
TOPOLOGIES["session_count"] = lambda b: out_windowed(grouped(b, "left").windowed_by(SESSION).count())
TOPOLOGIES["session_reduce"] = lambda b: out_windowed(grouped(b, "left").windowed_by(SESSION).reduce(plus))
TOPOLOGIES["session_aggregate"] = lambda b: out_windowed(
    grouped(b, "left").windowed_by(SESSION).aggregate(start, concat, lambda k, x, y: x + y)
)
TOPOLOGIES["session_on_close"] = lambda b: out_windowed(grouped(b, "left").windowed_by(SESSION).on_close().count())
TOPOLOGIES["cogroup_tumbling"] = lambda b: out_windowed(
    grouped(b, "left")
    .cogroup(lambda k, v, s: s + "l" + v)
    .cogroup(grouped(b, "right"), lambda k, v, s: s + "r" + v)
    .windowed_by(TUMBLING)
    .aggregate(start)
)
TOPOLOGIES["suppress_tumbling"] = lambda b: out_windowed(
    grouped(b, "left").windowed_by(TUMBLING).count().suppress_until_close()
)
TOPOLOGIES["suppress_session"] = lambda b: out_windowed(
    grouped(b, "left").windowed_by(SESSION).count().suppress_until_close()
)
TOPOLOGIES["suppress_for"] = lambda b: out_number(grouped(b, "left").count().suppress_for(ms(10)))
TOPOLOGIES["suppress_for_bounded"] = lambda b: out_number(
    grouped(b, "left").count().suppress_for(ms(30), BufferBound(records=2))
)
TOPOLOGIES["suppress_table"] = lambda b: out(table(b, "left").suppress_for(ms(10)))


# --- joins ---


def _stream_joins(suffix: str) -> None:
    windows = JOINS[suffix]
    TOPOLOGIES[f"stream_join{suffix}"] = lambda b: out(stream(b, "left").join(stream(b, "right"), pair, windows))
    TOPOLOGIES[f"stream_left_join{suffix}"] = lambda b: out(
        stream(b, "left").left_join(stream(b, "right"), pair, windows)
    )
    TOPOLOGIES[f"stream_outer_join{suffix}"] = lambda b: out(
        stream(b, "left").outer_join(stream(b, "right"), pair, windows)
    )


for _suffix in JOINS:
    _stream_joins(_suffix)

TOPOLOGIES["stream_join_rekeyed"] = lambda b: out(
    stream(b, "left")
    .filter(lambda k, v: v is not None)
    .select_key(lambda k, v: head(v), key=str)
    .join(stream(b, "right"), pair, JOINS[""])
)
TOPOLOGIES["stream_left_join_rekeyed"] = lambda b: out(
    stream(b, "left").select_key(head_or_none, key=str).left_join(stream(b, "right"), pair, JOINS[""])
)
TOPOLOGIES["stream_table_left_join_rekeyed"] = lambda b: out(
    stream(b, "left").select_key(head_unless_a, key=str).left_join(table(b, "right"), pair)
)
TOPOLOGIES["stream_table_join"] = lambda b: out(stream(b, "left").join(table(b, "right"), pair))
TOPOLOGIES["stream_table_left_join"] = lambda b: out(stream(b, "left").left_join(table(b, "right"), pair))
TOPOLOGIES["stream_versioned_join"] = lambda b: out(stream(b, "left").join(versioned(b, "right"), pair))
TOPOLOGIES["stream_versioned_left_join"] = lambda b: out(stream(b, "left").left_join(versioned(b, "right"), pair))
TOPOLOGIES["stream_filtered_table_join"] = lambda b: out(
    stream(b, "left").join(table(b, "right").filter(lambda k, v: a(v)).map_values(lambda v: v + "!"), pair)
)
TOPOLOGIES["stream_global_join"] = lambda b: out(
    stream(b, "left").join(
        b.global_table("right", key=str, value=str), pair, by=lambda k, v: "" if v is None else head(v)
    )
)
TOPOLOGIES["stream_global_left_join"] = lambda b: out(
    stream(b, "left").left_join(
        b.global_table("right", key=str, value=str), pair, by=lambda k, v: "" if v is None else head(v)
    )
)
TOPOLOGIES["table_join"] = lambda b: out(table(b, "left").join(table(b, "right"), pair))
TOPOLOGIES["table_left_join"] = lambda b: out(table(b, "left").left_join(table(b, "right"), pair))
TOPOLOGIES["table_outer_join"] = lambda b: out(table(b, "left").outer_join(table(b, "right"), pair))
TOPOLOGIES["table_join_group"] = lambda b: out_number(
    table(b, "left").outer_join(table(b, "right"), pair).group_by(by_head).count()
)
TOPOLOGIES["versioned_table_join"] = lambda b: out(versioned(b, "left").join(table(b, "right"), pair))
TOPOLOGIES["table_join_by"] = lambda b: out(
    table(b, "left").join_by(table(b, "right"), foreign_key, pair, store="joined")
)
TOPOLOGIES["table_left_join_by"] = lambda b: out(
    table(b, "left").left_join_by(table(b, "right"), foreign_key, pair, store="joined")
)
TOPOLOGIES["table_join_by_not_kept"] = lambda b: out(table(b, "left").join_by(table(b, "right"), foreign_key, pair))


# --- processors ---


class Punctual(Processor[str, str]):
    """Collects values per key in a store, and gives all out every ten milliseconds of stream time."""

    def init(self, context: ProcessorContext[str, str]) -> None:
        self.context = context
        self.seen = context.store("seen")
        context.schedule(ms(10), "stream-time", self.give_out)

    def give_out(self, time_ms: int) -> None:
        for key, value in list(self.seen.all()):
            self.context.forward(Record(key, f"{time_ms}:{value}", time_ms))

    def process(self, record: Record[str, str]) -> None:
        if record.key is None:
            return
        before = self.seen.get(record.key) or ""
        self.seen.put(record.key, None if record.value is None else before + record.value)


@topology
def process(b: StreamsBuilder) -> None:
    b.add_store("seen", key=str, value=str)
    out(stream(b, "left").process(Punctual, stores=["seen"], key=str, value=str))
