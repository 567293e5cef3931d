"""Uncommitted writes wait in memory; committed state changes by whole commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.streams.stores.committed import CommittedMemory, CommittedStore
from ottla.streams.stores.rocks import RocksMemory, RocksStore
from ottla.streams.stores.transactional import TransactionalStore

Open = Callable[[], CommittedStore]


@pytest.fixture(params=["memory", "rocks"])
def open_committed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    opened: list[CommittedStore] = []

    def one() -> CommittedStore:
        if request.param == "memory":
            store: CommittedStore = CommittedMemory()
        else:
            store = RocksStore(tmp_path / f"store-{len(opened)}", RocksMemory(8 << 20))
        opened.append(store)
        return store

    yield one
    for store in opened:
        store.close()


def test_what_is_not_committed_is_seen_by_the_task_and_by_nobody_else(open_committed: Open) -> None:
    store = TransactionalStore(open_committed())
    store.put(b"a", b"1")
    assert store.get(b"a") == b"1"
    assert store.committed.get(b"a") is None
    store.commit(7)
    assert store.committed.get(b"a") == b"1"
    assert store.committed.changelog_offset == 7


def test_a_rollback_gives_back_what_was_committed_last(open_committed: Open) -> None:
    store = TransactionalStore(open_committed())
    store.put_many([(b"a", b"1"), (b"b", b"2")])
    store.commit(2)
    store.put_many([(b"a", None), (b"c", b"3")])
    assert dict(store.range()) == {b"b": b"2", b"c": b"3"}
    store.rollback()
    assert dict(store.range()) == {b"a": b"1", b"b": b"2"}
    assert store.get_many([b"a", b"c"]) == [b"1", None]
    assert store.uncommitted_bytes == 0


def test_what_retention_drops_is_no_change_for_the_changelog(open_committed: Open) -> None:
    store = TransactionalStore(open_committed())
    store.put_many([(b"a1", b"x"), (b"a2", b"x"), (b"b1", b"x")])
    store.commit(3)
    assert store.drop(b"a", b"b") == 2
    store.put(b"b1", b"y")
    assert dict(store.logged_changes()) == {b"b1": b"y"}
    store.commit(4)
    assert list(store.committed.range(None, None)) == [(b"b1", b"y")]


def test_a_key_that_comes_back_after_it_was_dropped_is_logged(open_committed: Open) -> None:
    store = TransactionalStore(open_committed())
    store.put(b"a", b"1")
    store.commit(1)
    store.drop(None, None)
    store.put(b"a", b"2")
    assert dict(store.logged_changes()) == {b"a": b"2"}


def test_a_commit_larger_than_the_cache_leaves_nothing_out_of_date_behind(open_committed: Open) -> None:
    store = TransactionalStore(open_committed(), cache_bytes=2_000)
    store.put(b"k-1", b"old")
    store.commit(1)
    assert store.get(b"k-1") == b"old"
    store.put_many([(b"k-%d" % n, b"new") for n in range(100)])
    store.commit(101)
    assert store.get_many([b"k-1", b"k-99"]) == [b"new", b"new"]


def test_writing_is_allowed_while_a_range_is_open(open_committed: Open) -> None:
    store = TransactionalStore(open_committed())
    store.put_many([(b"%03d" % n, b"x") for n in range(50)])
    store.commit(50)
    store.put(b"0035", b"x")
    seen = []
    for key, _ in store.range():
        seen.append(key)
        store.delete(key)
        store.put(b"z" + key, b"x")
    assert seen[:50] == sorted(seen[:50])
    assert len(seen) == len(set(seen))


KEYS = st.binary(min_size=1, max_size=2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=2)),
        st.tuples(st.just("delete"), KEYS, st.just(b"")),
        st.tuples(st.just("commit"), KEYS, st.just(b"")),
        st.tuples(st.just("rollback"), KEYS, st.just(b"")),
        st.tuples(st.just("get"), KEYS, st.just(b"")),
        st.tuples(st.just("drop"), KEYS, KEYS),
    ),
    max_size=40,
)


@given(STEPS, st.booleans())
def test_it_behaves_as_a_dict_with_commits_does(steps: list[tuple[str, bytes, bytes]], reverse: bool) -> None:
    store = TransactionalStore(CommittedMemory(), cache_bytes=600)
    model: dict[bytes, bytes] = {}
    committed: dict[bytes, bytes] = {}
    for at, (step, key, value) in enumerate(steps):
        match step:
            case "put":
                store.put(key, value)
                model[key] = value
            case "delete":
                store.delete(key)
                model.pop(key, None)
            case "commit":
                store.commit(at)
                committed = dict(model)
            case "rollback":
                store.rollback()
                model = dict(committed)
            case "get":
                assert store.get(key) == model.get(key)
            case "drop":
                store.drop(key, value)
                model = {one: model[one] for one in model if not key <= one < value}
        assert list(store.range(reverse=reverse)) == sorted(model.items(), reverse=reverse)
        low, high = min(key, value), max(key, value)
        assert [one for one, _ in store.range(low, high)] == sorted(one for one in model if low <= one < high)
        assert dict(store.committed.range(None, None)) == committed
