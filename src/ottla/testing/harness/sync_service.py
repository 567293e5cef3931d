"""The same for tests that are plain functions: the app runs on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ottla.deadletters.letter import DeadLetter
from ottla.kafka.record import Headers, Record, RecordMetadata
from ottla.testing.harness.service import QUIET_S

if TYPE_CHECKING:
    from ottla.app import App
    from ottla.settings import Settings
    from ottla.testing.harness.service import ServiceUnderTest

T = TypeVar("T")
Event = TypeVar("Event")


class SyncServiceUnderTest:
    """What `with app_under_test(app) as service` gives.

    Each method does what the one of `ServiceUnderTest` does, and returns when it is done.
    """

    def __init__(self, service: ServiceUnderTest) -> None:
        self._service = service
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="ottla-app-under-test", daemon=True)

    @property
    def app(self) -> App:
        return self._service.app

    @property
    def settings(self) -> Settings:
        return self._service.settings

    @property
    def group(self) -> str:
        return self._service.group

    def topic(self, topic: type | str) -> str:
        return self._service.topic(topic)

    def publish(self, *events: Any, **envelope: Any) -> list[RecordMetadata]:
        return self._call(self._service.publish(*events, **envelope))

    def publish_raw(
        self,
        topic: type | str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers | None = None,
        partition: int = 0,
    ) -> None:
        self._call(self._service.publish_raw(topic, value, key=key, headers=headers, partition=partition))

    def quiet(self, timeout_s: float = QUIET_S) -> None:
        self._call(self._service.quiet(timeout_s))

    def published(self, cls: type[Event]) -> list[Event]:
        return self._call(self._service.published(cls))

    def records(self, topic: type | str) -> list[Record]:
        return self._call(self._service.records(topic))

    def dead_letters(self, topic: type | str | None = None) -> list[DeadLetter]:
        return self._call(self._service.dead_letters(topic))

    def committed(self, topic: type | str) -> dict[int, int]:
        return self._call(self._service.committed(topic))

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the app's event loop, such as `service.app.publish(...)`."""
        return self._call(coroutine)

    def start(self) -> None:
        """Starts the app."""
        self._thread.start()
        try:
            self._call(self._service.start())
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        """Stops it, and ends the thread."""
        try:
            self._call(self._service.stop())
        finally:
            self._end()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
