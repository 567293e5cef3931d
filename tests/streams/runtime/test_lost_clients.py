"""A stream application whose clients have lost the brokers for good goes on with new ones (see
tests/contracts/test_lost_clients.py for how they lose them)."""

from __future__ import annotations

from ottla.testing import Broker
from tests.streams.runtime.conftest import Stage, eventually, ready

FORGETFUL = {"metadata.recovery.strategy": "none", "topic.metadata.refresh.interval.ms": 300}


async def test_an_application_goes_on_where_it_was(stage: Stage, broker: Broker) -> None:
    faults = broker.faults
    try:
        async with stage.running(bootstrap_servers=faults.bootstrap_servers, properties=FORGETFUL) as app:
            await ready(app)
            stage.give(100)
            await stage.all_right()
            first = app.instance
            with faults.forget_brokers():
                await eventually(lambda: any("no broker" in reason for reason in app.health.wrong()))
            stage.give(100)
            await eventually(lambda: app.instance not in (None, first))
            await stage.all_right()
            await ready(app)
    finally:
        faults.heal()
