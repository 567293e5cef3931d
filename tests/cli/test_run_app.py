"""`ottla run` with an App: its health, its name, its records in hand when it is told to stop."""

from __future__ import annotations

import json
import textwrap
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from ottla.testing import EmbeddedBroker, EmbeddedRegistry
from tests.cli.conftest import Ottla, Running

SERVICE = """
    import time
    from dataclasses import dataclass

    from fastapi import FastAPI
    from ottla import App, event


    @event("{topic}", key="name")
    @dataclass
    class Greeted:
        name: str


    app = App("{group}")
    api = FastAPI(lifespan=app.lifespan)


    @app.listen(Greeted)
    def greet(greeted: Greeted) -> None:
        print("handling", greeted.name, flush=True)
        time.sleep({handling_s})
        print("handled", greeted.name, flush=True)


    @api.post("/greet/{{name}}")
    async def publish(name: str) -> dict[str, int]:
        return {{"offset": (await app.publish(Greeted(name))).offset}}
"""


@pytest.fixture
def environment(kafka: EmbeddedBroker, kafka_registry: EmbeddedRegistry) -> dict[str, str]:
    return {"OTTLA_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "OTTLA_REGISTRY__URL": kafka_registry.url}


@pytest.fixture
def write(tmp_path: Path, topic_name: str, group_name: str) -> Callable[..., None]:
    def write_service(handling_s: float = 0) -> None:
        text = SERVICE.format(topic=topic_name, group=group_name, handling_s=handling_s)
        (tmp_path / "greeting.py").write_text(textwrap.dedent(text))

    return write_service


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_an_app_alone_is_served_with_health_and_metrics_under_its_own_name(
    start: Callable[..., Running], write: Callable[..., None], environment: dict[str, str], group_name: str
) -> None:
    write()
    service = start("run", "greeting:app", "--port", "0", env=environment)
    url = service.wait_for(rf"^{group_name} ready on (\S+)$")[1]
    service.wait_for(rf"INFO +{group_name} ready$")
    assert get(f"{url}/health/live")[0] == 200
    status, body = get(f"{url}/health/ready")
    assert (status, json.loads(body)["status"]) == (200, "ready")
    assert "ottla_records_handled_total" in get(f"{url}/metrics")[1]
    assert service.stop() == 0


def test_a_record_in_hand_is_finished_and_committed_before_the_service_stops(
    start: Callable[..., Running],
    write: Callable[..., None],
    environment: dict[str, str],
    ottla: Ottla,
    group_name: str,
    kafka: EmbeddedBroker,
) -> None:
    write(handling_s=1.0)
    service = start("run", "greeting:api", "--port", "0", env=environment)
    url = service.wait_for(rf"^{group_name} ready on (\S+)$")[1]
    service.wait_for(rf"INFO +{group_name} ready$")
    with urllib.request.urlopen(urllib.request.Request(f"{url}/greet/ada", method="POST"), timeout=20) as answer:
        assert json.load(answer) == {"offset": 0}
    service.wait_for("^handling ada$")
    assert service.stop() == 0
    assert "handled ada" in service.output
    (group,) = ottla("lag", group_name, "--json", "-b", kafka.bootstrap_servers).document["groups"]
    assert sum(part["committed"] or 0 for part in group["partitions"]) == 1
    assert group["lag"] == 0


def test_a_service_without_a_broker_serves_says_so_and_stops_cleanly(
    start: Callable[..., Running], write: Callable[..., None], group_name: str
) -> None:
    write()
    nowhere = {"OTTLA_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "OTTLA_REGISTRY__URL": "http://127.0.0.1:1"}
    service = start("run", "greeting:app", "--port", "0", env=nowhere)
    url = service.wait_for(rf"^{group_name} ready on (\S+)$")[1]
    service.wait_for("waiting for the broker")
    assert get(f"{url}/health/live")[0] == 200
    assert get(f"{url}/health/ready")[0] == 503
    assert service.stop() == 0


def test_lines_are_json_where_a_setting_says_so(
    start: Callable[..., Running], write: Callable[..., None], group_name: str
) -> None:
    write()
    environment = {
        "OTTLA_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "OTTLA_LOGGING__FORMAT": "json",
        "OTTLA_LOGGING__LEVEL": "warning",
    }
    service = start("run", "greeting:app", "--port", "0", env=environment)
    service.wait_for("waiting for the broker")
    assert service.stop() == 0
    lines = [json.loads(line) for line in service.output.splitlines() if line.startswith("{")]
    assert {line["level"] for line in lines} <= {"warning", "error", "critical"}
    assert {line["service"] for line in lines} == {group_name}
    assert "not ready: starting" in [line["message"] for line in lines]
