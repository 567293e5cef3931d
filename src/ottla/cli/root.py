"""The root command: global options, and what becomes of exceptions."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.main import get_command

from ottla.cli.commands import LazyGroup
from ottla.cli.failures import failed, print_error
from ottla.errors import OttlaError

# Click's base class of usage errors. Newer versions of Typer carry their own copy of click, older ones use the package:
# `BadParameter` descends from the right one.
ClickException: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

INTERRUPTED = 130

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from ottla import __version__

        print(f"ottla {__version__}")
        raise typer.Exit


@app.callback()
def ottla(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from (also: OTTLA_TRACEBACK=1).")
    ] = False,
) -> None:
    """Event-driven microservices on Apache Kafka."""
    if traceback:
        os.environ["OTTLA_TRACEBACK"] = "1"


def run(arguments: list[str]) -> int:
    """Runs one command line and gives its exit status."""
    try:
        result = get_command(app).main(arguments, prog_name="ottla", standalone_mode=False)
        sys.stdout.flush()
    except OttlaError as error:
        return failed(error)
    except ClickException as error:
        return _wrong_usage(error)
    except typer.Abort as abort:
        return INTERRUPTED if isinstance(abort.__cause__, KeyboardInterrupt) else 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return result if isinstance(result, int) else 0


def _wrong_usage(error: Any) -> int:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        # `ottla topic` alone: the message is the help text, or empty where Rich has printed it already.
        print(message.strip(), end="\n" if message.strip() else "", file=sys.stderr)
    else:
        print_error(message)
        if context is not None:
            print(f"Try: {context.command_path} --help", file=sys.stderr)
    return int(error.exit_code)
