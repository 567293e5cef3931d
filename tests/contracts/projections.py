"""What tests of projections share: an app with a projection, as a module that processes can import too.

PROJECTION_SETUP names a JSON file with the broker, the registry, the database and the topic.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table, create_engine, event
from sqlalchemy.pool import NullPool

import ottla
from ottla import App, KafkaSettings, ListenerSettings, Projected, RegistrySettings, Settings

metadata = MetaData()

TOTALS = Table(
    "totals",
    metadata,
    Column("customer", String(64), primary_key=True),
    Column("orders", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Index("totals_by_amount", "amount"),
)


class Setup(msgspec.Struct, kw_only=True):
    """Where things are, and what goes wrong."""

    name: str
    bootstrap_servers: str
    registry: str
    database: str
    batch: int = 20
    prefix: str = ""
    slow_s: float = 0.0


def engine_for(setup: Setup) -> Any:
    if not setup.database.startswith("sqlite"):
        return create_engine(setup.database, poolclass=NullPool)
    engine = create_engine(setup.database, poolclass=NullPool, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def readers_do_not_wait(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


class Reports:
    """An app with a projection of sales per customer."""

    def __init__(self, setup: Setup) -> None:
        import time

        self.setup = setup

        @ottla.event(setup.name, key="customer")
        class Sold(msgspec.Struct):
            customer: str
            amount: int

        @ottla.event(setup.name, key="customer")
        class Forgotten(msgspec.Struct):
            customer: str

        self.Sold, self.Forgotten = Sold, Forgotten
        self.settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=setup.bootstrap_servers, topic_partitions=3),
            registry=RegistrySettings(url=setup.registry, timeout_s=2.0),
            listener=ListenerSettings(session_timeout_s=6.0),
        )
        self.engine = engine_for(setup)
        self.app = App(f"{setup.name}-reports", settings=self.settings)
        self.projection = self.app.projection("totals", self.engine, tables=[TOTALS], batch=setup.batch)

        def sold(event: Any, db: Projected) -> None:
            if event.amount == 13:
                raise ZeroDivisionError("a defect")
            row = db.get(TOTALS, event.customer)
            orders, amount = (row.orders, row.amount) if row else (0, 0)
            db.put(TOTALS, customer=event.customer, orders=orders + 1, amount=amount + event.amount)
            if setup.slow_s:
                time.sleep(setup.slow_s)

        def forgotten(event: Any, db: Projected) -> None:
            db.delete(TOTALS, event.customer)

        sold.__annotations__["event"] = Sold
        forgotten.__annotations__["event"] = Forgotten
        self.projection.on(sold)
        self.projection.on(forgotten)

    def rows(self) -> dict[str, tuple[int, int]]:
        """What readers see."""
        with self.engine.connect() as connection:
            return {row.customer: (row.orders, row.amount) for row in connection.execute(TOTALS.select())}


if (path := os.environ.get("PROJECTION_SETUP")) is not None:
    reports = Reports(msgspec.convert(json.loads(Path(path).read_text("utf-8")), Setup))
    app, totals = reports.app, reports.projection
