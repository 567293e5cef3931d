"""What the demo shows while it runs: a live page on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from shop.demo.read_model import OrderLine
from shop.demo.summary import EARLIER_RUN
from shop.demo.watch import ServiceSample, Snapshot

_NUMBER = re.compile(r"\d+")
_STATE_STYLE = {"ready": "green", "starting": "yellow", "unhealthy": "bold red", "ended": "bold red"}
_STATUS_STYLE = {"shipped": "green", "cancelled": "yellow", "declined": "red", "out_of_stock": "magenta"}
_PLAIN_EVERY_S = 2.0
# What an event means for its order, in a word.
_STAGES = {
    "OrderCreated": "created",
    "OrderCancelled": "cancelled",
    "InventoryReserved": "reserved",
    "InventoryRejected": "out of stock",
    "InventoryReleased": "released",
    "PaymentAuthorized": "paid",
    "PaymentDeclined": "declined",
    "ShipmentDispatched": "shipped",
    "NotificationSent": "told",
}
# The live page is redrawn this often per second; more costs the shop a noticeable share of a small machine.
_REDRAWS_PER_S = 4
_SAID_FOR_S = 15.0
_SAID_MAX = 3
# Frames, headings, totals, and the line of the cursor.
_OTHER_LINES = 14


@dataclass(frozen=True)
class Progress:
    """What there is to show at one moment.

    `placed` counts the loader's answers (`accepted`, `known`, `rejected`); `reasons` the rejections by reason.
    """

    phase: str
    elapsed_s: float
    snapshot: Snapshot
    invoices_read: int = 0
    placed: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)


class View(Protocol):
    """Shows progress; called from one thread."""

    def show(self, progress: Progress) -> None: ...

    def say(self, message: str) -> None:
        """One line that stays."""

    def close(self) -> None: ...


def make_view(out: TextIO) -> View:
    """The live page if `out` is a terminal, else plain lines."""
    return LiveView(out) if out.isatty() else PlainView(out)


class PlainView:
    """One line every two seconds, if anything changed; and one for each service that becomes ready or ceases to be."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._states: dict[str, str] = {}
        self._line = ""
        self._phase = ""
        self._shown_at = 0.0

    def show(self, progress: Progress) -> None:
        if progress.phase != self._phase:
            self._phase = progress.phase
            self.say(f"{progress.elapsed_s:.1f} s: {progress.phase}")
        for sample in progress.snapshot.services:
            state = describe_state(sample)
            # "... for 8 s" a second later is no news.
            if self._states.get(sample.name) != (news := _NUMBER.sub("", state)):
                self._states[sample.name] = news
                self.say(f"{sample.name}: {state}")
        line = totals_line(progress)
        if progress.invoices_read and line != self._line and time.monotonic() - self._shown_at >= _PLAIN_EVERY_S:
            self._line, self._shown_at = line, time.monotonic()
            self.say(line)

    def say(self, message: str) -> None:
        print(message, file=self._out, flush=True)

    def close(self) -> None:
        pass


class LiveView:
    """A page that is redrawn in place. What is said stays above it, and on the page for a while."""

    def __init__(self, out: TextIO) -> None:
        self._console = Console(file=out)
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._live.start()
        self._drawn_at = 0.0
        self._said: list[tuple[float, str]] = []

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._drawn_at >= 1 / _REDRAWS_PER_S:
            self._drawn_at = now
            self._said = [(at, message) for at, message in self._said if now - at < _SAID_FOR_S][-_SAID_MAX:]
            said = [message for _, message in self._said]
            self._live.update(page(progress, self._console.height, said), refresh=True)

    def say(self, message: str) -> None:
        self._said.append((time.monotonic(), message))
        self._console.print(message, highlight=False, markup=False)

    def close(self) -> None:
        self._live.stop()


def page(progress: Progress, height: int, said: Sequence[str] = ()) -> RenderableType:
    """The whole page; orders fill what `height` lines leave."""
    troubles = [sample for sample in progress.snapshot.services if sample.reasons]
    head = Group(_services(progress, troubles), _totals(progress, said), _addresses(progress))
    lists = (progress.snapshot.services, troubles, said, progress.reasons, progress.addresses)
    used = sum(map(len, lists)) + _OTHER_LINES + bool(progress.placed.get("known"))
    return Group(head, _orders(progress.snapshot.latest[: max(3, height - used)]))


def describe_state(sample: ServiceSample) -> str:
    return f"{sample.state} ({'; '.join(sample.reasons)})" if sample.reasons else sample.state


def totals_line(progress: Progress) -> str:
    placed, snapshot = progress.placed, progress.snapshot
    parts = [
        f"{progress.invoices_read} invoices read",
        f"{placed.get('accepted', 0)} accepted",
        f"{placed.get('known', 0)} known already" if placed.get("known") else "",
        f"{placed.get('rejected', 0)} rejected",
    ]
    outcomes = [f"{count} {name.replace('_', ' ')}" for name, count in snapshot.totals.by_status.items() if count]
    return ", ".join(part for part in parts if part) + (" | orders: " + ", ".join(outcomes) if outcomes else "")


def _services(progress: Progress, troubles: Sequence[ServiceSample]) -> RenderableType:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("service", no_wrap=True, min_width=13)
    table.add_column("state", no_wrap=True, min_width=9)
    for name in ("events/s", "handled", "waiting", "retried", "dead"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column("health, metrics", no_wrap=True)
    for sample in progress.snapshot.services:
        table.add_row(
            Text(sample.name, style="bold"),
            Text(sample.state, style=_STATE_STYLE.get(sample.state, "")),
            f"{sample.rate:,.0f}",
            f"{sample.handled:,}",
            f"{sample.lag:,}",
            f"{sample.retried:,}",
            Text(f"{sample.dead_lettered:,}", style="bold red" if sample.dead_lettered else ""),
            Text(sample.url, style="dim"),
        )
    reasons = [
        Text(f"  {sample.name}: {'; '.join(sample.reasons)}", style="yellow", no_wrap=True, overflow="ellipsis")
        for sample in troubles
    ]
    title = f"[bold]The Ottla shop[/bold] [dim]· {progress.elapsed_s:.0f} s[/dim]"
    return Panel(Group(table, *reasons), title=title, title_align="left", border_style="blue")


def _totals(progress: Progress, said: Sequence[str]) -> RenderableType:
    grid = Table.grid(padding=(0, 4))
    placed = progress.placed
    invoices = Text.assemble(
        ("invoices  ", "dim"),
        (f"{progress.invoices_read:,} read", "bold"),
        f" = {placed.get('accepted', 0):,} accepted",
        f" + {placed['known']:,} known already" if placed.get("known") else "",
        f" + {placed.get('rejected', 0):,} rejected",
    )
    waiting = progress.invoices_read - sum(placed.values())
    if waiting > 0:
        invoices.append(f" + {waiting:,} being placed")
    outcomes = Text.assemble(("orders    ", "dim"))
    for name, count in progress.snapshot.totals.by_status.items():
        outcomes.append(f"{count:,} {name.replace('_', ' ')}", style=_STATUS_STYLE.get(name, "cyan"))
        outcomes.append("   ")
    grid.add_row(Text.assemble(("now       ", "dim"), (progress.phase, "bold")))
    grid.add_row(invoices)
    grid.add_row(outcomes)
    if placed.get("known"):
        grid.add_row(Text.assemble(("known     ", "dim"), EARLIER_RUN))
    for reason, count in sorted(progress.reasons.items(), key=lambda item: -item[1]):
        grid.add_row(Text.assemble(("rejected  ", "dim"), f"{count:,} {reason.replace('_', ' ')}"))
    for message in said:
        grid.add_row(Text.assemble(("said      ", "dim"), (message, "yellow"), no_wrap=True, overflow="ellipsis"))
    return Panel(grid, title="[bold]totals[/bold]", title_align="left", border_style="blue")


def _orders(orders: tuple[OrderLine, ...]) -> RenderableType:
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=True)
    for name in ("invoice", "customer", "country"):
        table.add_column(name, no_wrap=True)
    table.add_column("total", justify="right", no_wrap=True)
    table.add_column("its way", ratio=1, no_wrap=True, overflow="ellipsis")
    for order in orders:
        stages = [_STAGES.get(event, event) for event in order.history]
        way = Text(" > ".join(stages) or order.status, style=_STATUS_STYLE.get(order.status, "cyan"))
        table.add_row(order.invoice_no, order.customer_id, order.country, order.total, way)
    return Panel(table, title="[bold]latest orders[/bold]", title_align="left", border_style="blue")


def _addresses(progress: Progress) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for what, address in progress.addresses.items():
        grid.add_row(Text(what, style="dim"), Text(address))
    return Panel(grid, title="[bold]try it[/bold]", title_align="left", border_style="blue")
