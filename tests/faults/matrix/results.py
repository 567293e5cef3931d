"""What the long run found, kept beside the matrix; docs/faults.md is made from it (tools/write_docs.py)."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("results.json")


def keep(cell: str, broker: str, figures: dict[str, Any]) -> None:
    """Adds a run's figures to those that its cell has; delete the file to begin anew. Several processes may."""
    with FILE.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        kept = json.loads(file.read() or "{}")
        brokers = kept.setdefault(cell, {})
        brokers[broker] = _sum(brokers.get(broker, {}), figures)
        file.truncate(0)
        file.write(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def _sum(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _sum(one.get(name, {}), figure) if isinstance(figure, dict) else one.get(name, 0) + figure
        for name, figure in other.items()
    }
