"""`ottla broker` and `ottla registry`."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ottla.testing import EmbeddedBroker
from tests.cli.conftest import Ottla, Running


def test_a_broker_keeps_its_topics_over_a_restart(start: Callable[..., Running], ottla: Ottla, tmp_path: Path) -> None:
    arguments = ("broker", "--data", str(tmp_path / "data"), "--port", "0", "--partitions", "2")
    first = start(*arguments)
    address = first.wait_for(r"^broker ready on (127\.0\.0\.1:\d+)$")[1]
    assert ottla("topic", "create", "kept", "-p", "4", "-b", address).status == 0
    assert first.stop() == 0
    second = start(*arguments)
    address = second.wait_for(r"^broker ready on (\S+)$")[1]
    assert ottla("topic", "list", "--json", "-b", address).document == {"topics": [{"name": "kept", "partitions": 4}]}
    assert second.stop() == 0


def test_a_broker_whose_port_is_taken_names_the_option(ottla: Ottla, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        shown = ottla("broker", "--data", str(tmp_path / "data"), "--port", str(port))
    assert shown.status == 1
    assert f"port {port}" in shown.err
    assert "--port" in shown.err
    assert "Traceback" not in shown.err


def test_a_data_folder_serves_one_broker_only(start: Callable[..., Running], ottla: Ottla, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    start("broker", "--data", data, "--port", "0").wait_for("broker ready on")
    shown = ottla("broker", "--data", data, "--port", "0")
    assert shown.status == 1
    assert data in shown.err


def test_a_registry_answers_and_stops(start: Callable[..., Running], kafka: EmbeddedBroker) -> None:
    registry = start("registry", "--port", "0", "-b", kafka.bootstrap_servers)
    url = registry.wait_for(r"^registry ready on (http://127\.0\.0\.1:\d+)$")[1]
    with urllib.request.urlopen(f"{url}/subjects", timeout=10) as answer:
        assert answer.status == 200
    assert registry.stop() == 0


def test_a_registry_whose_port_is_taken_names_the_option(ottla: Ottla, kafka: EmbeddedBroker) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        shown = ottla("registry", "--port", str(port), "-b", kafka.bootstrap_servers)
    assert shown.status == 1
    assert f"port {port}" in shown.err
    assert "--port" in shown.err
