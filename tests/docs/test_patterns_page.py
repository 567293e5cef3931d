"""The service in docs/patterns.md is run, and so is the rest of the page."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ottla import Admin, RequestTimeout
from ottla.kafka.reader import read_topic
from tests.listeners.harness import eventually

PAGE = Path(__file__).resolve().parents[2] / "docs/patterns.md"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kafka_env: None) -> Iterator[ModuleType]:
    """All of the page's code as one module."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 4
    (tmp_path / "patterns_page.py").write_text("\n".join(blocks), "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield importlib.import_module("patterns_page")
    sys.modules.pop("patterns_page").engine.dispose()


async def test_the_service_on_the_page_books_answers_and_schedules(page: ModuleType) -> None:
    app = page.app
    async with app.running():
        for _ in range(2):
            await app.publish(page.OrderPlaced("o-1"), event_id="e-1")

        await eventually(lambda: app.health.wrong() == [], what="readiness")

        async def booked() -> bool:
            try:
                return bool((await page.ask(app)).booked)
            except RequestTimeout:  # a busy machine
                return False

        async with asyncio.timeout(60):
            while not await booked():
                pass
        await page.remind(app)
        settings = app.settings.kafka
        topic = settings.named("bookings")
        await eventually(lambda: topic in Admin(settings).topics(), what="the topic of bookings")
        await eventually(lambda: len(list(read_topic(settings, topic))) == 1, what="the event of the booking")


@pytest.mark.parametrize("form", ["measured", "checked", "counted"])
def test_the_middleware_on_the_page_can_be_put_around_a_handler(page: ModuleType, form: str) -> None:
    app = page.App("other", middleware=[getattr(page, form)])

    @app.listen(page.OrderPlaced)
    def handle(order: object) -> None: ...

    assert len(app.listeners) == 1
