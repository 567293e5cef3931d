"""The application and the questions of docs/stream-applications.md, run as they stand there."""

from __future__ import annotations

import asyncio
import importlib
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ottla import RegistryClient
from ottla.kafka.producer import Producer
from ottla.serde import Serializer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "stream-applications.md"


async def test_the_application_in_the_page_adds_up_and_answers(
    kafka_env: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTTLA_STREAMS__STATE_DIR", str(tmp_path))
    application, questions = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "page_application.py").write_text(application, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    module: Any = importlib.import_module("page_application")
    app, paid = module.app, module.PaymentTaken
    async with app.running():
        producer = Producer(app.settings.kafka)
        serializer = Serializer(RegistryClient(app.settings.registry.url))
        for number in range(10):
            event = paid(str(number), "17850", Decimal("1.50"))
            producer.send(
                app.settings.kafka.named("payments"),
                serializer.encode(event, "payments"),
                key=event.payment_id.encode(),
            )
        producer.close()
        deadline = time.monotonic() + 60
        while await asyncio.to_thread(lambda: _total(app)) != 15:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        await asyncio.to_thread(exec, questions, {"app": app})


def _total(app: Any) -> Any:
    found = app.queries.store("paid", timeout_s=30).get("17850")
    return found and found.value


def test_every_setting_of_streams_has_its_place() -> None:
    """The page names those that need a word; all are explained by `ottla config show`."""
    from ottla import StreamsSettings

    named = set(re.findall(r"streams\.(\w+)", PAGE.read_text("utf-8")))
    assert named <= set(StreamsSettings.__struct_fields__) | {"session_timeout_s"}
