"""The registry down at start: services wait and say so, then continue."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.running_pipeline import eventually, health, pipeline_in, place_an_order, shipped


def test_services_wait_for_the_registry_and_say_so_then_continue(tmp_path: Path) -> None:
    with pipeline_in(tmp_path) as pipeline:
        pipeline.supervisor.start(pipeline.broker_command())
        pipeline.supervisor.wait_ready("broker", timeout_s=20)
        for service in pipeline.services.values():
            pipeline.supervisor.start(pipeline.service_command(service))
        for name in pipeline.services:
            waiting = f"waiting for the schema registry at {pipeline.registry_url}"
            eventually(lambda name=name, said=waiting: said in str(health(pipeline, name)), f"{name} says: {waiting}")
            status, body = health(pipeline, name)
            assert status == 503
            assert body["status"] == "starting"
            logged = re.compile(f"waiting for the schema registry.*{re.escape(pipeline.registry_url)}")
            log = pipeline.supervisor[name].log_file
            eventually(lambda log=log, logged=logged: logged.search(log.read_text()), f"{log} says that it waits")
        pipeline.supervisor.start(pipeline.registry_command())
        pipeline.supervisor.wait_ready(timeout_s=30)
        place_an_order(pipeline)
        eventually(lambda: shipped(pipeline) == 1, "the order was shipped")
        assert pipeline.crashes == []


def test_services_wait_for_the_broker_and_say_so_then_continue(tmp_path: Path) -> None:
    with pipeline_in(tmp_path) as pipeline:
        pipeline.supervisor.start(pipeline.registry_command())
        for service in pipeline.services.values():
            pipeline.supervisor.start(pipeline.service_command(service))
        waiting = f"waiting for the broker at {pipeline.bootstrap_servers}"
        for name in pipeline.services:
            eventually(lambda name=name: waiting in str(health(pipeline, name)), f"{name} says: {waiting}")
        pipeline.supervisor.start(pipeline.broker_command())
        pipeline.supervisor.wait_ready(timeout_s=30)
        place_an_order(pipeline)
        eventually(lambda: shipped(pipeline) == 1, "the order was shipped")
        assert pipeline.crashes == []
