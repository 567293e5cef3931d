"""The demo from the command to the exit status.

What has to be imported is more than half a second's worth, and so is what the processes of the shop import: so they are
started first, and the demo loads the rest of itself while they do the same.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ottla.errors import ConfigurationError
from shop.demo.leftovers import refuse_a_strange_shop, remember_the_shop
from shop.demo.options import Options
from shop.demo.pipeline import Pipeline
from shop.demo.started import command_started
from shop.invoices import InvoiceFileError, read_invoices

_LAST_DEADLINE_S = 1.0
_LINE_WIDTH = 160


def run(options: Options) -> int:
    """Runs the demo to its end and gives the exit status: 0 if the books balance, else 1.

    Raises:
        ConfigurationError: Before anything was started: a busy port, a file that holds no orders, a folder that belongs
            to another shop.
        OttlaError: The shop could not be run.
    """
    began = command_started()
    # What the client library says while a broker comes and goes is the services' business, and in their logs.
    logging.getLogger("ottla.kafka.client").setLevel(logging.CRITICAL)
    try:
        next(read_invoices(options.orders), None)
        pipeline = Pipeline(options.data, options.ports, options.bootstrap_servers, streams=options.streams)
        orders_database_url = pipeline.services["orders"].database_url
        refuse_a_strange_shop(pipeline.data, options.bootstrap_servers, orders_database_url)
        remember_the_shop(pipeline.data, options.bootstrap_servers)
        return _run(options, pipeline, began)
    except InvoiceFileError as error:
        raise ConfigurationError(f"{error} (--orders)") from None


def _run(options: Options, pipeline: Pipeline, began: float) -> int:
    out = sys.stderr if options.json else sys.stdout
    with _interruptible() as interrupted:
        try:
            what = f"Kafka at {pipeline.bootstrap_servers}" if options.bootstrap_servers else "a broker"
            services = "five services and its streams" if options.streams else "five services"
            print(f"Starting the shop: {what}, a schema registry, {services} ...", file=out, flush=True)
            pipeline.start()
            from shop.demo.session import Session

            summary = Session(options, pipeline, began, interrupted).run()
        finally:
            pipeline.stop(_LAST_DEADLINE_S)
    if options.json:
        print(json.dumps(summary.as_json()))
    else:
        from rich.console import Console

        from shop.demo.summary import print_summary

        # Without a terminal there is no width to keep to, and lines that are whole are easier to search.
        print_summary(summary, Console(width=None if sys.stdout.isatty() else _LINE_WIDTH))
    return 0 if summary.balanced else 1


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, instead of ending the program on the spot."""
    interrupted = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
