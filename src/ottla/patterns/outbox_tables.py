"""The outbox's two tables, and the statements that writers and relays use.

`<name>` holds what is to be published, in the order of `seq`; a row is deleted when Kafka has acknowledged it. Every
key belongs to one of LANES lanes. `<name>_lanes` says which relay has a lane, and until when: a lane is relayed by one
at a time, which is what keeps a key's order while several relays run.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from ottla.kafka.record import Headers
from ottla.patterns.database import insert, now_ms

LANES = 64
"""Fixed: a key must stay in its lane."""

_encode_headers = msgspec.msgpack.Encoder().encode
_read_headers = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]]).decode


class Row(msgspec.Struct):
    """An event in the outbox."""

    seq: int
    event_id: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


class OutboxTables:
    """The tables under a name, in somebody's MetaData."""

    def __init__(self, metadata: MetaData, name: str) -> None:
        self.name = name
        known = metadata.tables.get(name)
        self.rows = known if known is not None else _rows_table(metadata, name)
        known = metadata.tables.get(f"{name}_lanes")
        self.lanes = known if known is not None else _lanes_table(metadata, name)

    @property
    def all(self) -> list[Table]:
        return [self.rows, self.lanes]

    def add(self, dialect: str, row: dict[str, Any]) -> Any:
        """Inserts an event. On PostgreSQL the relays are told with the commit (the same word is told once)."""
        row["headers"] = _encode_headers(row["headers"])
        statement = self.rows.insert().values(row | {"lane": lane_of(row["key"], row["event_id"])})
        if dialect == "postgresql":
            return statement.returning(func.pg_notify(self.name, ""))
        return statement

    def remove(self, event_id: str) -> Any:
        return delete(self.rows).where(self.rows.c.event_id == event_id)

    def make_lanes(self, dialect: str) -> Any:
        rows = [{"lane": lane, "until_ms": 0} for lane in range(LANES)]
        return insert(self.lanes, dialect).values(rows).on_conflict_do_nothing()

    def any_due(self, dialect: str) -> Any:
        return select(exists().where(self._due(dialect)))

    def claim(self, dialect: str, owner: str, lease_ms: int, lanes_max: int) -> Any:
        """Takes lanes with something to publish that nobody has, and returns them. Relays that come at the same time
        pass over what another is taking, rather than wait for it."""
        lanes = self.lanes.c
        waiting = exists().where(self.rows.c.lane == lanes.lane, self._due(dialect))
        free = (
            select(lanes.lane)
            .where(or_(lanes.until_ms <= now_ms(dialect), lanes.owner == owner), waiting)
            .order_by(lanes.until_ms, lanes.lane)
            .limit(lanes_max)
        )
        if dialect == "postgresql":
            free = free.with_for_update(skip_locked=True)
        return (
            update(self.lanes)
            .where(lanes.lane.in_(free))
            .values(owner=owner, until_ms=now_ms(dialect) + lease_ms)
            .returning(lanes.lane)
        )

    def renew(self, dialect: str, owner: str, lease_ms: int) -> Any:
        until = now_ms(dialect) + lease_ms
        return update(self.lanes).where(self.lanes.c.owner == owner).values(until_ms=until).returning(self.lanes.c.lane)

    def release(self, dialect: str, owner: str) -> Any:
        # The time of the release stays: whoever claims next begins with the lanes that have waited longest.
        return update(self.lanes).where(self.lanes.c.owner == owner).values(owner=None, until_ms=now_ms(dialect))

    def next_rows(self, dialect: str, lanes: Sequence[int], limit: int) -> Any:
        rows = self.rows.c
        columns = (rows.seq, rows.event_id, rows.topic, rows.key, rows.value, rows.headers)
        return select(*columns).where(rows.lane.in_(lanes), self._due(dialect)).order_by(rows.seq).limit(limit)

    def published(self, seqs: Sequence[int]) -> Any:
        return delete(self.rows).where(self.rows.c.seq.in_(seqs))

    def put_off(self, dialect: str, seqs: Sequence[int], for_ms: int) -> Any:
        return update(self.rows).where(self.rows.c.seq.in_(seqs)).values(due_ms=now_ms(dialect) + for_ms)

    def waiting(self, dialect: str) -> Any:
        """How many are due, and how old the oldest is (milliseconds since it was due)."""
        due = func.coalesce(self.rows.c.due_ms, self.rows.c.created_ms)
        return select(func.count(), now_ms(dialect) - func.min(due)).where(self._due(dialect))

    def next_due(self, dialect: str) -> Any:
        """Milliseconds until the next event that is written for later."""
        return select(func.min(self.rows.c.due_ms) - now_ms(dialect))

    def _due(self, dialect: str) -> Any:
        return or_(self.rows.c.due_ms.is_(None), self.rows.c.due_ms <= now_ms(dialect))


def row_of(found: Any) -> Row:
    return Row(
        seq=found.seq,
        event_id=found.event_id,
        topic=found.topic,
        key=found.key,
        value=found.value,
        headers=_read_headers(found.headers),
    )


def lane_of(key: bytes | None, event_id: str) -> int:
    """The lane of a key on every topic; events without key go anywhere, always to the same place."""
    return zlib.crc32(event_id.encode() if key is None else key) % LANES


def _rows_table(metadata: MetaData, name: str) -> Table:
    table = Table(
        name,
        metadata,
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("event_id", String(200), nullable=False, unique=True),
        Column("lane", SmallInteger, nullable=False),
        Column("topic", String(249), nullable=False),
        Column("key", LargeBinary),
        Column("value", LargeBinary),
        Column("headers", LargeBinary, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("due_ms", BigInteger),
        # Without it SQLite gives the number of the last row again once that is deleted.
        sqlite_autoincrement=True,
    )
    Index(f"{name}_by_lane", table.c.lane, table.c.seq)
    Index(f"{name}_by_due", table.c.due_ms)
    return table


def _lanes_table(metadata: MetaData, name: str) -> Table:
    return Table(
        f"{name}_lanes",
        metadata,
        Column("lane", SmallInteger, primary_key=True, autoincrement=False),
        Column("owner", String(64)),
        Column("until_ms", BigInteger, nullable=False),
    )
