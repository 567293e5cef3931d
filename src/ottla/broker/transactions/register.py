"""All transactional ids, kept in a journal.

Journal records:
    ["txn", [...]]                                               a transactional id as a whole (Transaction.snapshot)
    ["init", id, producer id, epoch, last epoch, timeout, ms]    a producer began
    ["add", id, [[topic, partition, topic id, its end]], [group], version, ms]     taken into the transaction
    ["end", id, marker, epoch, last epoch, next producer id, version, ms]    decided
    ["done", id, ms]                                             all markers written
    ["gone", id]                                                 expired
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ottla.broker.log.control import Marker
from ottla.broker.log.journal import Entry, Journal
from ottla.broker.transactions.transaction import Partition, Start, State, Transaction, places, starts_of

JOURNAL = "transactions.journal"


class Register:
    """The transactions by id and by producer id. Each change is in the journal before it is made.

    Raises:
        CorruptLog: The journal is damaged in the middle.
    """

    def __init__(self, folder: Path) -> None:
        self.by_id: dict[str, Transaction] = {}
        self.journal = Journal(folder / JOURNAL, self._replay, self._snapshot)

    def by_producer(self, producer_id: int) -> Transaction | None:
        """The transaction that a producer id belongs to now. Walks all of them: for recovery."""
        return next((one for one in self.by_id.values() if one.producer_id == producer_id), None)

    # Changes. All raise OSError; then nothing is changed.

    def initialise(
        self, one: Transaction, producer_id: int, epoch: int, last_epoch: int, timeout_ms: int, now: int
    ) -> None:
        self.journal.append(["init", one.id, producer_id, epoch, last_epoch, timeout_ms, now])
        self.by_id[one.id] = one
        one.initialise(producer_id, epoch, last_epoch, timeout_ms, now)

    def add(self, one: Transaction, starts: dict[Partition, Start], groups: set[str], version: int, now: int) -> None:
        self.journal.append(["add", one.id, places(starts), list(groups), version, now])
        one.add(starts, groups, version, now)

    def prepare(
        self,
        one: Transaction,
        marker: Marker,
        epoch: int,
        last_epoch: int,
        next_producer_id: int,
        version: int,
        now: int,
    ) -> None:
        self.journal.append(["end", one.id, int(marker), epoch, last_epoch, next_producer_id, version, now])
        one.prepare(marker, epoch, last_epoch, next_producer_id, version, now)

    def complete(self, one: Transaction, now: int) -> None:
        self.journal.append(["done", one.id, now])
        one.complete(now)

    def forget(self, one: Transaction) -> None:
        self.journal.append(["gone", one.id])
        one.state = State.DEAD
        del self.by_id[one.id]

    # Storage

    def _replay(self, entry: Entry) -> None:
        kind, name = entry[0], entry[1]
        if kind == "txn":
            one = Transaction.restore(name)
            self.by_id[one.id] = one
            return
        if kind == "gone":
            self.by_id.pop(name, None)
            return
        if kind == "init":
            producer_id = entry[2]
            one = self.by_id.setdefault(name, Transaction(name, producer_id))
            one.initialise(*entry[2:7])
            return
        one = self.by_id[name]
        if kind == "add":
            one.add(starts_of(entry[2]), set(entry[3]), entry[4], entry[5])
        elif kind == "end":
            one.prepare(Marker(entry[2]), *entry[3:8])
        elif kind == "done":
            one.complete(entry[2])

    def _snapshot(self) -> Iterator[Entry]:
        for one in self.by_id.values():
            yield ["txn", one.snapshot()]
