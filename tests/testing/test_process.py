"""Servers in processes of their own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ottla.errors import ServerFailed
from ottla.testing.process import ServerProcess, run_command, run_python

READY = re.compile(r"^ready (\d+)$", re.MULTILINE)
FOREVER = "\nimport threading\nthreading.Event().wait()"


def start(program: str, log: Path) -> ServerProcess:
    return ServerProcess("test server", run_python(program), log=log)


def test_the_ready_line_is_waited_for_and_given_back(tmp_path: Path) -> None:
    process = start("print('about to be')\nprint('ready 42')" + FOREVER, tmp_path / "log")
    try:
        assert process.wait_for_line(READY, 20)[1] == "42"
        assert process.alive
    finally:
        process.kill()


def test_a_server_that_ends_early_shows_its_log_and_status(tmp_path: Path) -> None:
    process = start("print('no licence')\nsys.exit(3)", tmp_path / "log")
    with pytest.raises(ServerFailed, match=r"(?s)test server ended with status 3 before.*no licence"):
        process.wait_for_line(READY, 20)


def test_a_server_that_is_never_ready_is_killed(tmp_path: Path) -> None:
    process = start("print('thinking', flush=True)" + FOREVER, tmp_path / "log")
    with pytest.raises(ServerFailed, match=r"was not ready within 0\.5 s"):
        process.wait_for_line(READY, 0.5)
    assert not process.alive


def test_the_ready_line_of_an_earlier_start_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("ready 1\n")
    process = start("print('ready 2')" + FOREVER, tmp_path / "log")
    try:
        assert process.wait_for_line(READY, 20)[1] == "2"
    finally:
        process.kill()
    assert (tmp_path / "log").read_text().startswith("ready 1\n")


def test_stop_asks_politely(tmp_path: Path) -> None:
    program = "import signal\nsignal.signal(signal.SIGTERM, lambda *a: sys.exit(7))\nprint('ready 1')\nsignal.pause()"
    process = start(program, tmp_path / "log")
    process.wait_for_line(READY, 20)
    assert process.stop(signal.SIGTERM, 20) == 7


def test_stop_kills_who_does_not_listen(tmp_path: Path) -> None:
    program = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready 1')" + FOREVER
    process = start(program, tmp_path / "log")
    process.wait_for_line(READY, 20)
    assert process.stop(signal.SIGTERM, 0.2) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
@pytest.mark.parametrize("run", [run_python, run_command], ids=["python", "command"])
def test_a_server_dies_with_the_tests_that_started_it(run: object, tmp_path: Path) -> None:
    server = (
        'run_python("print(1234)" + FOREVER)'
        if run is run_python
        else 'run_command("sh", "-c", "echo 1234; sleep 600")'
    )
    tests = f"""
import re, sys, threading
from pathlib import Path
from ottla.testing.process import ServerProcess, run_command, run_python
FOREVER = {FOREVER!r}
process = ServerProcess("server", {server}, log=Path({str(tmp_path / "log")!r}))
process.wait_for_line(re.compile("1234"), 20)
print(process.pid, flush=True)
threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", tests], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server_process = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([server_process], timeout=20)
    assert not server_process.is_running() or server_process.status() == psutil.STATUS_ZOMBIE
