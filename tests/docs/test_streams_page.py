"""The code of docs/streams.md, run from top to bottom."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/streams.md"


def test_the_code_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    module = ModuleType("streams_page")  # type hints of events are looked up in their module
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), vars(module))


def test_every_operator_of_streams_and_tables_is_described() -> None:
    from ottla.streams import KStream, KTable

    page = PAGE.read_text("utf-8")
    internal = {"child", "co_partitioned", "to_stream_by", "store"}
    names = {name for kind in (KStream, KTable) for name in vars(kind) if not name.startswith("_")} - internal
    assert [name for name in sorted(names) if f"`{name}" not in page and f".{name}(" not in page] == []
