"""The pytest plugin: a broker and a schema registry for the test session, started when the first test asks for them.

Fixtures:
    kafka            the embedded broker (`kafka.bootstrap_servers`), one for the session
    kafka_registry   the schema registry on that broker (`kafka_registry.url`), one for the session
    app_under_test   runs an app on them: `async with app_under_test(app) as service`, or `with`
    kafka_faults     lets things go wrong between the broker and the apps of this test
    kafka_prefix     what the names of this test's topics and groups begin with
    kafka_env        sets OTTLA_KAFKA__BOOTSTRAP_SERVERS, OTTLA_KAFKA__PREFIX and OTTLA_REGISTRY__URL for one test

A failed test shows what these servers logged while it ran.

Every pytest run of every user loads this file: it imports nothing but pytest until a fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ottla.testing.embedded_broker import EmbeddedBroker
    from ottla.testing.embedded_registry import EmbeddedRegistry
    from ottla.testing.faults import Faults
    from ottla.testing.harness.inspector import Inspector
    from ottla.testing.harness.namespace import Namespace
    from ottla.testing.server import Server

_servers = pytest.StashKey["list[Server]"]()
_log_sizes = pytest.StashKey["dict[Path, int]"]()

_LOG_CHARACTERS_MAX = 20_000


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[EmbeddedBroker]:
    """The embedded broker of the test session. Tests share it: let each use topics and groups of its own."""
    from ottla.testing.embedded_broker import EmbeddedBroker

    with EmbeddedBroker() as broker:
        show_log_on_failure(request.config, broker)
        yield broker


@pytest.fixture(scope="session")
def kafka_registry(request: pytest.FixtureRequest, kafka: EmbeddedBroker) -> Iterator[EmbeddedRegistry]:
    """The schema registry of the test session, on the session's broker."""
    from ottla.testing.embedded_registry import EmbeddedRegistry

    with EmbeddedRegistry(kafka.bootstrap_servers) as registry:
        show_log_on_failure(request.config, registry)
        yield registry


@pytest.fixture(scope="session")
def _kafka_inspector(kafka: EmbeddedBroker, kafka_registry: EmbeddedRegistry) -> Iterator[Inspector]:
    from ottla.testing.harness.inspector import Inspector

    inspector = Inspector(kafka.bootstrap_servers, kafka_registry.url)
    yield inspector
    inspector.close()


@pytest.fixture
def kafka_prefix() -> str:
    """What the names of this test's topics and groups begin with: no other test, in this process or another, has it."""
    from ottla.testing.harness.namespace import new_prefix

    return new_prefix()


@pytest.fixture
def kafka_faults(kafka: EmbeddedBroker) -> Iterator[Faults]:
    """A door in front of the broker (`kafka.faults`), through which this test's apps connect. Faults that are set end
    with the test."""
    yield kafka.faults
    kafka.faults.heal()


@pytest.fixture
def app_under_test(
    request: pytest.FixtureRequest, kafka: EmbeddedBroker, kafka_prefix: str, _kafka_inspector: Inspector
) -> Iterator[Namespace]:
    """Runs an app on the session's broker, under names of this test's own: `async with app_under_test(app) as service`
    gives a `ServiceUnderTest`, `with app_under_test(app) as service` the same for plain functions."""
    from ottla.testing.harness.namespace import Namespace

    namespace = Namespace(kafka_prefix, _address(request, kafka), _kafka_inspector)
    yield namespace
    namespace.close()


@pytest.fixture
def kafka_env(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    kafka: EmbeddedBroker,
    kafka_prefix: str,
    kafka_registry: EmbeddedRegistry,
) -> None:
    """Lets settings loaded during the test point at the session's broker and registry, under names of its own."""
    monkeypatch.setenv("OTTLA_KAFKA__BOOTSTRAP_SERVERS", _address(request, kafka))
    monkeypatch.setenv("OTTLA_KAFKA__PREFIX", kafka_prefix)
    monkeypatch.setenv("OTTLA_REGISTRY__URL", kafka_registry.url)


def _address(request: pytest.FixtureRequest, kafka: EmbeddedBroker) -> str:
    """Where apps connect: through the door if this test has faults."""
    door = "kafka_faults" in request.fixturenames
    return kafka.faults.bootstrap_servers if door else kafka.bootstrap_servers


def show_log_on_failure(config: pytest.Config, server: Server) -> None:
    """Lets reports of failed tests show what `server` logged meanwhile. For fixtures with servers of their own."""
    config.stash.setdefault(_servers, []).append(server)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remembers where each server's log ends before the test."""
    servers = item.config.stash.get(_servers, [])
    item.stash[_log_sizes] = {s.log_path: s.log_path.stat().st_size for s in servers if s.log_path.exists()}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds what each server logged during a failed test to its report."""
    report = yield
    if report.failed:
        sizes = item.stash.get(_log_sizes, {})
        for server in item.config.stash.get(_servers, []):
            if text := _log_since(server.log_path, sizes.get(server.log_path, 0)):
                report.sections.append((f"{server.name} log ({report.when})", text))
    return report


def _log_since(path: Path, start: int) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(start)
        return log.read().decode("utf-8", "replace")[-_LOG_CHARACTERS_MAX:]
