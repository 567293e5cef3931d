"""The end of a demo run: what came in, what became of it, how fast, and whether the books balance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shop.demo.audit import Books
from shop.demo.memory import Memory
from shop.demo.read_model import IN_FLIGHT, Totals

EARLIER_RUN = "placed by an earlier run on the same data; another --data DIR begins a new shop"


@dataclass
class Summary:
    """Everything there is to say at the end. Times in seconds; None where it was not measured.

    Attributes:
        source: The file of orders.
        placed: Invoices by answer: accepted, known, rejected.
        rejected: Rejections by reason.
        totals: The orders in the shop, of this run and earlier ones.
        books: The audit's finding; None if there was no time for it.
        new_orders: Orders this run added.
        flow_s: From the first request to the end of the last order.
        first_shipped_s: From the command to the first order that was shipped.
        memory: Of all processes, at rest.
        stopping_s: How long the processes took to end.
        killed: Processes that did not end when asked.
        restarts: Processes that had to be started again.
        stuck: Why the run ended before every order did, if so.
    """

    source: str
    invoices_read: int = 0
    placed: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    books: Books | None = None
    new_orders: int = 0
    flow_s: float | None = None
    first_shipped_s: float | None = None
    memory: Memory | None = None
    stopping_s: float | None = None
    killed: tuple[str, ...] = ()
    restarts: Mapping[str, int] = field(default_factory=dict)
    stuck: str | None = None

    @property
    def orders_per_s(self) -> float | None:
        return self.new_orders / self.flow_s if self.flow_s and self.new_orders else None

    @property
    def balanced(self) -> bool:
        return self.books is not None and self.books.balanced and self.stuck is None

    def as_json(self) -> dict[str, Any]:
        """One JSON object."""
        books = self.books
        return {
            "source": self.source,
            "invoices": {
                "read": self.invoices_read,
                "accepted": self.placed.get("accepted", 0),
                "known": self.placed.get("known", 0),
                "rejected": self.placed.get("rejected", 0),
                "rejected_by_reason": dict(self.rejected),
            },
            "orders": {
                "accepted": self.totals.accepted,
                "cancellations": self.totals.cancellations,
                "outcomes": dict(books.outcomes) if books else dict(self.totals.by_status),
            },
            "throughput": {
                "orders": self.new_orders,
                "seconds": _rounded(self.flow_s),
                "orders_per_second": _rounded(self.orders_per_s, 1),
            },
            "first_shipped_seconds": _rounded(self.first_shipped_s),
            "memory_mb": None
            if self.memory is None
            else {
                "rss": _rounded(self.memory.rss, 1),
                "pss": _rounded(self.memory.pss, 1),
                "processes": self.memory.processes,
            },
            "stopped_in_seconds": _rounded(self.stopping_s),
            "killed": list(self.killed),
            "restarts": dict(self.restarts),
            "stuck": self.stuck,
            "books": None
            if books is None
            else {
                "balanced": books.balanced,
                "settled": books.settled,
                "compared": list(books.compared),
                "discrepancies": list(books.discrepancies),
                "notes": list(books.notes),
            },
            "balanced": self.balanced,
        }


def print_summary(summary: Summary, console: Console) -> None:
    """The same for people."""
    console.print()
    _print_invoices(summary, console)
    _print_orders(summary, console)
    _print_numbers(summary, console)
    _print_books(summary, console)


def _print_invoices(summary: Summary, console: Console) -> None:
    placed = summary.placed
    parts = [f"{placed.get('accepted', 0):,} accepted"]
    if placed.get("known"):
        parts.append(f"{placed['known']:,} known already")
    parts.append(f"{placed.get('rejected', 0):,} rejected")
    unanswered = summary.invoices_read - sum(placed.values())
    if unanswered:
        parts.append(f"{unanswered:,} not placed any more")
    _line(console, "Invoices", f"{summary.invoices_read:,} read = {' + '.join(parts)}   ({summary.source})")
    if placed.get("known"):
        _line(console, "", f"{placed['known']:>7,} known already: {EARLIER_RUN}")
    for reason, count in sorted(summary.rejected.items(), key=lambda item: (-item[1], item[0])):
        _line(console, "", f"{count:>7,} rejected: {reason.replace('_', ' ')}")


def _print_orders(summary: Summary, console: Console) -> None:
    outcomes = summary.books.outcomes if summary.books else _in_flight_together(summary.totals)
    parts = [f"{count:,} {name.replace('_', ' ')}" for name, count in outcomes.items()]
    _line(console, "Orders", f"{summary.totals.accepted:,} accepted = {' + '.join(parts)}")
    if summary.totals.cancellations:
        count = summary.totals.cancellations
        _line(console, "", f"{count:,} cancellation{'s' * (count != 1)} accepted (of whole orders or of some lines)")


def _print_numbers(summary: Summary, console: Console) -> None:
    if summary.orders_per_s is not None:
        _line(
            console,
            "Speed",
            f"{summary.orders_per_s:,.0f} orders/s through all services "
            f"({summary.new_orders:,} in {summary.flow_s:.1f} s)",
        )
    if summary.first_shipped_s is not None:
        _line(console, "", f"first order shipped {summary.first_shipped_s:.1f} s after the command")
    if summary.memory is not None:
        memory = summary.memory
        _line(
            console,
            "Memory",
            f"{memory.pss:,.0f} MB for {memory.processes} processes at rest "
            f"({memory.rss:,.0f} MB if shared pages are counted once for each)",
        )
    if summary.restarts:
        names = ", ".join(f"{name} {count}x" for name, count in summary.restarts.items())
        _line(console, "Restarts", names)
    if summary.stopping_s is not None:
        killed = f"; had to be killed: {', '.join(summary.killed)}" if summary.killed else ""
        _line(console, "Stopped", f"in {summary.stopping_s:.1f} s{killed}")


def _print_books(summary: Summary, console: Console) -> None:
    books = summary.books
    if summary.stuck:
        _line(console, "Stuck", summary.stuck, "bold red")
    if books is None:
        _line(console, "Books", "not checked: there was no time for it before the end", "bold yellow")
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("compared")
    for name in ("sets", "here", "there", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for group, checks in books.groups().items():
        holds = all(check.holds for check in checks)
        mark = Text("ok", style="green") if holds else Text("DIFFERS", style="bold red")
        left, right = sum(check.left for check in checks), sum(check.right for check in checks)
        table.add_row(group, str(len(checks)), f"{left:,}", f"{right:,}", mark)
    console.print()
    console.print(table)
    for discrepancy in books.discrepancies:
        _line(console, "", discrepancy, "red")
    for note in books.notes:
        _line(console, "", note, "yellow")
    console.print()
    verdict = f"{books.verdict} Compared: {books.sources}."
    _line(console, "Books", verdict, "bold green" if summary.balanced else "bold red")


def _in_flight_together(totals: Totals) -> dict[str, int]:
    found = {name: count for name, count in totals.by_status.items() if name not in IN_FLIGHT}
    return {**found, "in flight": totals.in_flight}


def _line(console: Console, head: str, text: str, style: str = "") -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=8)
    grid.add_column()
    grid.add_row(Text(head, style="bold"), Text(text, style=style))
    console.print(grid)


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
