"""Places invoices at `POST /orders`, over several connections at once.

All invoices of one customer go over one connection, one after the other: a cancellation looks for an earlier order of
the same customer, so it must not overtake it. A request that got no answer (connection broken, 503, 429) is repeated,
with back-off, until it has one: repeating is safe, the same invoice number gives the same order.
"""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
import zlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ottla.errors import OttlaError
from shop.invoices import Invoice

_WAITING_PER_CONNECTION = 64
_TRY_AGAIN = frozenset({429, 502, 503, 504})
# A 500 may be a passing trouble of the service, or a defect that answers so for ever: repeated, but not without end.
_ERRORS_IN_A_ROW_MAX = 6
_PAUSE_FIRST_S = 0.05
_PAUSE_MAX_S = 1.0
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Answer:
    """What the shop said: `accepted`, `known` (accepted in an earlier run), or `rejected` with the first reason."""

    invoice_no: str
    outcome: str
    order_id: str | None = None
    reason: str | None = None
    message: str | None = None


class Loader:
    """Places invoices and keeps every answer. `place` runs until all are answered or `stop` is called.

    Args:
        host, port: Where the orders service listens.
        connections: How many requests may be under way at once.
        rate: Invoices per second at most; None is as fast as the shop answers.
        known: Invoice numbers that were accepted before; accepted again, they count as `known`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        connections: int = 24,
        rate: float | None = None,
        known: Collection[str] = frozenset(),
    ) -> None:
        self._host, self._port, self._rate, self._known = host, port, rate, known
        self._lanes: list[queue.Queue[tuple[int, Invoice] | None]] = [
            queue.Queue(_WAITING_PER_CONNECTION) for _ in range(connections)
        ]
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        # By the invoice's place in the file: a number may stand there twice.
        self.answers: dict[int, Answer] = {}
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self.read = 0
        self.retries = 0
        self.done = threading.Event()
        self.failure: BaseException | None = None
        self.started_at: float | None = None
        self.ended_at: float | None = None

    def place(self, invoices: Iterable[Invoice]) -> None:
        """Places all; blocks until they are answered. Raises what reading them or a connection's thread raised."""
        threads = [
            threading.Thread(target=self._serve, args=(lane,), name=f"place-{number}", daemon=True)
            for number, lane in enumerate(self._lanes)
        ]
        for thread in threads:
            thread.start()
        self.started_at = time.monotonic()
        try:
            self._deal(invoices)
        except BaseException as error:
            self.failure = error
            raise
        finally:
            for lane in self._lanes:
                self._put(lane, None)
            for thread in threads:
                thread.join()
            self.ended_at = time.monotonic()
            self.done.set()
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """Ends `place` soon: what waits is dropped, what is under way may go unanswered."""
        self._stopping.set()

    def counts(self) -> Counter[str]:
        """`accepted`, `known` and `rejected` so far."""
        with self._lock:
            return self._outcomes.copy()

    def reasons(self) -> Counter[str]:
        """Rejections by reason so far."""
        with self._lock:
            return self._reasons.copy()

    def _note(self, place: int, answer: Answer) -> None:
        with self._lock:
            self.answers[place] = answer
            self._outcomes[answer.outcome] += 1
            if answer.outcome == "rejected":
                self._reasons[answer.reason or "?"] += 1

    def _deal(self, invoices: Iterable[Invoice]) -> None:
        begin = time.monotonic()
        for invoice in invoices:
            if self._rate and (early := begin + self.read / self._rate - time.monotonic()) > 0:
                self._stopping.wait(early)
            if self._stopping.is_set() or self.failure is not None:
                return
            who = invoice.customer_id or invoice.invoice_no
            self._put(self._lanes[zlib.crc32(who.encode()) % len(self._lanes)], (self.read, invoice))
            self.read += 1

    def _put(self, lane: queue.Queue[tuple[int, Invoice] | None], item: tuple[int, Invoice] | None) -> None:
        while not self._stopping.is_set() and self.failure is None:
            try:
                lane.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def _serve(self, lane: queue.Queue[tuple[int, Invoice] | None]) -> None:
        client = _Client(self._host, self._port)
        try:
            while not self._stopping.is_set() and self.failure is None:
                try:
                    item = lane.get(timeout=0.2)
                except queue.Empty:
                    continue
                if item is None:
                    return
                place, invoice = item
                answer = self._ask(client, invoice)
                if answer is not None:
                    if answer.outcome == "accepted" and invoice.invoice_no in self._known:
                        answer = replace(answer, outcome="known")
                    self._note(place, answer)
        except Exception as error:
            self.failure = error
        finally:
            client.close()

    def _ask(self, client: _Client, invoice: Invoice) -> Answer | None:
        """Asks until there is an answer; None if stopped meanwhile."""
        body = json.dumps(invoice.body()).encode()
        pause_s = _PAUSE_FIRST_S
        errors = 0
        while not self._stopping.is_set():
            try:
                status, content = client.post("/orders", body)
            except (OSError, http.client.HTTPException):
                client.close()
            else:
                errors = errors + 1 if status == 500 else 0
                if status not in _TRY_AGAIN and not 0 < errors < _ERRORS_IN_A_ROW_MAX:
                    return read_answer(invoice.invoice_no, status, content)
            with self._lock:
                self.retries += 1
            self._stopping.wait(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)
        return None


class UnexpectedAnswer(OttlaError):
    """The shop answered something that is neither yes nor a reasoned no: a defect, not bad input."""


def read_answer(invoice_no: str, status: int, body: bytes) -> Answer:
    """Reads the shop's answer to one invoice.

    Raises:
        UnexpectedAnswer: Any status but 202, 200, 409 and 422, or a body that is not what the API promises.
    """
    try:
        content: Any = json.loads(body)
        if status in (200, 202):
            return Answer(invoice_no, "accepted", order_id=content["order_id"])
        if status == 422:
            first = content["detail"][0]
            return Answer(invoice_no, "rejected", reason=str(first["type"]), message=str(first["msg"]))
        if status == 409:
            return Answer(invoice_no, "rejected", reason="conflicts_with_known_invoice", message=str(content["detail"]))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        pass
    raise UnexpectedAnswer(f"invoice {invoice_no}: the orders service answered {status}: {body[:300]!r}")


class _Client:
    """One keep-alive connection, opened when needed."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        self._connection.close()
