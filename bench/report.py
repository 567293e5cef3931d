"""What a benchmark prints: each bar with its measured median, spread and verdict."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import ottla


@dataclass(frozen=True)
class Bar:
    """One measured figure and what is asked of it.

    Attributes:
        name: The key in `ratios`.
        values: One per run.
        unit: For the table.
        at_least, at_most: The bar; None where nothing is asked.
    """

    name: str
    values: Sequence[float]
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the bar; None where there is none."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or self.median >= self.at_least) and (
            self.at_most is None or self.median <= self.at_most
        )

    @property
    def asked(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else ""


@dataclass
class Report:
    """All bars of one benchmark, with whatever else is worth keeping, and a text to print below the table."""

    name: str
    bars: list[Bar]
    details: dict[str, Any] = field(default_factory=dict)
    text: str = ""

    def json(self) -> str:
        """One object; `ratios` maps each bar's name to its measured median."""
        return json.dumps(
            {
                "bench": self.name,
                "ratios": {bar.name: round(bar.median, 4) for bar in self.bars},
                "bars": [
                    {
                        "name": bar.name,
                        "unit": bar.unit,
                        "asked": bar.asked,
                        "met": bar.met,
                        "median": round(bar.median, 4),
                        "min": round(min(bar.values), 4),
                        "max": round(max(bar.values), 4),
                        "runs": len(bar.values),
                    }
                    for bar in self.bars
                ],
                "details": self.details,
                "machine": {
                    "cpus": os.cpu_count(),
                    "python": platform.python_version(),
                    "system": f"{platform.system()} {platform.machine()}",
                },
                "ottla": ottla.__version__,
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            indent=1,
        )

    def table(self) -> str:
        rows = [("figure", "median", "min .. max", "unit", "asked", "")]
        for bar in self.bars:
            met = {True: "met", False: "MISSED", None: ""}[bar.met]
            spread = f"{min(bar.values):.4g} .. {max(bar.values):.4g}"
            rows.append((bar.name, f"{bar.median:.4g}", spread, bar.unit, bar.asked, met))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([*lines, "", self.text] if self.text else lines)
