"""Gathers what the audit compares: the topics, the databases, and the file of orders read anew."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from ottla import KafkaSettings
from ottla.registry.client import RegistryClient
from ottla.serde.deserializer import Deserializer
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
        said = read_said(KafkaSettings(bootstrap_servers=pipeline.bootstrap_servers), Deserializer(registry).decode)
        numbers = (invoice.invoice_no for invoice in islice(read_invoices(orders), read))
        return audit(said, ledgers, invoices=numbers, answers=answers, settled=settled)
    finally:
        registry.close()
