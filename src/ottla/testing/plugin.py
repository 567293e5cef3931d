"""The pytest plugin: a broker and a schema registry for the test session, started when the first test asks for them.

Fixtures:
    kafka            the embedded broker (`kafka.bootstrap_servers`), one for the session
    kafka_registry   the schema registry on that broker (`kafka_registry.url`), one for the session
    kafka_env        sets OTTLA_KAFKA__BOOTSTRAP_SERVERS and OTTLA_REGISTRY__URL to these two for one test

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


@pytest.fixture
def kafka_env(monkeypatch: pytest.MonkeyPatch, kafka: EmbeddedBroker, kafka_registry: EmbeddedRegistry) -> None:
    """Lets settings loaded during the test point at the session's broker and registry."""
    monkeypatch.setenv("OTTLA_KAFKA__BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("OTTLA_REGISTRY__URL", kafka_registry.url)


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
