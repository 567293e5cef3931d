"""What `ottla dev` starts: the servers nothing else provides, and the services of the ottla.toml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ottla.errors import ConfigurationError
from ottla.processes import Command, LineReady, ServiceEntry, ensure_port_free, free_ports, python, read_manifest
from ottla.settings import is_configured, load_settings

HOST = "127.0.0.1"
CRASHED_MEMBER_TIMEOUT_S = "10"
BROKER = "broker"
REGISTRY = "registry"
OURSELVES = "dev"
DATA_FOLDER = ".ottla"

# Services stop first, then what they talk to.
STOP_ORDER = {BROKER: 0, REGISTRY: 1}
SERVICE_STOP_ORDER = 2


@dataclass(frozen=True)
class Plan:
    """Everything that runs.

    Attributes:
        folder: Where the ottla.toml is: the working directory of all processes.
        log_dir: Where their log files go.
        servers: The embedded broker and the registry, as far as they are wanted, in starting order.
        services: The services, in the manifest's order.
        watched: Service name to what restarts it: folders and files. `dev` itself has the ottla.toml.
        addresses: Lines that say where Kafka and the registry are.
    """

    folder: Path
    log_dir: Path
    servers: list[Command]
    services: list[Command]
    watched: dict[str, tuple[Path, ...]]
    addresses: list[str]


def make_plan(config: Path, data: Path | None, *, broker_port: int, registry_port: int, log_level: str) -> Plan:
    """Reads the manifest and the settings beside it, and looks whether the ports are free.

    Raises:
        ConfigurationError: The manifest or a setting is not usable; lists every fault.
        PortInUse: Something else listens where a server or a service is to.
    """
    folder = config.parent
    data = (data or folder / DATA_FOLDER).resolve()
    entries = read_manifest(config)
    if faults := [*_reserved(entries), *_missing(entries)]:
        raise ConfigurationError(f"{config}:" + "".join(f"\n  - {fault}" for fault in faults))
    settings = load_settings(directory=folder)
    environment: dict[str, str] = {}
    servers: list[Command] = []
    kafka, registry = settings.kafka.bootstrap_servers, settings.registry.url
    if not is_configured("kafka.bootstrap_servers", directory=folder):
        kafka = f"{HOST}:{_port('embedded broker', broker_port, '--broker-port')}"
        servers.append(_broker(data, kafka, folder))
        environment["OTTLA_KAFKA__BOOTSTRAP_SERVERS"] = kafka
    if not is_configured("registry.url", directory=folder):
        registry = f"http://{HOST}:{_port('schema registry', registry_port, '--registry-port')}"
        servers.append(_registry(registry, kafka, folder))
        environment["OTTLA_REGISTRY__URL"] = registry
    if not is_configured("listener.session_timeout_s", directory=folder):
        # A crashed service comes back at once here; its group should not wait Kafka's 45 s for the one that died.
        environment["OTTLA_LISTENER__SESSION_TIMEOUT_S"] = CRASHED_MEMBER_TIMEOUT_S
    names = {server.name for server in servers}
    return Plan(
        folder=folder,
        log_dir=data / "logs",
        servers=servers,
        services=[_service(entry, folder, environment, log_level) for entry in entries],
        watched={OURSELVES: (config,)} | {entry.name: (*entry.watch, folder / ".env") for entry in entries},
        addresses=[
            f"Kafka at {kafka} ({'embedded' if BROKER in names else 'configured'})",
            f"schema registry at {registry} ({'embedded' if REGISTRY in names else 'configured'})",
        ],
    )


def _reserved(entries: list[ServiceEntry]) -> list[str]:
    return [
        f"[services.{entry.name}]: that name is taken by ottla dev's own {entry.name}; choose another"
        for entry in entries
        if entry.name in (OURSELVES, BROKER, REGISTRY)
    ]


def _missing(entries: list[ServiceEntry]) -> list[str]:
    return [
        f"[services.{entry.name}]: watch names {path}, which does not exist"
        for entry in entries
        for path in entry.watch
        if not path.exists()
    ]


def _port(what: str, wanted: int, setting: str) -> int:
    """A fixed port: one picked by the server itself would change with each restart."""
    ensure_port_free(what, HOST, wanted, setting)
    return wanted or free_ports(1)[0]


def _broker(data: Path, address: str, folder: Path) -> Command:
    host, _, port = address.rpartition(":")
    arguments = ["broker", "--data", str(data / "broker"), "--host", host, "--port", port]
    return Command(
        BROKER,
        python("-m", "ottla.cli", *arguments),
        cwd=folder,
        ready=LineReady(r"^broker ready on "),
        stop_order=STOP_ORDER[BROKER],
    )


def _registry(url: str, kafka: str, folder: Path) -> Command:
    arguments = ["registry", "--host", HOST, "--port", url.rpartition(":")[2], "--bootstrap-server", kafka]
    return Command(
        REGISTRY,
        python("-m", "ottla.cli", *arguments),
        cwd=folder,
        ready=LineReady(r"^registry ready on "),
        stop_order=STOP_ORDER[REGISTRY],
    )


def import_root(folder: Path) -> Path:
    """Where modules are looked for: the folder itself or, if it is a package, the one that holds the package."""
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


def _service(entry: ServiceEntry, folder: Path, environment: dict[str, str], log_level: str) -> Command:
    port = _port(entry.name, entry.port or 0, f"port in [services.{entry.name}]")
    arguments = ["run", entry.run, "--app-dir", str(import_root(folder)), "--port", str(port), "--log-level", log_level]
    return Command(
        entry.name,
        python("-m", "ottla.cli", *arguments),
        env={**environment, **entry.env},
        cwd=folder,
        ready=LineReady(r" ready on http://"),
        stop_order=SERVICE_STOP_ORDER,
    )
