from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from shop.demo.read_model import OrderLine, Totals
from shop.demo.view import PlainView, Progress, page
from shop.demo.watch import ServiceSample, Snapshot, read_metrics

URL = "http://127.0.0.1:8000"


def progress(*services: ServiceSample, phase: str = "placing orders", read: int = 10) -> Progress:
    totals = Totals(accepted=7, by_status={"accepted": 1, "shipped": 5, "out_of_stock": 1, "declined": 0})
    way = ("OrderCreated", "InventoryReserved", "PaymentAuthorized", "ShipmentDispatched")
    orders = tuple(OrderLine(f"5363{n:02}", "17850", "United Kingdom", "1,234.50", "shipped", way) for n in range(30))
    return Progress(
        phase=phase,
        elapsed_s=3.2,
        snapshot=Snapshot(0.0, services, totals, orders),
        invoices_read=read,
        placed={"accepted": 7, "rejected": 2},
        reasons={"missing_customer": 2},
        addresses={"browser": f"{URL}/docs"},
    )


def drawn(shown: Progress, *, width: int = 120, height: int = 40, said: tuple[str, ...] = ()) -> str:
    console = Console(file=io.StringIO(), width=width, height=height)
    with console.capture() as capture:
        console.print(page(shown, height, said))
    return capture.get()


def test_the_page_shows_services_totals_orders_and_where_to_look() -> None:
    sample = ServiceSample("orders", URL, "ready", handled=1234, rate=99.6, lag=3, retried=2, dead_lettered=1)
    text = drawn(progress(sample))
    for part in (
        "orders         ready           100    1,234        3        2     1",
        "10 read = 7 accepted + 2 rejected + 1 being placed",
        "5 shipped",
        "2 missing customer",
        "created > reserved > paid > shipped",
        "1,234.50",
        f"{URL}/docs",
        "placing orders",
    ):
        assert part in text, text


def test_the_page_says_why_a_service_is_not_ready() -> None:
    sample = ServiceSample("inventory", URL, "starting", ("waiting for the schema registry",))
    text = drawn(progress(sample), said=("payments was ended by SIGKILL; starting it again",))
    assert "inventory: waiting for the schema registry" in text
    assert "payments was ended by SIGKILL; starting it again" in text


def test_the_page_says_why_a_second_run_places_nothing() -> None:
    shown = replace(progress(), placed={"known": 7, "rejected": 2})
    text = drawn(shown)
    assert "0 accepted + 7 known already + 2 rejected" in text
    assert "placed by an earlier run on the same data; another --data DIR begins a new shop" in text
    assert len(text.splitlines()) < 40


def test_the_page_fits_the_terminal() -> None:
    services = [ServiceSample(name, URL, "ready") for name in "abcde"]
    for height in (30, 40, 48):
        lines = drawn(progress(*services), height=height).splitlines()
        assert height - 2 <= len(lines) < height


def test_plain_lines_tell_each_change_once() -> None:
    out = io.StringIO()
    view = PlainView(out)
    starting = ServiceSample("orders", URL, "starting", ("waiting for the broker",))
    ready = ServiceSample("orders", URL, "ready")
    for sample in (starting, starting, ready, ready):
        view.show(progress(sample))
    lines = out.getvalue().splitlines()
    assert lines == [
        "3.2 s: placing orders",
        "orders: starting (waiting for the broker)",
        "10 invoices read, 7 accepted, 2 rejected | orders: 1 accepted, 5 shipped, 1 out of stock",
        "orders: ready",
    ]


def test_metrics_are_summed_over_their_labels() -> None:
    text = """# HELP ottla_records_handled_total Records handled
# TYPE ottla_records_handled_total counter
ottla_records_handled_total{handler="a",service="s",topic="x y{}"} 3.0
ottla_records_handled_total{handler="b",service="s",topic="t"} 4.0
ottla_consumer_lag{partition="0"} 1e+03
"""
    assert read_metrics(text) == {"ottla_records_handled_total": 7.0, "ottla_consumer_lag": 1000.0}
