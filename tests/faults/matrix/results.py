"""What the long run found, kept beside the matrix; docs/faults.md is made from it (tools/write_docs.py)."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("results.json")


def keep(cell: str, broker: str, figures: dict[str, Any]) -> None:
    """Puts a cell's figures in the place of those it had. Several processes may."""
    with FILE.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        kept = json.loads(file.read() or "{}")
        kept.setdefault(cell, {})[broker] = figures
        file.truncate(0)
        file.write(json.dumps(kept, indent=1, sort_keys=True) + "\n")
