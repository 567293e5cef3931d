"""`ottla dev`: everything an ottla.toml names, restarted when code changes or a process crashes."""

from __future__ import annotations

import os
import signal
import socket
import textwrap
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from ottla.testing import EmbeddedBroker
from ottla.testing.server import free_port
from tests.cli.conftest import Ottla, Running

SERVICE = """
    import os, signal
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    ANSWER = "{answer}"

    def show(request):
        names = ("OTTLA_KAFKA__BOOTSTRAP_SERVERS", "OTTLA_REGISTRY__URL", "COLOUR")
        return JSONResponse({{"answer": ANSWER, "pid": os.getpid()}} | {{name: os.environ.get(name) for name in names}})

    api = Starlette(routes=[Route("/", show)])
"""

# Nothing to start but the services: both addresses are configured.
CONFIGURED = {"OTTLA_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "OTTLA_REGISTRY__URL": "http://127.0.0.1:1"}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def fetch(port: int) -> dict[str, str]:
    import json

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        found: dict[str, str] = json.load(answer)
        return found


@pytest.fixture
def project(tmp_path: Path) -> tuple[int, int]:
    """Two services in two packages, with an ottla.toml; gives their ports."""
    first, second = free_port(), free_port()
    write(tmp_path / "one" / "__init__.py", "")
    write(tmp_path / "one" / "service.py", SERVICE.format(answer="before"))
    write(tmp_path / "two" / "__init__.py", "")
    write(tmp_path / "two" / "service.py", SERVICE.format(answer="two"))
    write(
        tmp_path / "ottla.toml",
        f"""
        [services.first]
        run = "one.service:api"
        port = {first}
        watch = ["one"]
        env = {{ COLOUR = "green" }}

        [services.second]
        run = "two.service:api"
        port = {second}
        watch = ["two"]
        """,
    )
    return first, second


def both_ready(dev: Running) -> None:
    dev.wait_for(r"^first  \| one.service:api ready on http://127.0.0.1:\d+$")
    dev.wait_for(r"^second \| two.service:api ready on http://127.0.0.1:\d+$")


def test_a_service_is_restarted_when_its_code_changes_and_the_others_are_not(
    start: Callable[..., Running], project: tuple[int, int], tmp_path: Path
) -> None:
    first, second = project
    dev = start("dev", env=CONFIGURED)
    both_ready(dev)
    dev.wait_for("watching for changes")
    assert fetch(first)["answer"] == "before"
    assert fetch(first)["COLOUR"] == "green"
    other = fetch(second)["pid"]
    seen = len(dev.lines)
    write(tmp_path / "one" / "service.py", SERVICE.format(answer="after"))
    dev.wait_for(r"^dev    \| one/service\.py changed: restarting first$", after=seen)
    dev.wait_for(r"^first  \| one.service:api ready on", after=seen)
    assert fetch(first)["answer"] == "after"
    assert fetch(second)["pid"] == other


def test_a_crashed_service_is_started_again_after_a_pause_and_that_is_said(
    start: Callable[..., Running], project: tuple[int, int]
) -> None:
    first, _ = project
    dev = start("dev", env=CONFIGURED)
    both_ready(dev)
    before = fetch(first)["pid"]
    seen = len(dev.lines)
    os.kill(int(before), signal.SIGKILL)
    dev.wait_for(r"^dev    \| first was ended by SIGKILL; starting it again in 0\.5 s", after=seen)
    dev.wait_for(r"^dev    \| starting first again$", after=seen)
    dev.wait_for(r"^first  \| one.service:api ready on", after=seen)
    assert fetch(first)["pid"] != before


def test_a_service_that_cannot_start_waits_longer_each_time_until_its_code_changes(
    start: Callable[..., Running], project: tuple[int, int], tmp_path: Path
) -> None:
    first, _ = project
    write(tmp_path / "one" / "service.py", "raise ZeroDivisionError('a mistake')")
    dev = start("dev", env=CONFIGURED)
    dev.wait_for(r"^first  \| ZeroDivisionError: a mistake$")
    dev.wait_for(r"first ended with status 1; starting it again in 0\.5 s, or when its code changes")
    dev.wait_for(r"first ended with status 1; starting it again in 1 s")
    dev.wait_for(r"^second \| two.service:api ready on")
    write(tmp_path / "one" / "service.py", SERVICE.format(answer="mended"))
    dev.wait_for(r"^first  \| one.service:api ready on")
    assert fetch(first)["answer"] == "mended"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_stops_everything_within_five_seconds(
    start: Callable[..., Running], project: tuple[int, int], number: int
) -> None:
    dev = start("dev", env=CONFIGURED)
    both_ready(dev)
    pids = [int(fetch(port)["pid"]) for port in project]
    asked = time.monotonic()
    assert dev.stop(number) == 0
    assert time.monotonic() - asked < 5
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    dev.wait_for(r"^dev    \| stopped$")


def test_a_broker_and_a_registry_run_where_none_is_configured(
    start: Callable[..., Running], project: tuple[int, int], tmp_path: Path
) -> None:
    first, _ = project
    dev = start("dev", "--broker-port", "0", "--registry-port", "0")
    kafka = dev.wait_for(r"^dev      \| Kafka at (\S+) \(embedded\)$")[1]
    registry = dev.wait_for(r"^dev      \| schema registry at (\S+) \(embedded\)$")[1]
    dev.wait_for(rf"^broker   \| broker ready on {kafka}$")
    dev.wait_for(rf"^registry \| registry ready on {registry}$")
    dev.wait_for(r"^first    \| one.service:api ready on")
    shown = fetch(first)
    assert shown["OTTLA_KAFKA__BOOTSTRAP_SERVERS"] == kafka
    assert shown["OTTLA_REGISTRY__URL"] == registry
    assert (tmp_path / ".ottla" / "broker").is_dir()
    assert (tmp_path / ".ottla" / "logs" / "first.log").is_file()
    assert dev.stop(signal.SIGINT) == 0


def test_only_the_registry_runs_where_kafka_is_configured(
    start: Callable[..., Running], project: tuple[int, int], tmp_path: Path, kafka: EmbeddedBroker
) -> None:
    with (tmp_path / "ottla.toml").open("a") as file:
        file.write(f'\n[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\n')
    dev = start("dev", "--registry-port", "0")
    dev.wait_for(rf"^dev      \| Kafka at {kafka.bootstrap_servers} \(configured\)$")
    dev.wait_for(r"^registry \| registry ready on")
    assert "broker " not in dev.output


def test_modules_of_a_package_are_imported_from_the_folder_above_it(
    start: Callable[..., Running], project: tuple[int, int], tmp_path: Path
) -> None:
    write(tmp_path / "one" / "ottla.toml", '[services.inner]\nrun = "one.service:api"\n')
    dev = start("dev", "--config", "one/ottla.toml", "--no-reload", env=CONFIGURED)
    dev.wait_for(r"^inner \| one.service:api ready on")


def test_a_changed_ottla_toml_asks_for_a_new_start(
    start: Callable[..., Running], project: tuple[int, int], tmp_path: Path
) -> None:
    dev = start("dev", env=CONFIGURED)
    dev.wait_for("watching for changes")
    with (tmp_path / "ottla.toml").open("a") as file:
        file.write("\n# a change\n")
    dev.wait_for(r"ottla\.toml changed: start ottla dev anew")


def test_the_log_files_hold_this_session_only(
    start: Callable[..., Running], project: tuple[int, int], tmp_path: Path
) -> None:
    log = tmp_path / ".ottla" / "logs" / "first.log"
    write(log, "from yesterday\n")
    dev = start("dev", "--no-reload", env=CONFIGURED)
    both_ready(dev)
    assert "from yesterday" not in log.read_text()
    assert "from yesterday" not in dev.output


def test_a_busy_broker_port_is_refused_before_anything_starts(
    ottla: Ottla, project: tuple[int, int], tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        shown = ottla("dev", "--broker-port", str(port))
    assert shown.status == 1
    assert f"embedded broker: port {port}" in shown.err
    assert "--broker-port" in shown.err
    assert not (tmp_path / ".ottla").exists()


def test_without_an_ottla_toml_it_says_what_to_write(ottla: Ottla) -> None:
    shown = ottla("dev")
    assert shown.status == 1
    assert "ottla.toml: no such file" in shown.err
    assert "[services.NAME]" in shown.err


def test_every_fault_of_the_services_is_told_at_once(ottla: Ottla, tmp_path: Path) -> None:
    write(
        tmp_path / "ottla.toml",
        """
        [services.broker]
        run = "a:b"

        [services.mine]
        run = "a:b"
        watch = ["not/there"]
        """,
    )
    shown = ottla("dev")
    assert shown.status == 1
    assert "[services.broker]: that name is taken" in shown.err
    assert "[services.mine]: watch names" in shown.err


def test_without_watchfiles_it_says_how_to_get_it(ottla: Ottla, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "watchfiles", None)
    shown = ottla("dev")
    assert shown.status == 1
    assert "pip install 'ottla[reload]'" in shown.err
    assert "--no-reload" in shown.err
