"""What a consumer program is asked to do, and what it says when it is done. Only the standard library: peers run in
environments of their own."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Job:
    """A topic to be read to its end.

    Attributes:
        bootstrap: Kafka's address.
        registry: The schema registry's URL.
        topic, partitions: What to read.
        group: The consumer group, new.
        records: How many there are.
        schema: The Avro schema they are written with, for those who read without a registry.
        await_ms: What each handler waits for, in ms; 0 for none.
        parallel: Records in hand at once, where that can be chosen.
        output: Where to publish an event for each record; empty for nowhere.
    """

    bootstrap: str
    registry: str
    topic: str
    partitions: int
    group: str
    records: int
    schema: str = ""
    await_ms: float = 0.0
    parallel: int = 1
    output: str = ""

    @classmethod
    def given(cls) -> Job:
        """From the command line."""
        return cls(**json.loads(sys.argv[1]))

    def argument(self) -> str:
        return json.dumps(asdict(self))


class Meter:
    """Times from the first record to the last one: how fast a program starts is not the question."""

    def __init__(self, job: Job) -> None:
        self._records = job.records
        self.count = 0
        self.done = threading.Event()
        self._started = 0.0
        self._cpu = 0.0
        self._quantity = 0

    def one(self, quantity: int) -> None:
        """A record was handled. `quantity` is something from within it, so that nobody gets away without reading."""
        if not self.count:
            self._started, self._cpu = time.perf_counter(), time.process_time()
        self.count += 1
        self._quantity += quantity
        if self.count == self._records:
            self.finish()

    def many(self, count: int, quantity: int) -> None:
        """As many calls of `one`."""
        if not self.count:
            self._started, self._cpu = time.perf_counter(), time.process_time()
        self.count += count
        self._quantity += quantity
        if self.count >= self._records:
            self.finish()

    def finish(self) -> None:
        """The last record has been handled."""
        seconds, cpu = time.perf_counter() - self._started, time.process_time() - self._cpu
        self.answer = {"records": self.count, "quantity": self._quantity, "seconds": seconds, "cpu": cpu}
        self.done.set()

    def tell(self) -> None:
        """Prints the result for whoever started the program."""
        print(json.dumps(self.answer), flush=True)
