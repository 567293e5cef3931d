"""What the shop's streams must come to, worked out by SQL from the file's columns: shares no code with the shop.

Amounts are whole mills (thousandths), so that nothing is rounded; times are the file's texts.
"""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

# Orders as the orders service takes them: no line of the invoice has a fault.
ORDERS = """
CREATE TABLE placed AS
SELECT invoice, max(customer) AS customer, max(country) AS country, min(date) AS date, sum(quantity * mills) AS mills
FROM line GROUP BY invoice
HAVING invoice NOT LIKE 'C%' AND min(customer <> '') AND min(trim(description) <> '')
   AND min(quantity) > 0 AND min(mills) > 0
"""
NO_GOODS = "('POST', 'DOT', 'C2', 'M', 'D', 'S', 'B', 'BANK CHARGES', 'AMAZONFEE', 'CRUK')"
SHORT = f"""
CREATE TABLE short AS
SELECT DISTINCT invoice FROM (
    SELECT invoice FROM line WHERE article NOT IN {NO_GOODS} GROUP BY invoice, article HAVING sum(quantity) > 400
)
"""
TOTALS = "SELECT customer, count(*), sum(mills) FROM placed GROUP BY customer"
REVENUE = "SELECT country, substr(date, 1, 13) || ':00:00', count(*), sum(mills) FROM placed GROUP BY 1, 2"
FRAUD = """
SELECT a.customer, a.date, count(*), min(b.date), sum(b.mills)
FROM (SELECT DISTINCT customer, date FROM placed) a
JOIN placed b ON b.customer = a.customer AND b.date BETWEEN datetime(a.date, '-1 hour') AND a.date
GROUP BY a.customer, a.date HAVING count(*) > 5
"""
SETTLED = """
SELECT invoice, customer, country, mills,
       CASE WHEN invoice IN short THEN 'unpaid' WHEN mills > 1500000 THEN 'declined' ELSE 'paid' END
FROM placed
"""


def money(mills: int) -> Decimal:
    return Decimal(mills) / 1000


def time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class KnownAnswers:
    """The answers for the lines of a file, of which only the first month may be asked for."""

    def __init__(self, lines: Iterable[str], until: str = "9999") -> None:
        """`until`: of invoices before this date (`2011-01-01`)."""
        self._database = sqlite3.connect(":memory:")
        self._database.execute(
            "CREATE TABLE line (invoice, article, description, quantity INT, date, mills INT, customer, country)"
        )
        rows = csv.reader(lines)
        next(rows)
        self._database.executemany(
            "INSERT INTO line VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (row[0], row[1].upper(), row[2], int(row[3]), row[4], round(float(row[5]) * 1000), row[6][:-2], row[7])
                for row in rows
                if row[4] < until
            ),
        )
        for statement in (ORDERS, SHORT, "CREATE INDEX by_customer ON placed (customer, date)"):
            self._database.execute(statement)
        self.orders = {invoice for (invoice,) in self._database.execute("SELECT invoice FROM placed")}

    def totals(self) -> dict[str, tuple[int, Decimal]]:
        """Orders and their sum, by customer."""
        return {customer: (count, money(mills)) for customer, count, mills in self._database.execute(TOTALS)}

    def revenue(self) -> dict[tuple[str, datetime], tuple[int, Decimal]]:
        """Orders and their sum, by country and hour."""
        found = self._database.execute(REVENUE)
        return {(country, time(hour)): (count, money(mills)) for country, hour, count, mills in found}

    def fraud(self) -> dict[tuple[str, datetime], tuple[int, datetime, Decimal]]:
        """Where a customer has more than five orders in an hour: by customer and the hour's last order, how many, since
        when, and their sum."""
        return {
            (customer, time(until)): (count, time(since), money(mills))
            for customer, until, count, since, mills in self._database.execute(FRAUD)
        }

    def settled(self) -> dict[str, tuple[str, str, Decimal, str]]:
        """Customer, country, total and outcome, by invoice."""
        return {row[0]: (row[1], row[2], money(row[3]), row[4]) for row in self._database.execute(SETTLED)}

    def close(self) -> None:
        self._database.close()
