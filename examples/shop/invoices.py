"""Reads invoices from a file in the columns of the Online Retail data set, CSV or CSV.gz.

    for invoice in read_invoices("orders.csv"):
        httpx.post(url, json=invoice.body())

The file is streamed: memory is bounded by a handful of invoices, however long the file. The reader does not judge
what it reads; a negative quantity or a missing customer is for the orders service to refuse. It only complains about
what cannot be an order line at all, with file, line and column.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TextIO

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")

# The lines of one invoice almost always stand together; in eleven months of real data one invoice has others in
# between. So an invoice counts as complete only once this many later ones have begun.
_OPEN_INVOICES_MAX = 8


class InvoiceFileError(ValueError):
    """The file is not a list of invoices. The message names the file, the line and the column."""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One row: an article, its quantity (negative in a cancellation) and its price each."""

    stock_code: str
    description: str
    quantity: int
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class Invoice:
    """All lines of one InvoiceNo, in the order of the file; the rest is taken from the first line."""

    invoice_no: str
    customer_id: str | None
    country: str
    invoice_date: str
    lines: list[InvoiceLine] = field(default_factory=list)

    @property
    def is_cancellation(self) -> bool:
        """True for an invoice that takes goods back (InvoiceNo C...)."""
        return self.invoice_no.startswith("C")

    def body(self) -> dict[str, Any]:
        """The JSON body for `POST /orders`. Prices are strings, so that they stay exact."""
        return {
            "invoice_no": self.invoice_no,
            "customer_id": self.customer_id,
            "country": self.country,
            "invoice_date": self.invoice_date,
            "lines": [
                {
                    "stock_code": line.stock_code,
                    "description": line.description,
                    "quantity": line.quantity,
                    "unit_price": str(line.unit_price),
                }
                for line in self.lines
            ],
        }


def read_invoices(path: str | Path) -> Iterator[Invoice]:
    """The invoices of a file, in the order in which they begin.

    Args:
        path: A CSV file in UTF-8 with a header, or the same compressed with gzip; which of the two is seen from its
            content.

    Raises:
        InvoiceFileError: When the file is not there, lacks a column, or a line cannot be an order line.
    """
    path = Path(path)
    try:
        with _open_text(path) as text:
            yield from _invoices(path, text)
    except OSError as error:  # gzip.BadGzipFile is one too
        raise InvoiceFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise InvoiceFileError(f"{path}: the gzip data is damaged or cut short: {error}") from error
    except UnicodeDecodeError as error:
        raise InvoiceFileError(f"{path}: not a text in UTF-8 (byte {error.start}); save it as UTF-8") from error


def _open_text(path: Path) -> TextIO:
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
    # utf-8-sig: spreadsheets put a byte order mark before the first column's name.
    if compressed:
        return io.TextIOWrapper(gzip.GzipFile(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _invoices(path: Path, text: TextIO) -> Iterator[Invoice]:
    reader = csv.reader(text, strict=True)
    rows = _rows(path, reader)
    header = [name.strip() for name in next(rows, [])]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise InvoiceFileError(
            f"{path}, line 1: missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"the header must name {', '.join(COLUMNS)}"
        )
    places = [header.index(name) for name in COLUMNS]
    open_invoices: OrderedDict[str, Invoice] = OrderedDict()
    for row in rows:
        if not row:
            continue
        if len(row) != len(header):
            raise InvoiceFileError(
                f"{path}, line {reader.line_num}: {len(row)} fields where the header has {len(header)} columns"
            )
        values = [row[place].strip() for place in places]
        where = f"{path}, line {reader.line_num}"
        invoice = open_invoices.get(values[0])
        if invoice is None:
            if len(open_invoices) > _OPEN_INVOICES_MAX:
                yield open_invoices.popitem(last=False)[1]
            invoice = _begin(where, values)
            open_invoices[invoice.invoice_no] = invoice
        elif (customer_id := _customer(values[6])) != invoice.customer_id:
            raise InvoiceFileError(
                f"{where}, column CustomerID: {customer_id or 'empty'}, but invoice {invoice.invoice_no} "
                f"began with {invoice.customer_id or 'no customer'}"
            )
        invoice.lines.append(_line(where, values))
    yield from open_invoices.values()


def _rows(path: Path, reader: Any) -> Iterator[list[str]]:
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InvoiceFileError(f"{path}, line {reader.line_num}: not CSV: {error}") from error
        yield row


def _begin(where: str, values: list[str]) -> Invoice:
    if not values[0]:
        raise InvoiceFileError(f"{where}, column InvoiceNo: empty; every line belongs to an invoice")
    return Invoice(
        invoice_no=values[0], customer_id=_customer(values[6]), country=values[7], invoice_date=values[4], lines=[]
    )


def _customer(text: str) -> str | None:
    """A customer number; spreadsheets print it as a float (`17850.0`)."""
    return text.removesuffix(".0") or None


def _line(where: str, values: list[str]) -> InvoiceLine:
    return InvoiceLine(
        stock_code=values[1],
        description=values[2],
        quantity=_whole_number(where, values[3]),
        unit_price=_price(where, values[5]),
    )


def _whole_number(where: str, text: str) -> int:
    try:
        return int(text.removesuffix(".0"))
    except ValueError:
        raise InvoiceFileError(f"{where}, column Quantity: {text!r} is not a whole number") from None


def _price(where: str, text: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite():
        raise InvoiceFileError(f"{where}, column UnitPrice: {text!r} is not a price")
    return price
