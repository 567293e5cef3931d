"""The table of commands, and the group that imports a command's module only when it is used."""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_LINE_END = re.compile(r"(?<!\n)\n(?!\n)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `ottla --help`: the module with the command, the heading it stands under, its help."""

    module: str
    panel: str
    help: str


COMMANDS: dict[str, Entry] = {
    "demo": Entry("ottla.cli.demo", "Run", "Run the example shop on real orders, with everything it needs."),
    "dev": Entry("ottla.cli.dev", "Run", "Run all services that ottla.toml names; restart them when code changes."),
    "run": Entry("ottla.cli.run", "Run", "Run one service: an ottla App or any ASGI app."),
    "broker": Entry("ottla.cli.broker", "Servers", "Run the embedded Kafka-compatible broker."),
    "registry": Entry("ottla.cli.registry", "Servers", "Run the schema registry."),
    "topic": Entry("ottla.cli.topic", "Look inside", "List, describe, create and delete topics; read and write."),
    "dlq": Entry("ottla.cli.dlq", "Look inside", "List, show, edit, replay and purge dead letters."),
    "group": Entry("ottla.cli.group", "Look inside", "List and describe consumer groups."),
    "schema": Entry("ottla.cli.schema", "Look inside", "List, compare, check and register schemas; write classes."),
    "streams": Entry("ottla.cli.streams", "Look inside", "Describe stream applications, and reset them."),
    "state": Entry("ottla.cli.state", "Look inside", "Ask the stores of running stream applications."),
    "projection": Entry("ottla.cli.projection", "Look inside", "Look at projections, and build them anew."),
    "config": Entry("ottla.cli.config", "Look inside", "Show the settings in force and where they come from."),
    "lag": Entry("ottla.cli.lag", "Look inside", "Show how many records each consumer group has still to handle."),
}


def load(name: str) -> Any:
    """Imports a command's module and gives its click command, named as in the table."""
    app = importlib.import_module(COMMANDS[name].module).app
    command = typer.main.get_command(app)
    command.name = name
    for one in (command, *getattr(command, "commands", {}).values()):
        # Typer keeps the line ends of a docstring, so that a narrower terminal would break every line twice.
        one.help = one.help and _LINE_END.sub(" ", inspect.cleandoc(one.help))
    return command


class LazyGroup(TyperGroup):
    """The `ottla` command.

    Help and completion see placeholders made from the table; only `resolve_command`, which click calls when a command
    is about to run or is being completed further, imports the module.
    """

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, entry in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=entry.help, rich_help_panel=entry.panel)

    def list_commands(self, ctx: Any) -> list[str]:
        """In the table's order; older versions of Typer would sort them."""
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _placeholder, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else None, rest
