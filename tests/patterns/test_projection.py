"""Projections without a broker: what one transaction does, on SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from sqlalchemy import BigInteger, Column, Engine, ForeignKey, Index, MetaData, String, Table, inspect

from ottla import event
from ottla.errors import ConfigurationError, HandlerError
from ottla.kafka.record import Record
from ottla.listeners.retry import Retry, fixed
from ottla.patterns.projecting import Applied, Moved, Projecting
from ottla.patterns.projection import Projected, Projection
from ottla.patterns.projection_tables import (
    begin,
    first_standing,
    note_building,
    positions,
    prepare,
    standing,
    swap,
)
from ottla.serde import Deserializer, Serializer
from ottla.settings import Settings
from ottla.testing import MemoryRegistry

PLACE = ("sales", 0)

TOTALS = Table(
    "totals",
    MetaData(),
    Column("customer", String(64), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Index("totals_by_amount", "amount"),
)


@event("sales", key="customer")
class Sold(msgspec.Struct):
    customer: str
    amount: int


class Shop:
    """A projection in a database, and records for it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        registry = MemoryRegistry()
        self._serializer, self.deserializer = Serializer(registry), Deserializer(registry)
        self._offsets = itertools.count()
        self.buried: list[int] = []
        self.projection = Projection(
            "totals",
            engine,
            tables=[TOTALS],
            service="shop",
            settings=Settings,
            retry=Retry(attempts=2, backoff=fixed(0)),
        )
        self.projection.on(self.sold)
        prepare(engine)
        with engine.connect() as connection:
            begin(connection)
            first_standing(connection, "totals", "form")
            self.projection.generation(None).create(connection)
            connection.commit()

    @staticmethod
    def sold(event: Sold, db: Projected) -> None:
        if event.amount == 13:
            raise ZeroDivisionError("a defect")
        row = db.get(TOTALS, event.customer)
        db.put(TOTALS, customer=event.customer, amount=(row.amount if row else 0) + event.amount)

    def records(self, *amounts: int) -> list[Record]:
        return [self.record(self._serializer.encode(Sold("a", amount), "sales")) for amount in amounts]

    def record(self, value: bytes | None) -> Record:
        return Record(*PLACE, next(self._offsets), 0, b"a", value, [])

    def instance(self, number: int = 1) -> Projecting:
        tables = self.projection.generation(None if number == 1 else number)

        def check(_connection: Any) -> None: ...
        def bury(record: Record, _error: BaseException, attempts: int) -> None:
            self.buried.append(record.offset)
            assert attempts == (2 if record.value != b"nonsense" else 1)

        return Projecting(self.projection, self.engine, self.deserializer, number, tables, check, bury)

    def amount(self) -> int | None:
        with self.engine.connect() as connection:
            found = connection.execute(TOTALS.select()).first()
            return found.amount if found else None

    def position(self, generation: int = 1) -> int | None:
        with self.engine.connect() as connection:
            return positions(connection, "totals", generation).get(PLACE)


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return Shop(engine)


def test_events_and_position_are_written_together(shop: Shop) -> None:
    assert shop.instance().apply(PLACE, shop.records(1, 2, 3), None) == Applied(3, 0)
    assert (shop.amount(), shop.position()) == (6, 3)


def test_who_believes_an_older_position_writes_nothing(shop: Shop) -> None:
    """An instance that has lost its partition and has not noticed."""
    first, zombie = shop.instance(), shop.instance()
    old = shop.records(1, 2)
    first.apply(PLACE, old, None)
    first.apply(PLACE, shop.records(3), 2)
    for before in (None, 2):
        with pytest.raises(Moved):
            zombie.apply(PLACE, old, before)
    assert (shop.amount(), shop.position()) == (6, 3)


def test_a_record_that_fails_is_left_out_alone_and_the_others_count_once(shop: Shop) -> None:
    assert shop.instance().apply(PLACE, shop.records(1, 13, 2), None) == Applied(2, 1)
    assert (shop.amount(), shop.position(), shop.buried) == (3, 3, [1])


def test_what_cannot_be_read_is_left_out_and_tombstones_are_passed_over(shop: Shop) -> None:
    records = [*shop.records(1), shop.record(b"nonsense"), shop.record(None)]
    assert shop.instance().apply(PLACE, records, None) == Applied(1, 1)
    assert (shop.amount(), shop.position(), shop.buried) == (1, 3, [1])


def test_where_the_dead_letter_cannot_be_written_the_record_is_not_passed_over(shop: Shop) -> None:
    def bury(*_: Any) -> None:
        raise ConnectionError("no broker")

    instance = shop.instance()
    instance._bury = bury
    with pytest.raises(ConnectionError):
        instance.apply(PLACE, shop.records(1, 13, 2), None)
    assert (shop.amount(), shop.position()) == (1, 1)


def test_a_swap_puts_the_new_tables_and_their_position_in_the_place_of_the_old(shop: Shop) -> None:
    records = shop.records(1, 2, 3)
    shop.instance().apply(PLACE, records, None)
    for number in (2, 3):  # twice: names of indexes and constraints must not meet
        with shop.engine.connect() as connection:
            begin(connection)
            note_building(connection, "totals", number, "form")
            shop.projection.generation(number).create(connection)
            connection.commit()
        shop.instance(number).apply(PLACE, records[:number], None)
        assert shop.position(number) == number
        with shop.engine.connect() as connection:
            begin(connection)
            now = standing(connection, "totals", lock="exclusive")
            assert now is not None
            swap(connection, "totals", [TOTALS], now)
            connection.commit()
        assert (shop.amount(), shop.position(number), shop.position(number - 1)) == (
            sum(range(number + 1)),
            number,
            None,
        )
    assert sorted(inspect(shop.engine).get_table_names()) == [
        "ottla_projection_positions", "ottla_projections", "totals",
    ]  # fmt: skip


def test_a_statement_that_names_the_declared_table_is_refused(shop: Shop) -> None:
    """In a rebuild it would write to the tables that are read."""
    with shop.engine.connect() as connection:
        db = Projected(connection, shop.projection.generation(None).tables, "totals")
        for statement in (TOTALS.insert().values(customer="a", amount=1), TOTALS.select(), TOTALS.delete()):
            with pytest.raises(HandlerError, match=r"write db\[...\]"):
                db.execute(statement)
        db.execute(db[TOTALS].insert().values(customer="a", amount=1))
        with pytest.raises(HandlerError, match="none of its tables"):
            db[Table("other", MetaData())]


def test_what_cannot_be_rebuilt_is_refused() -> None:
    linked = Table("linked", MetaData(), Column("id", String(9), ForeignKey("totals.customer"), primary_key=True))
    for tables, reason in (([], "it needs tables"), ([Table("t", MetaData())], "primary key"), ([linked], "foreign")):
        with pytest.raises(ConfigurationError, match=reason):
            Projection("totals", "sqlite:///x", tables=tables, service="shop", settings=Settings)


def test_a_change_of_columns_or_indexes_changes_the_form(shop: Shop) -> None:
    customer, amount = Column("customer", String(64), primary_key=True), Column("amount", BigInteger, nullable=False)
    without_index = Table("totals", MetaData(), customer, amount)
    other = Projection("totals", shop.engine, tables=[without_index], service="shop", settings=Settings)
    dialect = shop.engine.dialect
    assert other.form(dialect) != shop.projection.form(dialect) == shop.projection.form(dialect)
