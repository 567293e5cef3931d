"""Gathers what the audit compares: the topics, the databases, and the file of orders read anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path

from ottla import Deserializer, KafkaSettings, RegistryClient
from shop.demo.audit import Books, audit
from shop.demo.ledgers import read_ledgers
from shop.demo.loader import Answer
from shop.demo.pipeline import Pipeline
from shop.demo.said import read_said
from shop.invoices import read_invoices


def close_books(pipeline: Pipeline, orders: Path, read: int, answers: Mapping[int, Answer], *, settled: bool) -> Books:
    """Reads everything and compares it. Broker and registry must run; the services need not.

    Args:
        orders: The file of orders.
        read: How many of its invoices this run took.
        answers: What the shop answered to them.
        settled: Whether everything has come to rest.

    Raises:
        BrokerUnavailable, RegistryUnavailable: Not there any more.
    """
    registry = RegistryClient(pipeline.registry_url)
    try:
        # First what was done, then what was said: while the shop still runs, an event comes before its effect.
        ledgers = read_ledgers({name: service.database_url for name, service in pipeline.services.items()})
        kafka, deserializer = KafkaSettings(bootstrap_servers=pipeline.bootstrap_servers), Deserializer(registry)
        said = read_said(kafka, deserializer)
        totals = None
        if settled and "streams" in pipeline.services:
            from shop.demo.streamed import read_customer_totals

            totals = read_customer_totals(kafka, deserializer, len(ledgers.orders.progress))
        numbers = (invoice.invoice_no for invoice in islice(read_invoices(orders), read))
        return audit(said, ledgers, invoices=numbers, answers=answers, settled=settled, totals=totals)
    finally:
        registry.close()


class Closing(threading.Thread):
    """`close_books` in a thread: whoever waits for it can stop waiting."""

    def __init__(
        self, pipeline: Pipeline, orders: Path, read: int, answers: Mapping[int, Answer], *, settled: bool
    ) -> None:
        super().__init__(name="books", daemon=True)
        self._work = partial(close_books, pipeline, orders, read, answers, settled=settled)
        self.books: Books | None = None
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            self.books = self._work()
        except Exception as error:
            self.failure = error

    def wait(self, timeout_s: float | None, cut_short: threading.Event) -> Books | None:
        """The books; None if they were not closed in time, before `cut_short` was set, or at all (see `failure`)."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self.is_alive() and not cut_short.is_set() and (deadline is None or time.monotonic() < deadline):
            self.join(0.05)
        return self.books
