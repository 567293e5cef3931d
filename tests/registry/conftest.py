"""A registry over a log in memory, and HTTP to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from ottla.registry.server.app import create_app
from ottla.registry.server.records import Entry
from ottla.registry.server.registry import Registry
from tests.registry.memory_log import MemoryLog

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


class Http:
    """Requests to a registry, and the pairs (status, JSON) that come back."""

    def __init__(self, client: TestClient, log: MemoryLog, registry: Registry) -> None:
        self.client = client
        self.log = log
        self.registry = registry

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        response = self.raw(method, path, body)
        assert response.headers["content-type"] == CONTENT_TYPE
        return response.status_code, response.json()

    def raw(self, method: str, path: str, body: Any = None) -> Any:
        """The response itself."""
        return self.client.request(method, path, json=body, headers={"Content-Type": CONTENT_TYPE})

    def register(self, subject: str, schema: str, **more: Any) -> int:
        status, answer = self("POST", f"/subjects/{subject}/versions", {"schema": schema, **more})
        assert status == 200, answer
        found: int = answer["id"]
        return found


@pytest.fixture
def make_http() -> Iterator[Callable[..., Http]]:
    """Makes a registry on a log that holds the given entries."""
    opened: list[TestClient] = []

    def make(entries: list[Entry] | None = None) -> Http:
        log = MemoryLog(entries or [])
        registry = Registry(log)
        registry.state.start()
        client = TestClient(create_app(registry), raise_server_exceptions=False)
        opened.append(client)
        return Http(client, log, registry)

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def http(make_http: Callable[..., Http]) -> Http:
    """An empty registry."""
    return make_http()
