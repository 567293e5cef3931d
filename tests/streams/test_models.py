"""Windows, joins and stores against models so simple that they cannot be wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.streams import StreamsBuilder, hopping, session, sliding, within
from ottla.streams.records import RawBatch
from ottla.streams.serdes import LONG, TEXT
from ottla.streams.stores.memory import MemoryStore
from ottla.streams.stores.versioned import VersionedStore
from ottla.testing import TopologyTestDriver

LONG_AGO = timedelta(days=1)
few = settings(max_examples=30, deadline=None)
keys = st.sampled_from("ab")
times = st.integers(0, 60)
records = st.lists(st.tuples(keys, times), max_size=25)


def ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)


def windowed(windows: Any, given_records: list[tuple[str, int]], together: bool) -> dict[tuple[str, int, int], int]:
    """What a count by window holds in the end."""
    builder = StreamsBuilder()
    found: dict[tuple[str, int, int], int] = {}

    def note(key: Any, value: int | None) -> None:
        place = (key.key, *key.window)
        if value is None:
            found.pop(place, None)
        else:
            found[place] = value

    builder.stream("in", key=str, value=int).group_by_key().windowed_by(windows).count().to_stream().foreach(note)
    with TopologyTestDriver(builder.build()) as driver:
        topic = driver.input("in", key=str, value=int)
        raw = [topic.record(1, key=key, timestamp_ms=time) for key, time in given_records]
        if together and raw:
            driver.pipe_together(RawBatch.of(raw))
        else:
            driver.pipe(raw)
    return found


@few
@given(records, st.integers(1, 12), st.integers(1, 12), st.integers(0, 15), st.booleans())
def test_hopping_windows(found: list[tuple[str, int]], size: int, advance: int, grace: int, together: bool) -> None:
    advance = min(size, advance)
    expected: Counter[tuple[str, int, int]] = Counter()
    now = -1
    for key, time in found:
        now = max(now, time)
        for start in range(0, time + 1, advance):
            if start <= time < start + size and start + size > now - grace:
                expected[key, start, start + size] += 1
    assert windowed(hopping(ms(size), ms(advance), grace=ms(grace)), found, together) == expected


@few
@given(records, st.integers(1, 12), st.booleans())
def test_sessions(found: list[tuple[str, int]], gap: int, together: bool) -> None:
    expected: dict[tuple[str, int, int], int] = {}
    for key in "ab":
        current: list[int] = []
        for time in sorted(time for k, time in found if k == key):
            if current and time - current[-1] > gap:
                expected[key, current[0], current[-1]] = len(current)
                current = []
            current.append(time)
        if current:
            expected[key, current[0], current[-1]] = len(current)
    assert windowed(session(ms(gap), grace=LONG_AGO), found, together) == expected


@few
@given(records, st.integers(1, 12), st.booleans())
def test_sliding_windows(found: list[tuple[str, int]], difference: int, together: bool) -> None:
    expected: dict[tuple[str, int, int], int] = {}
    for key in "ab":
        stamps = [time for k, time in found if k == key]
        starts = {max(0, time - difference) for time in stamps} | {time + 1 for time in stamps}
        for start in starts:
            count = sum(start <= time <= start + difference for time in stamps)
            if count:
                expected[key, start, start + difference] = count
    assert windowed(sliding(ms(difference), grace=LONG_AGO), found, together) == expected


sides = st.lists(st.tuples(st.booleans(), keys, times), max_size=25)


@few
@given(sides, st.integers(0, 8), st.integers(0, 8), st.sampled_from(["join", "left_join", "outer_join"]))
def test_stream_joins(found: list[tuple[bool, str, int]], before: int, after: int, kind: str) -> None:
    builder = StreamsBuilder()
    left, right = (builder.stream(topic, key=str, value=int) for topic in ("left", "right"))
    out: list[tuple[int | None, int | None]] = []
    join: Callable[..., Any] = getattr(left, kind)
    joined = join(right, lambda a, b: (a, b), within(before=ms(before), after=ms(after), grace=LONG_AGO), value=list)
    joined.foreach(lambda key, value: out.append(value))
    with TopologyTestDriver(builder.build()) as driver:
        topics = {side: driver.input("left" if side else "right", key=str, value=int) for side in (True, False)}
        for number, (side, key, time) in enumerate(found):
            topics[side].pipe(number, key=key, timestamp_ms=time)
        for side in (True, False):  # time goes on: what has found no partner comes out
            topics[side].pipe(-1, key=f"end {side}", timestamp_ms=10**9)
            topics[side].pipe(-1, key=f"end {side}", timestamp_ms=2 * 10**9)
    rows = list(enumerate(found))
    expected: Counter[tuple[int | None, int | None]] = Counter()
    for a, (side, key, time) in rows:
        if side:
            expected.update(
                (a, b)
                for b, (other_side, other, then) in rows
                if not other_side and other == key and time - before <= then <= time + after
            )
    pairs = set(expected)
    now = -1
    for n, (side, _, time) in rows:
        now = max(now, time)
        if kind == "join" or (not side and kind == "left_join"):
            continue
        partners = [b if side else a for a, b in pairs if (a if side else b) == n]
        late = time + (after if side else before) < now
        # A record whose window has ended already does not wait for its grace (as in Kafka Streams): it comes out alone
        # unless a partner was there before it, and with partners that come later all the same.
        if not any(partner < n for partner in partners) if late else not partners:
            expected[(n, None) if side else (None, n)] += 1
    assert Counter(pair for pair in out if -1 not in pair) == expected


changes = st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.none() | st.sampled_from("abc")), max_size=25)


@few
@given(changes, st.sampled_from(["join", "left_join", "outer_join", "join_by", "left_join_by"]))
def test_table_joins(found: list[tuple[bool, str, str | None]], kind: str) -> None:
    builder = StreamsBuilder()
    left, right = (builder.table(topic, key=str, value=str) for topic in ("left", "right"))

    def pair(a: str | None, b: str | None) -> str:
        return f"{a}+{b}"

    joined = (
        getattr(left, kind)(right, lambda v: v, pair, name="joined")
        if kind.endswith("_by")
        else getattr(left, kind)(right, pair, name="joined")
    )
    joined.to_stream().to("out")
    rows: dict[bool, dict[str, str | None]] = {True: {}, False: {}}
    with TopologyTestDriver(builder.build()) as driver:
        topics = {side: driver.input("left" if side else "right", key=str, value=str) for side in (True, False)}
        for time, (side, key, value) in enumerate(found):
            topics[side].pipe(value, key=key, timestamp_ms=time)
            rows[side][key] = value
        out = driver.output("out", key=str, value=str).read_table()
    a, b = ({key: value for key, value in rows[side].items() if value is not None} for side in (True, False))
    wanted = {
        "join": a.keys() & b.keys(),
        "left_join": a.keys(),
        "outer_join": a.keys() | b.keys(),
        "join_by": {key for key, value in a.items() if value in b},
        "left_join_by": a.keys(),
    }[kind]
    partner = (lambda key: b.get(a[key])) if kind.endswith("_by") else b.get
    assert out == {key: pair(a.get(key), partner(key)) for key in wanted}


@few
@given(changes)
def test_a_regrouped_table_counts_its_rows(found: list[tuple[bool, str, str | None]]) -> None:
    builder = StreamsBuilder()
    table = builder.table("rows", key=str, value=str)
    table.group_by(lambda k, v: (v, k), key=str, value=str).count(store="counts")
    rows: dict[str, str] = {}
    with TopologyTestDriver(builder.build()) as driver:
        topic = driver.input("rows", key=str, value=str)
        for _, key, value in found:
            topic.pipe(value, key=key)
            rows.pop(key, None)
            if value is not None:
                rows[key] = value
        counts = {key: held.value for key, held in driver.store("counts").all() if held.value}
    assert counts == Counter(rows.values())


small = st.binary(max_size=3)


@few
@given(st.lists(st.tuples(small, st.none() | small), max_size=60), small, small)
def test_memory_stores_are_ordered_maps(writes: list[tuple[bytes, bytes | None]], low: bytes, high: bytes) -> None:
    store, model = MemoryStore(), dict[bytes, bytes]()
    for number, (key, value) in enumerate(writes):
        if number == len(writes) // 2:
            assert list(store.range()) == sorted(model.items())
        store.put_many([(key, value)])
        model.pop(key, None)
        if value is not None:
            model[key] = value
    expected = [(key, value) for key, value in sorted(model.items()) if low <= key < high]
    assert list(store.range(low, high)) == expected
    assert list(store.range(low, high, reverse=True)) == expected[::-1]
    assert list(store.prefix(low)) == [pair for pair in sorted(model.items()) if pair[0].startswith(low)]
    assert store.get_many([low, high]) == [model.get(low), model.get(high)]


@few
@given(st.lists(st.tuples(keys, st.none() | st.integers(0, 9), times), max_size=25), times)
def test_versioned_stores_know_what_was(writes: list[tuple[str, int | None, int]], asked: int) -> None:
    history = 30
    store = VersionedStore(MemoryStore(), TEXT, LONG, "versions", history)
    model: dict[str, dict[int, int | None]] = {"a": {}, "b": {}}
    now = -1
    for key, value, time in writes:
        now = max(now, time)
        newest = store.put(key, value, time)
        if time < now - history:
            assert newest is None
        else:
            assert newest is (time >= max(model[key], default=time))
            model[key][time] = value
    for key, versions in model.items():
        then = max((time for time in versions if time <= asked), default=None)
        expected = None if then is None or asked < now - history else versions[then]
        held = store.get(key, asked)
        assert (None if held is None else held.value) == expected
        held = store.get(key)
        assert (None if held is None else held.value) == (versions[max(versions)] if versions else None)
