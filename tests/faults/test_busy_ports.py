"""A busy port is one clear line that names the option, before anything is started."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ottla.processes import free_ports
from tests.demo.running import RunningDemo


@pytest.mark.parametrize(
    ("option", "distance", "what"),
    [
        ("--broker-port", 0, "the embedded broker"),
        ("--registry-port", 0, "the schema registry"),
        ("--http-port", 0, "the orders service"),
        ("--http-port", 3, "the shipping service"),
    ],
)
def test_a_busy_port_is_reported_with_the_option_that_changes_it(
    option: str, distance: int, what: str, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)), RunningDemo(tmp_path, option, str(port - distance)) as demo:
        assert demo.process.wait(30) == 1
        assert f"error: {what}: port {port} on 127.0.0.1 is already in use" in demo.said
        assert option in demo.said
        assert "Traceback" not in demo.said
    assert not (tmp_path / "logs").exists()
