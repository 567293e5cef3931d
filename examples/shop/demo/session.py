"""One run of the demo: places the orders, shows their way, checks the books, stops everything."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

from ottla import Settings
from ottla.errors import OttlaError, ProcessExited
from shop.demo.audit import Books
from shop.demo.books import Closing
from shop.demo.expectations import LISTENS, STREAMED
from shop.demo.loader import Loader
from shop.demo.memory import Memory, memory_of
from shop.demo.options import Options
from shop.demo.pipeline import HOST, Pipeline
from shop.demo.read_model import ReadModel, Totals
from shop.demo.rest import RestWatcher
from shop.demo.summary import Summary
from shop.demo.view import Progress, View, make_view
from shop.demo.watch import Watch, Watcher
from shop.invoices import Invoice, read_invoices

# Ctrl-C: all is over five seconds later. Services first, then (with broker and registry still there) the books.
STOP_SERVICES_S = 2.0
BOOKS_CLOSED_S = 3.5
STOP_REST_S = 1.0
# An event whose acknowledgement went missing is published again after some ten seconds. Orders that have not reached an
# end by then, though nothing moves, never will (dead letters, say); it is for the books to name them.
REST_IS_FINAL_S = 15.0
STUCK_S = 90.0
CRASHES_MAX = 4
CRASHES_WITHIN_S = 30.0


class Session:
    """One run. All methods are called from the main thread.

    Args:
        options: What the user chose.
        pipeline: The processes, started already.
        began: When the command was given, on the clock of `time.monotonic()`.
        interrupted: Set when the user wants the end.
    """

    def __init__(self, options: Options, pipeline: Pipeline, began: float, interrupted: threading.Event) -> None:
        self.options, self.pipeline, self.began, self.interrupted = options, pipeline, began, interrupted
        orders = self.pipeline.services["orders"]
        self.read_model = ReadModel(orders.database_url)
        self.before = self.read_model.totals() or Totals()
        self.shipped_before = self.read_model.shipped()
        self.loader = Loader(HOST, orders.port, rate=options.rate, known=self.read_model.invoices())
        self.watch = Watch(self.pipeline)
        self.watcher = Watcher(self.watch)
        listens = {**LISTENS, **(STREAMED if options.streams else {})}
        self.rest = RestWatcher(self.pipeline.bootstrap_servers, listens)
        self.crashes: list[tuple[float, str]] = []
        self.restarts: Counter[str] = Counter()
        self.first_shipped_s: float | None = None
        self.ended_at: float | None = None
        self.at_rest = False
        self.rested_at = 0.0
        self.closing: Closing | None = None
        self.memory: Memory | None = None
        self.stuck: str | None = None
        self.changed_at = time.monotonic()
        self.seen: object = None

    def run(self) -> Summary:
        """Goes on until the end of all orders (`--exit`), or until interrupted; then everything has been stopped."""
        view = make_view(sys.stderr if self.options.json else sys.stdout)
        placing = threading.Thread(target=self._place, name="place", daemon=True)
        for thread in (placing, self.watcher, self.rest):
            thread.start()
        try:
            try:
                self._show_until_over(view)
            finally:
                self.rest.stop()
                self.loader.stop()
                self.watcher.stop()
            books, killed, stopping_s = self._finish(view)
            return self._summary(books, killed, stopping_s)
        finally:
            view.close()
            self.read_model.close()

    # ------------------------------------------------------------------ placing

    def _place(self) -> None:
        while not self.pipeline.supervisor["orders"].ready:
            if self.interrupted.wait(0.02):
                return
        try:
            self.loader.place(self._invoices())
        except Exception as error:
            self.loader.failure = error

    def _invoices(self) -> Iterator[Invoice]:
        return islice(read_invoices(self.options.orders), self.options.limit)

    # ------------------------------------------------------------------ watching

    def _show_until_over(self, view: View) -> None:
        while not self.interrupted.wait(0.2 if self.first_shipped_s else 0.03):
            self._restart_crashed(view)
            if self.loader.failure is not None:
                raise self.loader.failure
            if self.first_shipped_s is None and self.read_model.shipped() > self.shipped_before:
                self.first_shipped_s = time.monotonic() - self.began
            self._note_the_end()
            view.show(self._progress())
            if self.options.exit and (self.at_rest or self.stuck):
                return

    def _note_the_end(self) -> None:
        # Counting is not free; while orders are still being placed, the latest snapshot is good enough.
        totals = self.read_model.totals() if self.loader.done.is_set() else self.watch.snapshot.totals
        now = time.monotonic()
        state = (totals, self.loader.read, len(self.loader.answers), self.rest.moved_at)
        if state != self.seen:
            self.seen, self.changed_at = state, now
            self.stuck = None
        if totals is not None and self.loader.done.is_set():
            self.rest.begin()
            resting_s = now - self.rest.since if self.rest.since is not None else 0.0
            idle = totals.in_flight == 0 and not self.read_model.unsent()
            if idle or resting_s > REST_IS_FINAL_S:
                self.ended_at = self.ended_at or now
                # A look from before the last order ended may have found a shop that had not begun.
                confirmed = resting_s > REST_IS_FINAL_S or (resting_s > 0 and self.rest.seen_from >= self.ended_at)
                if confirmed and not self.at_rest:
                    self.at_rest, self.rested_at = True, now
                    self.watcher.look_now()
                    self.memory = memory_of([os.getpid(), *(child.pid for child in self.pipeline.supervisor.children)])
                    self.closing = self._close_books()
                elif resting_s == 0:
                    self.at_rest, self.closing = False, None
                return
            self.ended_at, self.at_rest, self.closing = None, False, None
        if now - self.changed_at > STUCK_S:
            self.stuck = self._why_stuck(totals)

    def _why_stuck(self, totals: Totals | None) -> str:
        behind = ", ".join(f"{service} {count:,}" for service, count in self.rest.behind.items() if count)
        unwell = [
            f"{sample.name}: {'; '.join(sample.reasons) or sample.state}"
            for sample in self.watch.snapshot.services
            if sample.state != "ready"
        ]
        return ". ".join(
            part
            for part in (
                f"no progress for {STUCK_S:.0f} s",
                f"{totals.in_flight if totals else 0} orders are in flight",
                f"events not yet handled: {behind}" if behind else "",
                self.rest.trouble or "",
                *unwell,
                f"logs: {self.pipeline.logs}",
            )
            if part
        )

    def _restart_crashed(self, view: View) -> None:
        for crash in self.pipeline.crashes[len(self.crashes) :]:
            now = time.monotonic()
            self.crashes.append((now, crash.name))
            recent = [at for at, name in self.crashes if name == crash.name and now - at < CRASHES_WITHIN_S]
            if len(recent) >= CRASHES_MAX:
                raise ProcessExited(f"{crash.describe()}\nIt was started {CRASHES_MAX} times.")
            view.say(f"{crash.summary()}; starting it again")
            self.restarts[crash.name] += 1
            self.pipeline.supervisor.start(self.pipeline.supervisor[crash.name].command)

    def _progress(self) -> Progress:
        orders = self.pipeline.services["orders"]
        return Progress(
            phase=self._phase(),
            elapsed_s=time.monotonic() - self.began,
            snapshot=self.watch.snapshot,
            invoices_read=self.loader.read,
            placed=self.loader.counts(),
            reasons=self.loader.reasons(),
            addresses={
                "browser": f"{orders.url}/docs",
                "shell": f"curl '{orders.url}/orders?status=shipped&limit=3'",
                "registry": f"curl {self.pipeline.registry_url}/subjects",
                "kafka": self._consume_command,
                "logs": str(self.pipeline.logs),
                "stop": "Ctrl-C",
            },
        )

    @cached_property
    def _consume_command(self) -> str:
        """As short as it can be: with the addresses only where they are not the defaults."""
        here, defaults = Path(sys.executable).with_name("ottla"), Settings()
        program = "ottla" if shutil.which("ottla") else min(str(here), os.path.relpath(here), key=len)
        command = [program, "topic", "consume", "order-events", "--from-beginning"]
        if self.pipeline.bootstrap_servers != defaults.kafka.bootstrap_servers:
            command += ["-b", self.pipeline.bootstrap_servers]
        if self.pipeline.registry_url != defaults.registry.url:
            command += ["--registry-url", self.pipeline.registry_url]
        return " ".join(command)

    def _phase(self) -> str:
        if self.stuck:
            return f"stuck: {self.stuck}"
        # The page says so only when what it shows has got there too.
        shown = self.watch.snapshot.taken_at >= self.rested_at
        if self.at_rest and self.closing is not None and shown:
            if self.closing.books is None:
                return "every order has reached its end, checking the books"
            return f"every order has reached its end, the books {self.closing.books.verdict.rstrip('.')}"
        if self.loader.done.is_set():
            return "waiting for the last orders"
        return "starting" if self.loader.started_at is None else "placing orders"

    # ------------------------------------------------------------------ ending

    def _finish(self, view: View) -> tuple[Books | None, list[str], float]:
        """Closes the books and stops everything; in a hurry, within five seconds."""
        began = time.monotonic()
        hurry = self.interrupted.is_set()
        view.say("stopping ..." if hurry else "checking the books ...")
        killed: list[str] = []
        if self.closing is None:
            # Something moves: only when the services have stopped do the books stand still.
            killed += self.pipeline.stop_services(STOP_SERVICES_S)
            self.closing = self._close_books()
        left_s = max(0.0, began + BOOKS_CLOSED_S - time.monotonic())
        books = self.closing.wait(left_s if hurry else None, threading.Event() if hurry else self.interrupted)
        if isinstance(self.closing.failure, OttlaError):
            self.stuck = self.stuck or f"the books could not be read: {self.closing.failure}"
        elif self.closing.failure is not None:
            raise self.closing.failure
        if not hurry:
            began = time.monotonic()
        killed += self.pipeline.stop_services(STOP_SERVICES_S)
        killed += self.pipeline.stop(STOP_REST_S)
        return books, killed, time.monotonic() - began

    def _close_books(self) -> Closing:
        closing = Closing(
            self.pipeline,
            self.options.orders,
            self.loader.read,
            dict(self.loader.answers),
            settled=self.at_rest,
        )
        closing.start()
        return closing

    def _summary(self, books: Books | None, killed: list[str], stopping_s: float) -> Summary:
        totals = self.read_model.totals() or Totals()
        started, ended = self.loader.started_at, self.ended_at
        return Summary(
            source=self.options.orders.name,
            invoices_read=self.loader.read,
            placed=self.loader.counts(),
            rejected=self.loader.reasons(),
            totals=totals,
            books=books,
            new_orders=totals.accepted - self.before.accepted,
            flow_s=ended - started if started is not None and ended is not None else None,
            first_shipped_s=self.first_shipped_s,
            memory=self.memory,
            stopping_s=stopping_s,
            killed=tuple(killed),
            restarts=self.restarts,
            stuck=self.stuck,
        )
