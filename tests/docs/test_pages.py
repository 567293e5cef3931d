"""Documentation is compared with the code, and its examples are run."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "DESIGN.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_docs", ROOT / "tools/write_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["docs/broker.md", "docs/files.md", "docs/faults.md"])
def test_pages_made_from_the_code_say_what_the_code_says(name: str) -> None:
    assert _writer().page(name) == (ROOT / name).read_text("utf-8"), f"run: python tools/write_docs.py ({name})"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_in_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    paths = re.findall(r"`((?:src|tests|examples|bench|tools|docs)/[\w./-]+)`", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert missing == []


def test_the_service_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"## A service\n\n```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert code is not None
    (tmp_path / "readme_service.py").write_text(code.group(1), "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import readme_service  # type: ignore[import-not-found]

    (listener,) = readme_service.app.listeners
    assert listener.name == "charge"
    assert [event.topic for event in listener.events] == ["order-events"]
    sys.modules.pop("readme_service")


def test_every_setting_of_a_listener_is_described() -> None:
    from ottla import KafkaSettings, ListenerSettings

    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    undocumented = [
        name for kind in (KafkaSettings, ListenerSettings) for name in kind.__struct_fields__ if name not in page
    ]
    assert undocumented == []


def test_every_metric_is_described() -> None:
    from ottla.observability.metrics import Metrics

    metrics = Metrics("shop")
    metrics.watch_lag(dict)
    page = (ROOT / "docs/observability.md").read_text("utf-8")
    named = {family.name for family in metrics.registry.collect() if family.name.startswith("ottla_")}
    tails = {name.removeprefix("ottla_").removeprefix("records_") for name in named}
    assert [tail for tail in sorted(tails) if tail not in page] == []
