from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ottla.errors import ConfigurationError, PortInUse, ProcessExited, ProcessNotReady
from ottla.processes import (
    Command,
    Exit,
    HttpReady,
    LineReady,
    Supervisor,
    ensure_port_free,
    free_ports,
    python,
)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "logs") as running:
        yield running


def program(source: str, **options: object) -> Command:
    return Command(argv=python("-c", textwrap.dedent(source)), **{"name": "child", **options})  # type: ignore[arg-type]


SLEEPER = "import time\nprint('ready on 4711')\ntime.sleep(600)"
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready')\ntime.sleep(600)"


def wait_for(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition never came"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_child_is_ready_when_it_prints_the_awaited_line(supervisor: Supervisor) -> None:
    child = supervisor.start(program(SLEEPER, ready=LineReady(r"ready on (\d+)")))
    supervisor.wait_ready("child", timeout_s=10)
    assert child.ready_match is not None
    assert child.ready_match.group(1) == "4711"


def test_a_child_is_ready_when_its_url_answers_200(supervisor: Supervisor) -> None:
    (port,) = free_ports(1)
    source = f"""
        import http.server
        answers = iter([503, 503, 200])
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(next(answers)); self.end_headers()
        http.server.HTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
    """
    child = supervisor.start(program(source, ready=HttpReady(f"http://127.0.0.1:{port}/health/ready")))
    supervisor.wait_ready(timeout_s=10)
    assert child.ready
    assert "503" in child.log_file.read_text()


def test_a_child_that_ends_before_it_is_ready_is_reported_with_its_last_lines(supervisor: Supervisor) -> None:
    supervisor.start(program("raise SystemExit('the cellar is flooded')", ready=LineReady("ready")))
    with pytest.raises(ProcessExited, match=r"child ended with status 1.*\n.*the cellar is flooded"):
        supervisor.wait_ready(timeout_s=10)


def test_a_child_that_is_not_ready_in_time_is_reported(supervisor: Supervisor) -> None:
    supervisor.start(program(SLEEPER, ready=LineReady("never printed")))
    with pytest.raises(ProcessNotReady, match="never printed"):
        supervisor.wait_ready(timeout_s=0.2)


def test_a_program_that_does_not_exist_is_named(supervisor: Supervisor) -> None:
    supervisor.start(Command("ghost", ["/no/such/program"], ready=LineReady("ready")))
    with pytest.raises(ProcessExited, match="/no/such/program"):
        supervisor.wait_ready(timeout_s=10)


def test_an_unexpected_end_is_noticed(tmp_path: Path) -> None:
    noticed: list[Exit] = []
    came = threading.Event()

    def note(exit_: Exit) -> None:
        noticed.append(exit_)
        came.set()

    with Supervisor(tmp_path, on_exit=note) as supervisor:
        supervisor.start(program(SLEEPER, ready=LineReady("ready")))
        supervisor.wait_ready(timeout_s=10)
        supervisor.kill("child")
        assert came.wait(10)
        assert [crash.returncode for crash in supervisor.crashes] == [-signal.SIGKILL]
    assert "SIGKILL" in noticed[0].describe()


def test_an_end_that_was_asked_for_is_no_crash(supervisor: Supervisor) -> None:
    supervisor.start(program(SLEEPER, ready=LineReady("ready")))
    supervisor.wait_ready(timeout_s=10)
    supervisor.stop("child")
    wait_for(lambda: bool(supervisor.exits))
    assert supervisor.crashes == []


def test_a_restart_waits_for_the_new_process_not_for_the_old_ones_line(supervisor: Supervisor) -> None:
    first = supervisor.start(program(SLEEPER, ready=LineReady("ready")))
    supervisor.wait_ready(timeout_s=10)
    second = supervisor.restart("child")
    assert not first.running
    assert second.pid != first.pid
    supervisor.wait_ready("child", timeout_s=10)
    assert second.log_file.read_text().count("ready on") == 2


def test_a_name_runs_once(supervisor: Supervisor) -> None:
    supervisor.start(program(SLEEPER))
    with pytest.raises(ConfigurationError, match="runs already"):
        supervisor.start(program(SLEEPER))


def test_the_higher_stop_order_is_stopped_first(supervisor: Supervisor) -> None:
    says_goodbye = """
        import signal, sys, time
        def goodbye(*_):
            time.sleep(0.2); print("goodbye", time.monotonic()); sys.exit(0)
        signal.signal(signal.SIGTERM, goodbye)
        print("ready"); time.sleep(600)
    """
    broker = supervisor.start(program(says_goodbye, name="broker", ready=LineReady("ready"), stop_order=0))
    service = supervisor.start(program(says_goodbye, name="service", ready=LineReady("ready"), stop_order=1))
    supervisor.wait_ready(timeout_s=10)
    assert supervisor.stop_all() == []
    times = [float(child.log_file.read_text().split()[-1]) for child in (service, broker)]
    assert times[1] - times[0] >= 0.2


def test_a_stubborn_child_is_killed_within_the_deadline(supervisor: Supervisor) -> None:
    supervisor.start(program(STUBBORN, name="stubborn", ready=LineReady("ready"), stop_order=1))
    supervisor.start(program(STUBBORN, name="also-stubborn", ready=LineReady("ready")))
    supervisor.wait_ready(timeout_s=10)
    began = time.monotonic()
    assert sorted(supervisor.stop_all(deadline_s=1.0)) == ["also-stubborn", "stubborn"]
    assert time.monotonic() - began < 2.0
    assert not any(child.running for child in supervisor.children)


def test_ctrl_c_in_the_terminal_does_not_reach_the_children(supervisor: Supervisor) -> None:
    child = supervisor.start(program(SLEEPER, ready=LineReady("ready")))
    supervisor.wait_ready(timeout_s=10)
    assert os.getpgid(child.pid) != os.getpgid(0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's parent death signal is Linux's")
def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent_source = f"""
        import time
        from pathlib import Path
        from ottla.processes import Command, LineReady, Supervisor, python
        supervisor = Supervisor(Path({str(tmp_path)!r}))
        child = supervisor.start(Command("child", python("-c", {SLEEPER!r}), ready=LineReady("ready")))
        supervisor.wait_ready(timeout_s=10)
        print(child.pid, flush=True)
        time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(parent_source)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        assert alive(child_pid)
        parent.kill()
        parent.wait()
        wait_for(lambda: not alive(child_pid))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's parent death signal is Linux's")
def test_a_child_outlives_the_thread_that_asked_for_it(supervisor: Supervisor) -> None:
    asking = threading.Thread(target=lambda: supervisor.start(program(SLEEPER, ready=LineReady("ready"))))
    asking.start()
    asking.join()
    supervisor.wait_ready("child", timeout_s=10)
    assert not supervisor["child"].wait_ended(0.1)


def test_a_busy_port_is_reported_with_the_setting_that_changes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(PortInUse, match=f"the toy broker: port {port} .* --broker-port"):
            ensure_port_free("the toy broker", "127.0.0.1", port, "--broker-port")


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        ensure_port_free("a server", "127.0.0.1", port, "--port")
