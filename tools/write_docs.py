"""Writes the parts of the documentation that are made from the code: `python tools/write_docs.py`.

A part stands between `<!-- name -->` and `<!-- /name -->`. `tests/docs` fails where a page and the code differ.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def apis() -> str:
    """The broker's APIs and versions."""
    from ottla.broker.api.table import HANDLERS

    rows = ["| key | API | versions |", "|---|---|---|"]
    for key, (api, _) in sorted(HANDLERS.items()):
        first, last = api.versions
        rows.append(
            f"| {key} | {api.name} | {first}-{last} |" if first != last else f"| {key} | {api.name} | {first} |"
        )
    return "\n".join(rows)


def files() -> str:
    """Every file of the package and the shop, with the first sentence of its docstring."""
    lines: list[str] = []
    for folder in ("src/ottla", "examples/shop"):
        for path in sorted((ROOT / folder).rglob("*.py"), key=lambda path: (path.parent.as_posix(), path.name)):
            about = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n\n")[0].replace("\n", " ")
            if about:
                lines.append(f"- `{path.relative_to(ROOT).as_posix()}`: {about}")
    return "\n".join(lines)


FAULTS = {
    "service_is_killed": "kill -9 of the service",
    "service_is_restarted": "graceful restart",
    "members_come_and_go": "rebalances, one after the other",
    "broker_is_killed": "kill -9 of the broker, and its restart",
    "connections_are_cut": "connections reset, five times a round",
    "handler_is_slow": "a handler slower than max.poll.interval",
    "registry_is_away": "schema registry killed while a service starts",
    "database_is_away": "PostgreSQL stopped and started",
}
GUARANTEES = {"at_least_once": "at least once", "exactly_once": "exactly once", "inbox": "inbox"}
ORDERS = ("per_partition", "per_key", "retry_topics")


def faults() -> str:
    """What the long run of the fault matrix found, a table per broker."""
    kept = json.loads((ROOT / "tests/faults/matrix/results.json").read_text("utf-8"))
    tables = []
    for broker, title in (("embedded", "Embedded broker"), ("kafka", "Apache Kafka")):
        rows = []
        for name, fault in FAULTS.items():
            for guarantee, promise in GUARANTEES.items():
                if any(cells := [_cell(kept, broker, name, guarantee, order) for order in ORDERS]):
                    rows.append(f"| {fault} | {promise} | {' | '.join(cells)} |")
                    fault = ""
        if rows:
            head = "| | | per partition | per key | retry topics, keys in order |\n|---|---|---|---|---|\n"
            tables.append(f"### {title}\n\n{head}" + "\n".join(rows))
    return "\n\n".join(tables)


def _cell(kept: dict[str, Any], broker: str, fault: str, guarantee: str, order: str) -> str:
    found = kept.get(f"{fault} {guarantee} {order}", {}).get(broker)
    if found is None:
        return ""
    # Where the promise is about the database, its figures count.
    counted = found["database"] if guarantee == "inbox" else found["topic"]
    lost = found["topic"]["lost"] + found.get("database", {}).get("lost", 0)
    disordered = found["topic"]["disordered keys"] + found.get("database", {}).get("disordered keys", 0)
    return f"{found['rounds']} · {found['given']:,} · {lost} · {counted['doubled']} · {disordered}"


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "docs/broker.md": {"apis": apis},
    "docs/files.md": {"files": files},
    "docs/faults.md": {"faults": faults},
}


def page(name: str) -> str:
    """A page as it should be."""
    text = (ROOT / name).read_text("utf-8")
    for part, make in PARTS[name].items():
        begin, end = f"<!-- {part} -->\n", f"<!-- /{part} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}{make()}\n{end}{after}"
    return text


def main() -> int:
    for name in PARTS:
        fresh = page(name)
        if fresh != (ROOT / name).read_text("utf-8"):
            (ROOT / name).write_text(fresh, "utf-8")
            print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
