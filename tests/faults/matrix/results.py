"""What the long run found, kept beside the matrix; docs/faults.md is made from it (tools/write_docs.py)."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("results.json")


def keep(cell: str, broker: str, figures: dict[str, Any]) -> None:
    """Puts a cell's figures in the place of those it had. Several processes may."""
    with FILE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
        kept.setdefault(cell, {})[broker] = figures
        FILE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", "utf-8")
