"""The table of commands, their help, and what they cost to look at."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from ottla import __version__
from ottla.cli.commands import COMMANDS, load
from tests.cli.conftest import Ottla

# `ottla demo` is written in its own room; everything here holds for it as well.
NAMES = sorted(COMMANDS)

HEAVY = (
    "confluent_kafka",
    "fastapi",
    "httpx",
    "msgspec",
    "ottla.app",
    "ottla.broker",
    "ottla.kafka",
    "ottla.registry",
    "pydantic",
    "rich.live",
    "rich.progress",
    "sqlalchemy",
    "starlette",
    "uvicorn",
    "watchfiles",
)


def leaves(command: Any) -> list[Any]:
    """A command, or all commands of a group."""
    return list(command.commands.values()) if hasattr(command, "commands") else [command]


def test_help_lists_every_command(ottla: Ottla) -> None:
    shown = ottla("--help")
    assert shown.status == 0
    for name, entry in COMMANDS.items():
        assert f" {name} " in shown.out
        assert entry.help.split(".")[0][:40] in shown.out


@pytest.mark.parametrize("name", NAMES)
def test_every_command_every_argument_and_every_option_is_explained(name: str) -> None:
    for command in leaves(load(name)):
        assert command.help, f"ottla {name} {command.name} has no help"
        for parameter in command.params:
            help_text = getattr(parameter, "help", None)
            assert help_text, f"ottla {name} {command.name}: {parameter.opts} has no help"


@pytest.mark.parametrize("name", NAMES)
def test_help_of_every_command_prints(ottla: Ottla, name: str) -> None:
    shown = ottla(name, "--help")
    assert shown.status == 0
    assert f"Usage: ottla {name}" in shown.out


@pytest.mark.parametrize("name", [name for name in NAMES if name != "demo"])
def test_commands_that_print_data_take_json_and_a_bootstrap_server(name: str) -> None:
    servers_and_services = {"run", "dev", "broker", "registry"}
    for command in leaves(load(name)):
        options = {option for parameter in command.params for option in parameter.opts}
        if name not in servers_and_services:
            # Schemas are asked of a registry, not of a cluster.
            wanted = {"--registry-url"} if name == "schema" else {"--json", "--bootstrap-server", "-b"}
            assert wanted <= options, f"ottla {name} {command.name}"


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from ottla.cli.root import run\n"
        "assert run(['--help']) == 0\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(', '.join(loaded) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"`ottla --help` imports {done.stderr}"


def test_importing_the_command_line_imports_next_to_nothing() -> None:
    program = (
        "import sys, ottla.cli\n"
        "loaded = [name for name in ('typer', 'rich', 'msgspec', 'ottla.errors') if name in sys.modules]\n"
        "sys.exit(', '.join(loaded) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"`import ottla.cli` imports {done.stderr}"


def test_completing_a_command_name_imports_no_command() -> None:
    program = (
        "import sys, os\n"
        "os.environ |= {'_OTTLA_COMPLETE': 'complete_bash', 'COMP_WORDS': 'ottla to', 'COMP_CWORD': '1'}\n"
        "from ottla.cli.root import run\n"
        "try:\n"
        "    run([])\n"
        "except SystemExit:\n"
        "    pass\n"
        "assert not [n for n in sys.modules if n in ('ottla.cli.topic', 'confluent_kafka')]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["topic"]


def test_a_subcommand_is_completed_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ottla.cli"],
        env={"_OTTLA_COMPLETE": "complete_bash", "COMP_WORDS": "ottla topic d", "COMP_CWORD": "2"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["describe", "delete"]


def test_the_completion_script_names_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ottla.cli", "--show-completion", "bash"],
        # Typer asks the parent process which shell it is; a test's parent is none.
        env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "_OTTLA_COMPLETE=complete_bash" in done.stdout


def test_version(ottla: Ottla) -> None:
    shown = ottla("--version")
    assert (shown.status, shown.out) == (0, f"ottla {__version__}\n")


def test_no_command_is_wrong_usage_and_shows_the_help(ottla: Ottla) -> None:
    shown = ottla()
    assert shown.status == 2
    assert "Usage: ottla" in shown.out + shown.err


def test_a_mistyped_command_is_answered_with_the_likely_one(ottla: Ottla) -> None:
    shown = ottla("tpic")
    assert shown.status == 2
    assert "error: No such command 'tpic'. Did you mean 'topic'?" in shown.err
    assert "Try: ottla --help" in shown.err


def test_an_unknown_option_is_wrong_usage(ottla: Ottla) -> None:
    shown = ottla("topic", "list", "--nonsense")
    assert shown.status == 2
    assert shown.err.startswith("error: No such option: --nonsense")
    assert "Try: ottla topic list --help" in shown.err


def test_help_of_dev_names_the_tables_of_its_configuration(ottla: Ottla) -> None:
    shown = ottla("dev", "--help").out
    assert "[services.orders]" in shown
    assert "[services.NAME]" in shown


@pytest.mark.parametrize("name", NAMES)
def test_help_leaves_the_ends_of_lines_to_the_terminal(name: str) -> None:
    root = load(name)
    for command in (root, *leaves(root)):
        assert not any("\n" in paragraph for paragraph in command.help.split("\n\n")), command.name
