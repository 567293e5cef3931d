"""The processes of the demo: broker, schema registry, the five services and, if asked for, the shop's streams, all
started at once.

Nobody waits for anybody here: a service waits for broker and registry by itself, and takes orders as soon as it can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ottla.processes import Command, Exit, HttpReady, LineReady, Supervisor, ensure_port_free, free_ports, python

EXAMPLES = Path(__file__).resolve().parents[2]

# Name and what `ottla run` serves; orders first, because its port is the one people look for.
SERVICES: Mapping[str, str] = {
    "orders": "shop.orders.service:api",
    "inventory": "shop.inventory.service:app",
    "payments": "shop.payments.service:app",
    "shipping": "shop.shipping.service:app",
    "notifications": "shop.notifications.service:app",
}
STREAMS = {"streams": "shop.streams.service:app"}
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """The ports a user may choose; 0 means: any free one."""

    broker: int = 9092
    registry: int = 8081
    http: int = 8000


@dataclass(frozen=True)
class Service:
    """Where one service of the shop is to be found."""

    name: str
    run: str
    port: int
    database_url: str

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


class Pipeline:
    """Starts and stops the processes. Ports are settled (and found free) in the constructor, before anything starts.

    Args:
        data: Folder for the topics, the databases and the logs; a second run on the same folder goes on where the first
            one stopped.
        ports: Where to listen.
        bootstrap_servers: A Kafka to use instead of the embedded broker, or None.
        streams: Whether the shop's streams run too.

    Raises:
        PortInUse: A port is taken; names the option that changes it.
    """

    def __init__(
        self,
        data: Path,
        ports: Ports | None = None,
        bootstrap_servers: str | None = None,
        *,
        streams: bool = False,
    ) -> None:
        ports = ports or Ports()
        self.data = data.resolve()
        self.logs = self.data / "logs"
        self.embedded = bootstrap_servers is None
        services = {**SERVICES, **(STREAMS if streams else {})}
        spare = iter(free_ports(2 + len(services), HOST))
        self.broker_port = ports.broker or next(spare)
        self.registry_port = ports.registry or next(spare)
        first = ports.http
        service_ports = {name: first + n if first else next(spare) for n, name in enumerate(services)}
        self._ensure_ports_free(service_ports)
        self.bootstrap_servers = bootstrap_servers or f"{HOST}:{self.broker_port}"
        self.registry_url = f"http://{HOST}:{self.registry_port}"
        self.services = {
            name: Service(name, run, service_ports[name], f"sqlite:///{self.data / 'db' / name}.db")
            for name, run in services.items()
        }
        self.supervisor = Supervisor(self.logs)

    def _ensure_ports_free(self, service_ports: Mapping[str, int]) -> None:
        if self.embedded:
            ensure_port_free("the embedded broker", HOST, self.broker_port, "--broker-port")
        ensure_port_free("the schema registry", HOST, self.registry_port, "--registry-port")
        for number, (name, port) in enumerate(service_ports.items()):
            setting = "--http-port"
            if number:
                setting += f" (the services take that port and the {len(service_ports) - 1} after it)"
            ensure_port_free(f"the {name} service", HOST, port, setting)

    def start(self) -> None:
        """Starts all processes and returns at once."""
        for folder in (self.logs, self.data / "db"):
            folder.mkdir(parents=True, exist_ok=True)
        for command in self.commands():
            self.supervisor.start(command)

    def commands(self) -> Iterator[Command]:
        """What to start, in this order."""
        if self.embedded:
            yield self.broker_command()
        yield self.registry_command()
        for service in self.services.values():
            yield self.service_command(service)

    def broker_command(self) -> Command:
        arguments = ["--data", str(self.data / "broker"), "--host", HOST, "--port", str(self.broker_port)]
        return Command(
            "broker",
            python("-m", "ottla.broker", *arguments),
            env=_LEAN,
            ready=LineReady(r"broker ready on "),
            stop_order=0,
        )

    def registry_command(self) -> Command:
        arguments = ["--host", HOST, "--port", str(self.registry_port), "-b", self.bootstrap_servers]
        return Command(
            "registry",
            python("-m", "ottla.registry.server", *arguments),
            env=_LEAN,
            ready=LineReady(r"registry ready on "),
            stop_order=1,
        )

    def service_command(self, service: Service) -> Command:
        return Command(
            service.name,
            python("-m", "ottla.cli", "run", service.run, "--app-dir", str(EXAMPLES), "--name", service.name),
            env={
                **_LEAN,
                **_THROUGHPUT,
                # A service that was killed is missed, and its partitions given to its successor, after this long.
                "OTTLA_LISTENER__SESSION_TIMEOUT_S": "6",
                "OTTLA_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
                "OTTLA_REGISTRY__URL": self.registry_url,
                "OTTLA_DATABASE__URL": service.database_url,
                "OTTLA_STREAMS__STATE_DIR": str(self.data / "streams"),
                "OTTLA_HTTP__HOST": HOST,
                "OTTLA_HTTP__PORT": str(service.port),
            },
            # The data folder: an ottla.toml or .env that happens to lie where the user stands is not the shop's.
            cwd=self.data,
            ready=HttpReady(f"{service.url}/health/ready"),
            stop_order=2,
        )

    @property
    def crashes(self) -> list[Exit]:
        """Processes that ended without being asked."""
        return self.supervisor.crashes

    def stop_services(self, deadline_s: float) -> list[str]:
        """Ends the services. Gives the names of those that had to be killed."""
        started = {child.name for child in self.supervisor.children}
        return self.supervisor.stop(*(started & self.services.keys()), deadline_s=deadline_s)

    def stop(self, deadline_s: float) -> list[str]:
        """Ends all that still run: services, then the registry, then the broker. Gives the names of those killed."""
        return self.supervisor.stop_all(deadline_s)


# One memory arena per core pays off for number crunching, not here: it costs each process some 10 MB.
_LEAN = {"MALLOC_ARENA_MAX": "2"}

# The demo is there to carry many orders on few cores. A service takes what arrives within 50 ms together, in one
# transaction; and since each of these services lets one transaction write at a time, more threads than one would only
# wait for each other.
_THROUGHPUT = {
    "OTTLA_LISTENER__FETCH_MIN_BYTES": "50000",
    "OTTLA_LISTENER__FETCH_WAIT_S": "0.05",
    "OTTLA_LISTENER__SYNC_THREADS": "1",
}
