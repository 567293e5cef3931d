"""Fixtures that many rooms' tests share: brokers and databases, and what the closing lines say of them.

`broker` runs a test twice: on the embedded broker and on Apache Kafka. What is not installed is skipped with a message,
except in CI (CI=true), where every one of Apache Kafka, PostgreSQL and Redis must be there.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

import hypothesis
import pytest

from ottla.errors import ServerFailed
from ottla.testing import Broker, EmbeddedBroker, KafkaHome, RealKafka, Server
from ottla.testing.plugin import show_log_on_failure
from tests.servers.postgres import Postgres
from tests.servers.redis import Redis

USED = "server used"
EMBEDDED = "embedded broker"
IN_CI = os.environ.get("CI", "").lower() in ("true", "1")

# Examples may take as long as a busy machine needs. In CI they are the same each time: what lands does not depend on
# luck; elsewhere every run tries others.
hypothesis.settings.register_profile("ottla", deadline=None, derandomize=IN_CI, print_blob=True)
hypothesis.settings.load_profile("ottla")

S = TypeVar("S", bound=Server)


def _missing(make: Callable[[], Server]) -> str | None:
    try:
        make().close()
    except ServerFailed as failure:
        return str(failure)
    return None


def _start(config: pytest.Config, make: Callable[[], S]) -> S:
    """Starts a server from outside the project; a missing one is a failure in CI and a skipped test elsewhere."""
    if why := _missing(make):
        if IN_CI:
            pytest.fail(f"CI=true, and so this is not optional: {why}", pytrace=False)
        pytest.skip(why)
    server = make()
    server.start()
    show_log_on_failure(config, server)
    return server


def _count_for(request: pytest.FixtureRequest, server: str) -> None:
    request.node.user_properties.append((USED, server))


def _embedded_broker() -> EmbeddedBroker:
    return EmbeddedBroker(
        options={
            "auto_create_topics": False,
            "group_consumer_heartbeat_interval_ms": 200,
            "group_consumer_min_session_timeout_ms": 1_000,
        }
    )


@pytest.fixture(scope="session")
def embedded_broker(request: pytest.FixtureRequest) -> Iterator[EmbeddedBroker]:
    """The embedded broker, one for the whole session, with the settings that `RealKafka` has. Prefer `broker`."""
    with _embedded_broker() as server:
        show_log_on_failure(request.config, server)
        yield server


@pytest.fixture(scope="session")
def apache_kafka(request: pytest.FixtureRequest) -> Iterator[RealKafka]:
    """Apache Kafka, one node for the whole session. Prefer `broker`."""
    server = _start(request.config, RealKafka)
    yield server
    server.close()


@pytest.fixture(scope="session", params=["embedded", pytest.param("kafka", marks=pytest.mark.real_kafka)])
def broker_kind(request: pytest.FixtureRequest) -> str:
    """Which broker a test runs on. A fixture of the session, so that pytest sorts the tests by broker."""
    kind: str = request.param
    return kind


@pytest.fixture
def broker(request: pytest.FixtureRequest, broker_kind: str) -> Broker:
    """The session's broker of each kind. Tests share it: use topics and groups of your own, and leave it running."""
    _count_for(request, _broker_name(broker_kind))
    shared: Broker = request.getfixturevalue("embedded_broker" if broker_kind == "embedded" else "apache_kafka")
    return shared


@pytest.fixture
def own_broker(request: pytest.FixtureRequest, broker_kind: str) -> Iterator[Broker]:
    """A new, empty broker of each kind for this test alone. Costs a start: prefer `broker` or `killable_broker`."""
    _count_for(request, _broker_name(broker_kind))
    own = _start(request.config, _embedded_broker if broker_kind == "embedded" else RealKafka)
    yield own
    own.close()


def _broker_name(kind: str) -> str:
    if kind == "embedded" or KafkaHome.missing():
        return EMBEDDED if kind == "embedded" else RealKafka.name
    return f"{RealKafka.name} {KafkaHome.find().version}"


@pytest.fixture(scope="session")
def killable_server(request: pytest.FixtureRequest, broker_kind: str) -> Iterator[Broker]:
    """What `killable_broker` gives, for fixtures that outlive a test. Nobody has started it again after a kill."""

    def make() -> Broker:
        # A controller that lives on: without, Kafka itself forgets how transactions ended (`KafkaController`).
        return _embedded_broker() if broker_kind == "embedded" else RealKafka(controller_apart=True)

    server = _start(request.config, make)
    yield server
    server.close()


@pytest.fixture
def killable_broker(request: pytest.FixtureRequest, broker_kind: str) -> Broker:
    """A broker of each kind that tests may kill and start again. They share it as they share `broker`."""
    _count_for(request, _broker_name(broker_kind))
    server: Broker = request.getfixturevalue("killable_server")
    server.start()
    return server


@pytest.fixture
def topic_name() -> str:
    """A topic's name that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def group_name() -> str:
    """A consumer group's name that no other test uses."""
    return f"g-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A throwaway PostgreSQL, one for the whole session. Prefer `postgres_url`."""
    server = _start(request.config, Postgres)
    yield server
    server.close()


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[str]:
    """The SQLAlchemy URL of a new, empty PostgreSQL database, dropped after the test."""
    database = f"t_{uuid.uuid4().hex[:12]}"
    postgres.sql(f"CREATE DATABASE {database}")
    _count_for(request, f"{postgres.name} {postgres.version}")
    yield postgres.url(database)
    postgres.sql(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture
def redis(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A throwaway Redis for this test."""
    server = _start(request.config, Redis)
    _count_for(request, f"{server.name} {server.version}")
    yield server
    server.close()


def pytest_configure() -> None:
    """Lets Ctrl-C reach the programs that tests start, however this run was started.

    A shell that runs something in the background lets it ignore SIGINT, and every child inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says plainly which brokers and databases the tests ran on."""
    words = {"passed": "passed", "failed": "failed", "error": "failed", "xfailed": "known to differ"}
    counts: dict[str, Counter[str]] = {}
    for outcome, word in words.items():
        for report in terminalreporter.stats.get(outcome, []):
            for name, server in getattr(report, "user_properties", ()):
                if name == USED and (outcome != "passed" or report.when == "call"):
                    counts.setdefault(server, Counter())[word] += 1
    terminalreporter.section("brokers and databases")
    for what, reason in (
        (EMBEDDED, ""),
        (RealKafka.name, KafkaHome.missing()),
        (Postgres.name, _missing(Postgres)),
        (Redis.name, _missing(Redis)),
    ):
        tested = [server for server in counts if server.startswith(what)]
        for server in tested:
            said = ", ".join(f"{count} {word}" for word, count in counts[server].items())
            terminalreporter.write_line(f"{server}: {said}")
        if not tested:
            terminalreporter.write_line(f"{what}: NOT TESTED ({reason or 'no test that ran needs it'})")
