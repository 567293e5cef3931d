"""The command line: `ottla COMMAND ...`.

One file per command or command group, imported only when that command is used, so that `ottla --help` and shell
completion answer at once. `commands.py` holds the table: name, module, one line of help.

The convention: a command's module has `app`, a `typer.Typer(add_completion=False)`. With one function under
`@app.command()` it is a plain command (`ottla run ...`); with several, or with a callback, a group (`ottla topic
list`). A module imports typer and the standard library at the top and everything heavier (rich.*, ottla.kafka, ...)
inside its functions. To fail, a command raises an `OttlaError`: `main` prints it as one line and exits 1. To exit
with another status, it raises `typer.Exit(status)`.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Runs the command line and exits: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    Failures Ottla raises on purpose are one line on stderr; `--traceback` or `OTTLA_TRACEBACK=1` shows where they
    came from. Any other exception is a defect and keeps its traceback.
    """
    import sys

    arguments = sys.argv[1:]
    if arguments[:1] == ["run"]:
        from ottla.cli.service import plain, run_alone

        if (service := plain(arguments[1:])) is not None:
            sys.exit(run_alone(service))
    from ottla.cli.root import run

    sys.exit(run(arguments))
