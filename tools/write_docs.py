"""Writes the parts of the documentation that are made from the code: `python tools/write_docs.py`.

A part stands between `<!-- name -->` and `<!-- /name -->`. `tests/docs` fails where a page and the code differ.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path

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


PARTS: dict[str, dict[str, Callable[[], str]]] = {"docs/broker.md": {"apis": apis}, "docs/files.md": {"files": files}}


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
