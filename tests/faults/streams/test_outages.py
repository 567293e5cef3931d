"""A stream application whose brokers go and come back, also while it has nothing to do."""

from __future__ import annotations

from pathlib import Path

from ottla.testing import EmbeddedBroker
from tests.streams.runtime.conftest import Stage, eventually, ready


async def test_an_application_says_that_brokers_are_away_and_goes_on_when_they_are_back(
    topic_name: str, tmp_path: Path
) -> None:
    with EmbeddedBroker() as broker:
        stage = Stage(broker, topic_name, tmp_path)
        stage.give(50)
        async with stage.running() as app:
            await stage.all_right()
            await ready(app)
            broker.kill()
            await eventually(lambda: any("no broker answers" in reason for reason in app.health.wrong()))
            broker.start()
            # Nothing comes in: that all is well must show by itself.
            await eventually(lambda: not app.health.wrong(), f"{app.health.wrong()}")
            assert not app.health.dead()
            stage.give(50)
            await stage.all_right()
