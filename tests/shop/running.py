"""The whole shop as it runs for a user: a broker, a registry, and five services, each its own process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from sqlalchemy import FromClause, Table, func, select
from sqlalchemy.engine import Engine

from ottla import KafkaSettings
from ottla.events import read_envelope
from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.kafka.reader import read_topic
from ottla.kafka.record import Record
from ottla.processes import Command, HttpReady, Supervisor
from ottla.testing import Broker, EmbeddedRegistry
from ottla.testing.server import free_port
from shop.store import open_engine

EXAMPLES = Path(__file__).parents[2] / "examples"
SERVICES = {
    "orders": "shop.orders.service:api",
    "inventory": "shop.inventory.service:app",
    "payments": "shop.payments.service:app",
    "shipping": "shop.shipping.service:app",
    "notifications": "shop.notifications.service:app",
}

TOPICS = ("order-events", "inventory-events", "payment-events", "shipment-events", "notification-events")
LISTENED = {
    "orders": TOPICS,
    "inventory": ("order-events", "payment-events"),
    "payments": ("inventory-events",),
    "shipping": ("order-events", "payment-events"),
    "notifications": ("order-events", "inventory-events", "payment-events", "shipment-events"),
}


class RunningShop:
    """Starts on entering, stops on leaving."""

    def __init__(self, broker: Broker, folder: Path, databases: Mapping[str, str] | None = None) -> None:
        """`databases` are URLs by service; without, SQLite files in the folder."""
        self.broker = broker
        self.databases = databases or {name: f"sqlite:///{folder / name}.db" for name in SERVICES}
        self.folder = folder
        self.registry = EmbeddedRegistry(broker.bootstrap_servers)
        self.supervisor = Supervisor(folder / "logs")
        self.ports = {name: free_port() for name in SERVICES}
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.ports['orders']}", timeout=30)
        self._engines: dict[str, Engine] = {}

    def __enter__(self) -> Self:
        self.registry.start()
        for name in SERVICES:
            self.start(name)
        self.supervisor.wait_ready(timeout_s=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        for engine in self._engines.values():
            engine.dispose()
        self.supervisor.stop_all()
        self.registry.close()

    def start(self, name: str) -> None:
        """Starts a service."""
        environment = {
            "OTTLA_KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap_servers,
            "OTTLA_REGISTRY__URL": self.registry.url,
            "OTTLA_DATABASE__URL": self.databases[name],
            # A killed service's partitions are handed on only after this long.
            "OTTLA_LISTENER__SESSION_TIMEOUT_S": "6",
        }
        argv = [sys.executable, "-m", "ottla.cli", "run", SERVICES[name], "--app-dir", str(EXAMPLES)]
        self.supervisor.start(
            Command(
                name=name,
                argv=(*argv, "--port", str(self.ports[name])),
                env=environment,
                ready=HttpReady(f"http://127.0.0.1:{self.ports[name]}/health/ready"),
            )
        )

    def rows(self, name: str, table: Table) -> list[dict[str, Any]]:
        """What a table of a service's database holds."""
        with self._reading(name) as connection:
            return [dict(row._mapping) for row in connection.execute(select(table))]

    def count(self, name: str, table: FromClause) -> int:
        with self._reading(name) as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    def _reading(self, name: str) -> Any:
        if name not in self._engines:
            self._engines[name] = open_engine(self.databases[name])
        return self._engines[name].connect().execution_options(isolation_level="AUTOCOMMIT")

    def place(self, body: dict[str, Any]) -> httpx.Response:
        return self.http.post("/orders", json=body)

    def status(self, order_id: str) -> str:
        """How an order stands."""
        return str(self.http.get(f"/orders/{order_id}").json()["status"])

    def history(self, order_id: str) -> list[str]:
        """The names of the events that an order has seen."""
        return [entry["event"] for entry in self.http.get(f"/orders/{order_id}").json()["history"]]

    @property
    def kafka(self) -> KafkaSettings:
        return KafkaSettings(bootstrap_servers=self.broker.bootstrap_servers)

    def records(self) -> dict[str, list[Record]]:
        """All records of the shop's topics."""
        return {topic: list(read_topic(self.kafka, topic)) for topic in TOPICS}

    def event_ids(self) -> dict[str, list[str]]:
        """The ids of all events, by topic; one that was published twice is there twice."""
        return {
            topic: sorted(envelope.id for record in records if (envelope := read_envelope(record.headers)) is not None)
            for topic, records in self.records().items()
        }

    def publish_again(self) -> None:
        """Copies every record to the end of its partition, as a producer that repeats itself would."""
        producer = Producer(self.kafka)
        for topic, records in self.records().items():
            for record in records:
                producer.send(topic, record.value, key=record.key, headers=record.headers, partition=record.partition)
        assert producer.flush(10) == 0
        producer.close()

    def wait_until_all_is_handled(self) -> None:
        """Waits until every service has committed all there is on every topic it listens to."""
        eventually(self._all_is_handled, within_s=60, what="everything handled by all services")

    def _all_is_handled(self) -> bool:
        # The ends are read first and once more after the commits: what was handled may have led to new records.
        admin = Admin(self.kafka)
        ends = admin.end_offsets(TOPICS)
        for name in SERVICES:
            committed = admin.committed(name)
            listened = LISTENED[name]
            if any(committed.get(place, 0) < end for place, end in ends.items() if place[0] in listened):
                return False
        return admin.end_offsets(TOPICS) == ends


def eventually(condition: Callable[[], Any], *, within_s: float = 30, what: str = "the condition") -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true within {within_s:g} s"
        time.sleep(0.05)
    return value


def reasons(response: httpx.Response) -> list[str]:
    """The types of the faults that a 422 names."""
    detail: Iterable[dict[str, Any]] = response.json()["detail"]
    return [fault["type"] for fault in detail]
