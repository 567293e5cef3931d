"""The pages that an App's lifespan adds to a web application."""

from __future__ import annotations

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.testclient import TestClient

from ottla import App, EventDefinitionError, KafkaSettings, RegistrySettings, Settings, event
from ottla.testing import free_port


def _settings() -> Settings:
    """Nobody listens there: the pages answer all the same."""
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"),
        registry=RegistrySettings(url=f"http://127.0.0.1:{free_port()}"),
    )


def test_the_pages_answer_beside_an_application_mounted_at_the_root() -> None:
    app = App("pages", settings=_settings())
    web = Starlette(lifespan=app.lifespan, routes=[Mount("/", PlainTextResponse("the user's own"))])
    with TestClient(web) as client:
        assert client.get("/health/live").json() == {"status": "live"}
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert "waiting for the broker" in str(ready.json()["reasons"])
        assert "process_resident_memory_bytes" in client.get("/metrics").text
        assert client.get("/anything").text == "the user's own"


def test_an_application_that_is_started_again_has_the_pages_once() -> None:
    app = App("pages", settings=_settings())
    web = Starlette(lifespan=app.lifespan)
    for _ in range(2):
        with TestClient(web):
            assert [route.path for route in web.routes] == ["/health/live", "/health/ready", "/metrics"]  # type: ignore[attr-defined]
    assert web.routes == []


def test_an_event_without_a_schema_is_told_at_the_start() -> None:
    @event("measurements", key="name")
    class Measured(msgspec.Struct):
        name: str
        value: complex

    app = App("pages", settings=_settings(), events=[Measured])
    with pytest.raises(EventDefinitionError, match="value"), TestClient(Starlette(lifespan=app.lifespan)):
        pass
