"""The orders as the orders service's read model has them, for the view and for "has every order reached its end?".

Read from the service's database instead of `GET /orders`: counting all orders over HTTP several times a second would
cost the service more than taking orders does, and what is shown stays true while the service is being restarted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import func, select, table
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from shop.events import OrderCancelled, OrderCreated
from shop.orders.domain import Progress
from shop.orders.tables import commands, history, orders
from shop.store import open_engine

IN_FLIGHT = ("accepted", "reserved", "paid")
CREATED = OrderCreated.__name__
outbox = table("ottla_outbox")
CANCELLED = OrderCancelled.__name__


@dataclass(frozen=True)
class OrderLine:
    """One order as the read model shows it; `history` names its events, oldest first."""

    invoice_no: str
    customer_id: str
    country: str
    total: str
    status: str
    history: tuple[str, ...]


@dataclass(frozen=True)
class Totals:
    """How many orders stand where.

    Attributes:
        accepted: Orders that were accepted, cancellations not counted.
        cancellations: Cancellations that were accepted.
        by_status: Orders by status; those the read model has not seen yet are `accepted`.
    """

    accepted: int = 0
    cancellations: int = 0
    by_status: Mapping[str, int] = field(default_factory=dict)

    @property
    def in_flight(self) -> int:
        return sum(self.by_status.get(status, 0) for status in IN_FLIGHT)

    @property
    def ended(self) -> int:
        return self.accepted - self.in_flight


class ReadModel:
    """Reads the orders database. None (or nothing) is the answer while there is no database yet. Not thread-safe."""

    def __init__(self, database_url: str) -> None:
        self._engine = open_engine(database_url)
        # Commands only ever grow, so each is counted once: their rows hold whole events, and a scan is not cheap.
        self._counts: Counter[str] = Counter()
        self._last_seq = 0

    def totals(self) -> Totals | None:
        """Counts, cheap enough to ask several times a second."""
        try:
            with self._reading() as connection:
                self._count_new_commands(connection)
                query = select(orders.c.progress, func.count()).group_by(orders.c.progress)
                progress = {Progress(level).name: int(count) for level, count in connection.execute(query)}
        except SQLAlchemyError:
            return None
        accepted = self._counts[CREATED]
        unseen = max(0, accepted - sum(progress.values()))
        by_status = {status.name: progress.get(status.name, 0) for status in Progress}
        by_status["accepted"] += unseen
        return Totals(accepted, self._counts[CANCELLED], by_status)

    def shipped(self) -> int:
        """How many orders were dispatched; cheaper than `totals`."""
        try:
            with self._reading() as connection:
                query = select(func.count()).select_from(orders).where(orders.c.progress == int(Progress.shipped))
                return int(connection.execute(query).scalar_one())
        except SQLAlchemyError:
            return 0

    def unsent(self) -> int:
        """How many events wait in the outbox."""
        try:
            with self._reading() as connection:
                return int(connection.execute(select(func.count()).select_from(outbox)).scalar_one())
        except SQLAlchemyError:
            return 0

    def invoices(self) -> set[str]:
        """The numbers of all invoices accepted so far, cancellations included."""
        try:
            with self._reading() as connection:
                return {number for (number,) in connection.execute(select(commands.c.invoice_no)) if number}
        except SQLAlchemyError:
            return set()

    def latest(self, count: int) -> tuple[OrderLine, ...]:
        """The orders accepted last, newest first."""
        try:
            with self._reading() as connection:
                rows = connection.execute(
                    select(commands.c.order_id, commands.c.invoice_no, commands.c.customer_id)
                    .add_columns(orders.c.country, orders.c.total, orders.c.progress)
                    .outerjoin(orders, orders.c.order_id == commands.c.order_id)
                    .where(commands.c.event_type == CREATED)
                    .order_by(commands.c.seq.desc())
                    .limit(count)
                ).all()
                ways = _ways(connection, [row.order_id for row in rows])
        except SQLAlchemyError:
            return ()
        return tuple(
            OrderLine(
                row.invoice_no or "",
                row.customer_id or "",
                row.country or "",
                f"{row.total:,.2f}" if row.total is not None else "",
                Progress(row.progress or 0).name,
                tuple(ways.get(row.order_id, ())),
            )
            for row in rows
        )

    def close(self) -> None:
        self._engine.dispose()

    def _count_new_commands(self, connection: Connection) -> None:
        query = select(commands.c.seq, commands.c.event_type).where(commands.c.seq > self._last_seq)
        for row in connection.execute(query.order_by(commands.c.seq)):
            self._counts[row.event_type] += 1
            self._last_seq = row.seq

    def _reading(self) -> Connection:
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def _ways(connection: Connection, order_ids: list[str]) -> dict[str, list[str]]:
    ways: dict[str, list[str]] = {}
    query = select(history.c.order_id, history.c.event_type).where(history.c.order_id.in_(order_ids))
    for row in connection.execute(query.order_by(history.c.time)):
        ways.setdefault(row.order_id, []).append(row.event_type)
    return ways
