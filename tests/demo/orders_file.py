"""A file of orders for tests: the sample day several times over, and invoices that the shop must refuse or cancel."""

from __future__ import annotations

import csv
from pathlib import Path

from shop.demo.options import SAMPLE
from shop.invoices import COLUMNS

SAMPLE_INVOICES = 143
SAMPLE_ORDERS = 121

_ADDED = (
    ("700001", "22423", "REGENCY CAKESTAND", "2", "12.75", "17850.0"),
    ("C700002", "22423", "REGENCY CAKESTAND", "-2", "12.75", "17850.0"),  # takes all of 700001 back
    ("700003", "22423", "REGENCY CAKESTAND", "-2", "12.75", "17850.0"),
    ("700004", "22423", "REGENCY CAKESTAND", "2", "0.0", "17850.0"),
    ("700005", "22423", "", "2", "12.75", "17850.0"),
    ("700006", "22423", "REGENCY CAKESTAND", "2", "12.75", ""),
    ("C700007", "22423", "REGENCY CAKESTAND", "-2", "12.75", "99999.0"),
)
ADDED_ORDERS = 1
ADDED_INVOICES = len(_ADDED)


def write_orders(path: Path, copies: int) -> Path:
    """Writes the sample day `copies` times under invoice numbers of their own, then the added invoices."""
    with SAMPLE.open(newline="") as sample, path.open("w", newline="") as file:
        rows = list(csv.DictReader(sample))
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for copy in range(copies):
            for row in rows:
                number = row["InvoiceNo"]
                letter, digits = ("C", number[1:]) if number.startswith("C") else ("", number)
                writer.writerow({**row, "InvoiceNo": f"{letter}{int(digits) + copy * 10_000}"})
        for number, code, description, quantity, price, customer in _ADDED:
            values = (number, code, description, quantity, "2010-12-02 09:00:00", price, customer, "United Kingdom")
            writer.writerow(dict(zip(COLUMNS, values, strict=True)))
    return path
