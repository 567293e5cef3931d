"""An ordinary `ottla run` does without what parses command lines, and says the same as the long way where it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ottla.cli.service import Run, plain
from tests.cli.conftest import Ottla

SERVICE = """
import sys
from ottla import App
from ottla.errors import ConfigurationError
from ottla.http_client import httpx
app = App("lean")
unwanted = {"typer", "pydantic", "rich", "pygments"} & {*sys.modules}
raise ConfigurationError(" ".join(sorted(unwanted)) or "none")
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a:b"], Run("a:b")),
        (["--port", "0", "a:b", "--host=::1"], Run("a:b", port=0, host="::1")),
        (["a:b", "-p", "80", "--app-dir", "x", "--name", "n"], Run("a:b", Path("x"), port=80, name="n")),
        (["a:b", "--log-level", "debug", "--access-log"], Run("a:b", log_level="debug", access_log=True)),
    ],
)
def test_an_ordinary_command_line_is_understood(arguments: list[str], expected: Run) -> None:
    assert plain(arguments) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--help"], ["a:b", "-h"], ["a:b", "c:d"], ["a:b", "--workers", "4"], ["a:b", "--port"],
        ["a:b", "--port", "x"], ["a:b", "--log-level", "loud"], ["a:b", "--access-log=1"], ["--", "a:b"],
    ],
)  # fmt: skip
def test_anything_else_is_left_to_the_long_way(arguments: list[str]) -> None:
    assert plain(arguments) is None


def test_a_service_loads_nothing_that_only_command_lines_need(tmp_path: Path) -> None:
    (tmp_path / "lean_service.py").write_text(SERVICE)
    argv = [sys.executable, "-m", "ottla.cli", "run", "lean_service:app", "--port", "0", "--app-dir", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "error: none\n")


def test_both_ways_fail_with_the_same_words(ottla: Ottla) -> None:
    argv = [sys.executable, "-m", "ottla.cli", "run", "nothing"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    long = ottla("run", "nothing")
    assert (done.returncode, done.stderr) == (long.status, long.err)
