"""The names of one test, and the apps it runs under them."""

from __future__ import annotations

import itertools
import os
import uuid
from types import TracebackType

import msgspec

from ottla.app import App
from ottla.settings import Settings
from ottla.testing.harness.inspector import Inspector
from ottla.testing.harness.service import ServiceUnderTest
from ottla.testing.harness.sync_service import SyncServiceUnderTest

COMMIT_INTERVAL_S = 0.005
FETCH_WAIT_S = 0.01
DRAIN_S = 5.0
TRANSACTION_INTERVAL_S = 0.01

_SESSION = uuid.uuid4().hex[:6]
_count = itertools.count(1)


def new_prefix() -> str:
    """A prefix that no other test has, nor one of another process."""
    return f"test-{_SESSION}-{os.getpid()}-{next(_count)}."


class Namespace:
    """One test's part of a broker. Call it with an app.

    Args:
        prefix: Goes before the name of every topic, group and transactional id.
        bootstrap_servers: Where apps connect.
        inspector: How the test looks at what they did.
    """

    def __init__(self, prefix: str, bootstrap_servers: str, inspector: Inspector) -> None:
        self.prefix = prefix
        self.bootstrap_servers = bootstrap_servers
        self.inspector = inspector
        self.running: list[ServiceUnderTest] = []

    def __call__(self, app: App, *, settings: Settings | None = None, partitions: int = 1) -> AppUnderTest:
        """The app, to be run by `async with` or `with`.

        Args:
            app: A service. Its settings are put back afterwards.
            settings: The settings to begin with; None: the app's own. Where the broker and the registry are, the prefix
                and how often commits are made is changed in them.
            partitions: Of each topic. With one, the records of a topic are in the order in which they were published.
        """
        return AppUnderTest(self, app, settings, partitions)

    def close(self) -> None:
        """Deletes the test's topics."""
        self.inspector.forget(self.prefix)

    def settings_of(self, base: Settings, partitions: int) -> Settings:
        """The settings of an app here."""
        replace = msgspec.structs.replace
        return replace(
            base,
            kafka=replace(
                base.kafka,
                bootstrap_servers=self.bootstrap_servers,
                prefix=self.prefix,
                topic_partitions=partitions,
                create_topics=True,
                # Connections are opened again at once; nothing is gathered for larger batches.
                properties={"reconnect.backoff.ms": 5, "linger.ms": 0, **base.kafka.properties},
            ),
            registry=replace(base.registry, url=self.inspector.registry_url, auto_register=True),
            listener=replace(
                base.listener,
                commit_interval_s=COMMIT_INTERVAL_S,
                # A partition that comes while a fetch of others waits for records has to wait for that.
                fetch_wait_s=FETCH_WAIT_S,
                drain_timeout_s=min(base.listener.drain_timeout_s, DRAIN_S),
                transaction_interval_s=min(base.listener.transaction_interval_s, TRANSACTION_INTERVAL_S),
            ),
        )


class AppUnderTest:
    """An app for the length of an `async with` block, or of a `with` block."""

    def __init__(self, namespace: Namespace, app: App, settings: Settings | None, partitions: int) -> None:
        self._namespace = namespace
        self._app = app
        self._settings = settings
        self._partitions = partitions
        self._service: ServiceUnderTest | None = None
        self._sync: SyncServiceUnderTest | None = None

    async def __aenter__(self) -> ServiceUnderTest:
        self._service = self._make()
        await self._service.start()
        return self._service

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._service is not None
        await self._service.stop()

    def __enter__(self) -> SyncServiceUnderTest:
        self._sync = SyncServiceUnderTest(self._make())
        self._sync.start()
        return self._sync

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._sync is not None
        self._sync.stop()

    def _make(self) -> ServiceUnderTest:
        return ServiceUnderTest(self._app, self._settings, self._namespace, self._partitions)
