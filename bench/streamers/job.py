"""What a stream program is asked to do. Only the standard library: peers run in environments of their own.

A program runs until it gets SIGTERM, and prints nothing: what it has done is seen in Kafka.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

CUSTOMER_TOTALS, STATELESS, WINDOWED, JOIN = "customer_totals", "stateless", "windowed", "join"
WORKLOADS = (CUSTOMER_TOTALS, STATELESS, WINDOWED, JOIN)
EXACTLY_ONCE, AT_LEAST_ONCE = "exactly_once", "at_least_once"
GUARANTEES = (EXACTLY_ONCE, AT_LEAST_ONCE)
LEAST_AMOUNT = 5
"""`stateless` keeps orders of more than this."""

PARTITIONS = 4
WINDOW_MS = 3_600_000
GRACE_MS = 20 * 365 * 86_400_000
"""The partitions of a topic are read at different speeds: no record may be late because of it."""


@dataclass(frozen=True)
class Job:
    """One application.

    Attributes:
        bootstrap: Kafka's address.
        registry: The schema registry's URL.
        application: The application's id and group.
        workload: One of WORKLOADS.
        guarantee: One of GUARANTEES.
        orders, customers, output: Topics.
        order_schema, customer_schema, result_schema: Avro, for those who read without a registry.
        result_id: The registry's id of the result's schema.
        commit_interval_s: Time from one commit to the next.
        cache_bytes: For what is read and written last, of the whole instance.
        threads: Cores that the program may keep busy by itself.
        state_dir: Where it may write.
    """

    bootstrap: str
    registry: str
    application: str
    workload: str
    guarantee: str
    orders: str
    customers: str
    output: str
    order_schema: str
    customer_schema: str
    result_schema: str
    result_id: int
    commit_interval_s: float
    cache_bytes: int
    threads: int
    state_dir: str

    @classmethod
    def given(cls) -> Job:
        """From the command line."""
        return cls(**json.loads(sys.argv[1]))

    def argument(self) -> str:
        return json.dumps(asdict(self))

    def strings(self) -> list[str]:
        """`name=value`, for programs that read no JSON."""
        given: dict[str, Any] = asdict(self)
        return [f"{name}={value}" for name, value in given.items()]
