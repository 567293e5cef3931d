from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shop.demo.loader import Loader, UnexpectedAnswer
from shop.invoices import Invoice, InvoiceLine

Answer = tuple[int, dict[str, Any]]
Shop = Callable[[dict[str, Any]], Answer | None]


def invoice(number: str, customer: str | None = "17850") -> Invoice:
    line = InvoiceLine("85123A", "T-LIGHT HOLDER", 6, Decimal("2.55"))
    return Invoice(number, customer, "United Kingdom", "2010-12-01 08:26:00", [line])


def accepted(order: dict[str, Any]) -> Answer:
    return 202, {"order_id": f"id-{order['invoice_no']}"}


@contextmanager
def orders_service(answer: Shop) -> Iterator[int]:
    """An HTTP server that answers as `answer` says; None breaks the connection off without a word."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = answer(body)
            if said is None:
                self.close_connection = True
                return
            content = json.dumps(said[1]).encode()
            self.send_response(said[0])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_answers_are_counted_by_outcome_and_reason() -> None:
    def answer(order: dict[str, Any]) -> Answer:
        match order["invoice_no"][0]:
            case "R":
                return 422, {"detail": [{"loc": ["body"], "msg": "No customer.", "type": "missing_customer"}]}
            case "X":
                return 409, {"detail": "another content"}
        return accepted(order)

    with orders_service(answer) as port:
        loader = Loader("127.0.0.1", port)
        loader.place([invoice("1"), invoice("2"), invoice("R3", None), invoice("X4")])
    assert loader.counts() == {"accepted": 2, "rejected": 2}
    assert loader.reasons() == {"missing_customer": 1, "conflicts_with_known_invoice": 1}
    assert loader.answers[0].order_id == "id-1"


def test_invoices_of_one_customer_go_strictly_one_after_the_other() -> None:
    lock = threading.Lock()
    under_way: dict[str, int] = {}
    seen: dict[str, list[int]] = {}
    overlaps: list[str] = []
    most_at_once = 0

    def answer(order: dict[str, Any]) -> Answer:
        nonlocal most_at_once
        customer = order["customer_id"]
        with lock:
            under_way[customer] = under_way.get(customer, 0) + 1
            if under_way[customer] > 1:
                overlaps.append(customer)
            most_at_once = max(most_at_once, sum(under_way.values()))
            seen.setdefault(customer, []).append(int(order["invoice_no"]))
        time.sleep(0.002)
        with lock:
            under_way[customer] -= 1
        return accepted(order)

    with orders_service(answer) as port:
        Loader("127.0.0.1", port, connections=4).place(invoice(str(n), f"customer-{n % 10}") for n in range(100))
    assert overlaps == []
    assert all(numbers == sorted(numbers) for numbers in seen.values())
    assert sum(map(len, seen.values())) == 100
    assert most_at_once > 1, "different customers' invoices were never placed at the same time"


def test_a_request_without_an_answer_is_repeated_until_it_has_one() -> None:
    trouble: list[Answer | None] = [None, (503, {}), None, (500, {}), (503, {})]

    def answer(order: dict[str, Any]) -> Answer | None:
        return trouble.pop(0) if trouble else accepted(order)

    with orders_service(answer) as port:
        loader = Loader("127.0.0.1", port)
        loader.place([invoice("1")])
    assert loader.counts() == {"accepted": 1}
    assert loader.retries == 5


def test_placing_waits_for_a_service_that_is_not_there_yet() -> None:
    with orders_service(accepted) as port:
        pass
    loader = Loader("127.0.0.1", port)
    placing = threading.Thread(target=loader.place, args=([invoice("1")],))
    placing.start()
    while loader.retries < 2:
        assert placing.is_alive()
        time.sleep(0.01)
    loader.stop()
    placing.join(10)
    assert not placing.is_alive()
    assert loader.answers == {}


def test_an_answer_that_is_neither_yes_nor_a_reasoned_no_is_raised() -> None:
    with (
        orders_service(lambda _: (404, {"detail": "Not Found"})) as port,
        pytest.raises(UnexpectedAnswer, match=r"invoice 1.*404.*Not Found"),
    ):
        Loader("127.0.0.1", port).place(invoice(str(n)) for n in range(1, 1000))


def test_a_service_that_fails_for_ever_is_not_asked_for_ever() -> None:
    with orders_service(lambda _: (500, {"detail": "boom"})) as port, pytest.raises(UnexpectedAnswer, match="500"):
        Loader("127.0.0.1", port).place([invoice("1")])


def test_the_rate_is_kept() -> None:
    with orders_service(accepted) as port:
        loader = Loader("127.0.0.1", port, rate=100)
        began = time.monotonic()
        loader.place(invoice(str(n)) for n in range(31))
    assert time.monotonic() - began >= 0.3


def test_a_fault_of_the_file_ends_the_placing() -> None:
    def broken() -> Iterator[Invoice]:
        yield invoice("1")
        raise ValueError("line 2 is no order line")

    with orders_service(accepted) as port:
        loader = Loader("127.0.0.1", port)
        with pytest.raises(ValueError, match="line 2"):
            loader.place(broken())
    assert loader.done.is_set()
