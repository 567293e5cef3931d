"""How a command says that it failed."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from ottla.errors import OttlaError


def failed(error: OttlaError) -> int:
    """Tells an error, in full where asked to; gives the exit status."""
    if os.environ.get("OTTLA_TRACEBACK", "") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    else:
        print_error(str(error))
    return 1


def print_error(message: str) -> None:
    """Prints `error: ...` on stderr, in red on a terminal."""
    label = "error:"
    if is_terminal(sys.stderr) and "NO_COLOR" not in os.environ:
        label = f"\x1b[1;31m{label}\x1b[0m"
    print(f"{label} {message}", file=sys.stderr)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person is likely to read it."""
    return stream.isatty()
