from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError, OperationalError

from ottla import Context
from shop.events import InventoryRejected, PaymentAuthorized, ShopEvent
from shop.store import Store, handled_table
from tests.shop.harness import context, opened, order, rows

METADATA = MetaData()
HANDLED = handled_table(METADATA)
EFFECTS = Table("effects", METADATA, Column("id", String(20), primary_key=True), Column("times", Integer))

EVENT = order()
ANSWER = InventoryRejected("o", "17850", "none left")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with opened(METADATA, database_url) as store:
        yield store


def once(store: Store, event_id: str, effect: Callable[[Connection], ShopEvent | None]) -> ShopEvent | None:
    """One event, by itself."""
    [answer] = store.once([EVENT], [context(EVENT, event_id)], lambda tx, events, ctxs: [effect(tx)])
    return answer


def batch(store: Store, *event_ids: str) -> list[ShopEvent | None]:
    """Several events in one transaction, each with an effect and an answer of its own."""

    def note(tx: Connection, events: Sequence[ShopEvent], ctxs: Sequence[Context]) -> list[ShopEvent | None]:
        for ctx in ctxs:
            count_up(tx, ctx.event_id)
        return [InventoryRejected("o", "17850", f"answer to {ctx.event_id}") for ctx in ctxs]

    return store.once([EVENT] * len(event_ids), [context(EVENT, event_id) for event_id in event_ids], note)


def insert(tx: Connection) -> InventoryRejected:
    tx.execute(EFFECTS.insert(), {"id": "x", "times": 1})
    return ANSWER


def count_up(tx: Connection, name: str = "x") -> None:
    counted = EFFECTS.update().where(EFFECTS.c.id == name).values(times=EFFECTS.c.times + 1)
    if tx.execute(counted).rowcount == 0:
        tx.execute(EFFECTS.insert(), {"id": name, "times": 1})


def effects(store: Store) -> dict[str, int]:
    return {row["id"]: row["times"] for row in rows(store, EFFECTS)}


def reasons(answers: list[ShopEvent | None]) -> list[str]:
    return [answer.reason for answer in answers if isinstance(answer, InventoryRejected)]


def test_an_event_takes_effect_and_is_booked_with_its_answer(store: Store) -> None:
    assert once(store, "e1", insert) == ANSWER
    assert rows(store, EFFECTS) == [{"id": "x", "times": 1}]
    [booked] = rows(store, HANDLED)
    assert (booked["event_id"], booked["event_type"], booked["topic"]) == ("e1", "shop.OrderCreated", "order-events")
    assert booked["answer_type"] == "shop.InventoryRejected"


def test_a_repeated_event_changes_nothing_and_gets_the_same_answer(store: Store) -> None:
    once(store, "e1", count_up)
    for _ in range(3):
        assert once(store, "e1", count_up) is None
    once(store, "e2", insert_other)
    assert [once(store, "e2", insert_other) for _ in range(2)] == [ANSWER, ANSWER]
    assert {row["id"]: row["times"] for row in rows(store, EFFECTS)} == {"x": 1, "y": 1}


def insert_other(tx: Connection) -> InventoryRejected:
    tx.execute(EFFECTS.insert(), {"id": "y", "times": 1})
    return ANSWER


def test_several_events_take_effect_in_one_transaction_each_with_its_answer(store: Store) -> None:
    assert reasons(batch(store, "e1", "e2", "e3")) == ["answer to e1", "answer to e2", "answer to e3"]
    assert effects(store) == {"e1": 1, "e2": 1, "e3": 1}


def test_a_repeated_event_among_others_takes_effect_once_and_so_do_they(store: Store) -> None:
    batch(store, "e2")
    assert reasons(batch(store, "e1", "e2", "e3")) == ["answer to e1", "answer to e2", "answer to e3"]
    assert effects(store) == {"e1": 1, "e2": 1, "e3": 1}


def test_an_event_that_comes_twice_in_one_transaction_takes_effect_once(store: Store) -> None:
    assert reasons(batch(store, "e1", "e1", "e2")) == ["answer to e1", "answer to e1", "answer to e2"]
    assert effects(store) == {"e1": 1, "e2": 1}


def test_a_repetition_that_would_answer_otherwise_gets_the_first_answer(store: Store) -> None:
    once(store, "e1", lambda tx: ANSWER)
    answer = once(store, "e1", lambda tx: None)
    assert answer == ANSWER


def test_another_event_takes_effect_of_its_own(store: Store) -> None:
    once(store, "e1", count_up)
    once(store, "e2", count_up)
    assert rows(store, EFFECTS) == [{"id": "x", "times": 2}]


def test_an_effect_that_fails_leaves_no_trace(store: Store) -> None:
    def fail(tx: Connection) -> PaymentAuthorized:
        tx.execute(EFFECTS.insert(), {"id": "x", "times": 1})
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        once(store, "e1", fail)
    assert rows(store, EFFECTS) == rows(store, HANDLED) == []


def test_an_effect_that_breaks_a_constraint_is_no_repetition(store: Store) -> None:
    once(store, "e1", insert)
    with pytest.raises(IntegrityError):
        once(store, "e2", insert)
    assert [row["event_id"] for row in rows(store, HANDLED)] == ["e1"]


def test_threads_that_read_before_they_write_lose_no_update(store: Store) -> None:
    def add(tx: Connection) -> None:
        times = tx.execute(select(EFFECTS.c.times)).scalar()
        if times is None:
            tx.execute(EFFECTS.insert(), {"id": "x", "times": 1})
        else:
            tx.execute(EFFECTS.update().values(times=times + 1))

    def handle(worker: int) -> None:
        for number in range(25):
            once(store, f"{worker}-{number}", add)

    run_all([threading.Thread(target=handle, args=(worker,)) for worker in range(4)])
    assert rows(store, EFFECTS) == [{"id": "x", "times": 100}]


def test_one_event_handled_by_several_threads_at_once_takes_effect_once(store: Store) -> None:
    threads = [threading.Thread(target=lambda: once(store, "e1", count_up)) for _ in range(8)]
    run_all(threads)
    assert rows(store, EFFECTS) == [{"id": "x", "times": 1}]


def run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_stores_on_one_database_take_turns(database_url: str) -> None:
    """As two processes of one service do: neither sees half of the other's work."""
    with opened(METADATA, database_url) as one, opened(METADATA, database_url) as other:

        def handle(store: Store, name: str) -> None:
            for number in range(20):
                once(store, f"{name}-{number}", count_up)

        run_all([threading.Thread(target=handle, args=(store, name)) for store, name in ((one, "1"), (other, "2"))])
        assert rows(one, EFFECTS) == [{"id": "x", "times": 40}]


def test_a_sqlite_database_is_made_with_its_folder_and_writes_ahead(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "shop.db"
    with opened(METADATA, f"sqlite:///{path}"):
        pass
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    with opened(METADATA, f"sqlite:///{tmp_path / 'x.db'}") as store:
        pass
    with pytest.raises(RuntimeError, match="the database of shop-test is not open"), store.transaction():
        pass


def test_a_connection_that_the_database_cut_is_replaced(postgres_url: str) -> None:
    cut = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with opened(METADATA, postgres_url) as store:
        once(store, "e1", count_up)
        with store.reading() as other:
            other.execute(cut).all()
        with pytest.raises(OperationalError):
            once(store, "e2", count_up)
        once(store, "e2", count_up)  # as the listener's retry does
        assert rows(store, EFFECTS) == [{"id": "x", "times": 2}]
