"""What becomes of exceptions: one clear line, the right exit status, no traceback unless asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from ottla.testing import EmbeddedBroker
from tests.cli.conftest import Ottla, Running

NOBODY = "127.0.0.1:1"  # a port that needs root and that nothing listens on


@pytest.mark.parametrize(
    "arguments",
    [("topic", "list"), ("topic", "describe", "t"), ("topic", "consume", "t"), ("group", "list"), ("lag",)],
    ids=" ".join,
)
def test_a_broker_that_does_not_answer_is_one_line_with_its_address(
    ottla: Ottla, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr("ottla.cli.connection.ANSWER_TIMEOUT_S", 0.3)
    shown = ottla(*arguments, "-b", NOBODY)
    assert shown.status == 1
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert NOBODY in shown.err
    assert "kafka.bootstrap_servers" in shown.err
    assert len(shown.err.splitlines()) == 1


def test_the_address_comes_from_the_environment_where_the_command_line_gives_none(
    ottla: Ottla, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ottla.cli.connection.ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setenv("OTTLA_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:2")
    assert "127.0.0.1:2" in ottla("topic", "list").err


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_traceback_comes_only_when_asked_for(ottla: Ottla, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    plain = ottla("run", "nothing.here:app")
    assert plain.status == 1
    assert "Traceback" not in plain.err
    if how == "option":
        detailed = ottla("--traceback", "run", "nothing.here:app")
    else:
        monkeypatch.setenv("OTTLA_TRACEBACK", "1")
        detailed = ottla("run", "nothing.here:app")
    assert detailed.status == 1
    assert "Traceback" in detailed.err
    assert "ConfigurationError: cannot import nothing.here" in detailed.err


def test_faults_in_the_settings_are_all_told_at_once(ottla: Ottla, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTTLA_HTTP__PORT", "eighty")
    monkeypatch.setenv("OTTLA_KAFKA__BOOTSTRAP", "x:1")
    shown = ottla("topic", "list")
    assert shown.status == 1
    assert "http.port" in shown.err
    assert "kafka.bootstrap" in shown.err


def test_errors_are_red_on_a_terminal_only(ottla: Ottla, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" not in ottla("run", "nothing").err
    monkeypatch.setattr("ottla.cli.failures.is_terminal", lambda _stream: True)
    assert ottla("run", "nothing").err.startswith("\x1b[1;31merror:\x1b[0m ")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in ottla("run", "nothing").err


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ottla.cli", "--help"], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60
        )
    finally:
        os.close(write)
    assert done.stderr == ""
    assert done.returncode == 1


def test_ctrl_c_ends_with_status_130(
    start: Callable[..., Running], ottla: Ottla, kafka: EmbeddedBroker, topic_name: str
) -> None:
    server = kafka.bootstrap_servers
    assert ottla("topic", "create", topic_name, "-b", server).status == 0
    assert ottla("topic", "produce", topic_name, "-v", "a value", "-b", server).status == 0
    # Once the record is shown, the command waits for the next one.
    consuming = start("topic", "consume", topic_name, "--from-beginning", "-b", server)
    consuming.wait_for("a value")
    assert consuming.stop(signal.SIGINT) == 130
    assert "Traceback" not in consuming.output
