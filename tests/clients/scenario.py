"""What every client does in the matrix, and what it must have seen.

The plan, the same for all:
1. Produce `count` records to the three partitions of `topic`, record n to partition n % 3 with key `key-n`, value
   `value-n` and header `n`: acks=all, idempotent and compressed where the client can, each partition in order.
2. Read them all from the beginning as the only member of `group`, and commit.
3. Where the client has transactions: as a member of `transactional_group`, copy every record to the same partition of
   `copies` as `copy of value-n`, the offsets committed within the transactions. The first transaction is aborted.

The client's own account of it is a Report. `tests/clients/checker.py` compares it with the logs as they are.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

PARTITIONS = 3
COUNT = 300


@dataclass(frozen=True)
class Plan:
    """Where a client does what. The field names are also those of the JSON that programs in other languages get."""

    bootstrap: str
    count: int = COUNT
    topic: str = field(default_factory=lambda: f"matrix-{uuid.uuid4().hex[:12]}")

    @property
    def copies(self) -> str:
        return f"{self.topic}-copies"

    @property
    def group(self) -> str:
        return f"{self.topic}-readers"

    @property
    def transactional_group(self) -> str:
        return f"{self.topic}-copiers"

    @property
    def transactional_id(self) -> str:
        return f"{self.topic}-copier"

    def to_json(self) -> str:
        names = ("copies", "group", "transactional_group", "transactional_id")
        return json.dumps(asdict(self) | {name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Consumed:
    """A record as a client saw it."""

    partition: int
    offset: int
    key: str | None
    value: str
    header: str | None


@dataclass(frozen=True)
class Report:
    """What a client says it did.

    Attributes:
        consumed: All records that its group read.
        acknowledged: Of each record: (n, partition, offset); None for a client that does not tell.
        transacted: Whether it copied in transactions.
        aborted: Whether one of them was aborted on purpose.
        offsets_in_transaction: Whether the group's offsets were part of them.
    """

    consumed: list[Consumed]
    acknowledged: list[tuple[int, int, int]] | None = None
    transacted: bool = False
    aborted: bool = False
    offsets_in_transaction: bool = False


@dataclass(frozen=True)
class Content:
    """What record n must hold. The tools that come with Apache Kafka write what they like, and say so here."""

    key: Callable[[int], bytes | None] = lambda n: b"key-%d" % n
    value: Callable[[int], bytes] = lambda n: b"value-%d" % n
    headers: Callable[[int], list[tuple[str, bytes]]] = lambda n: [("n", b"%d" % n)]
    copy: Callable[[int], bytes] = lambda n: b"copy of value-%d" % n
    partition: Callable[[int], int] | None = lambda n: n % PARTITIONS


def report_of(printed: str) -> Report:
    """The report of a program in another language: the last line it printed, as JSON."""
    told = json.loads(printed.splitlines()[-1])
    return Report(
        consumed=[Consumed(*record) for record in told["consumed"]],
        acknowledged=[(n, partition, offset) for n, partition, offset in told["acknowledged"]],
        transacted=told["transacted"],
        aborted=told["transacted"],
        offsets_in_transaction=told["transacted"],
    )
