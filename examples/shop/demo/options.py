"""What the user of the demo may choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from shop.demo.pipeline import Ports

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "orders-2010-12-01.csv"


@dataclass(frozen=True)
class Options:
    """What the user chose.

    Attributes:
        orders: CSV or CSV.gz in the columns of Online Retail.
        limit: At most so many invoices.
        rate: At most so many invoices per second.
        exit: End when every order has reached its end.
        data: Folder of topics, databases and logs.
        bootstrap_servers: An existing Kafka instead of the embedded broker.
        streams: Run the shop's streams too.
        json: The summary as JSON on stdout, everything else on stderr.
        ports: Where to listen.
    """

    orders: Path = SAMPLE
    limit: int | None = None
    rate: float | None = None
    exit: bool = False
    data: Path = Path(".ottla")
    bootstrap_servers: str | None = None
    streams: bool = False
    json: bool = False
    ports: Ports = field(default_factory=Ports)
