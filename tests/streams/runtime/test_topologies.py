"""A topology that does not fit what the application ran with is refused; `ottla streams` shows and resets."""

from __future__ import annotations

import asyncio
import os

from ottla.streams.app import StreamsApp
from ottla.streams.serdes import TEXT
from ottla.streams.topology.nodes import SourceNode
from ottla.streams.topology.stores import StoreSpec
from ottla.streams.topology.topology import Topology, make_topology
from tests.cli.conftest import Ottla, ottla
from tests.streams.runtime.conftest import Stage, eventually, ready
from tests.streams.runtime.totals import settings_of

__all__ = ["ottla"]

app = StreamsApp("described", make_topology([SourceNode("numbers", ("in",), TEXT, TEXT)], []))


def other(stage: Stage) -> Topology:
    """Without the repartition topic, and with a store of another type."""
    source = SourceNode("numbers", (stage.setup.source,), TEXT, TEXT, stores=("totals",))
    return make_topology([source], [StoreSpec("totals", "key-value", TEXT, TEXT)])


async def test_an_incompatible_topology_is_refused_with_the_way_out_and_taken_after_a_reset(
    local_stage: Stage, ottla: Ottla
) -> None:
    stage = local_stage
    stage.give(30)
    async with stage.running():
        await stage.all_right()
    changed = StreamsApp(stage.setup.name, other(stage), settings=settings_of(stage.setup))
    async with changed.running():
        await eventually(changed.health.dead)
        (reason,) = changed.health.dead()
    assert "store 'totals'" in reason
    assert "repartition topic 'words-repartition' is gone" in reason
    assert f"ottla streams reset {stage.setup.name}" in reason
    # Nothing was touched: the old one goes on.
    stage.give(30)
    async with stage.running():
        await stage.all_right()

    reset = ["streams", "reset", stage.setup.name, "--state-dir", stage.setup.state_dir]
    reset += ["-b", stage.setup.bootstrap_servers]
    shown = await asyncio.to_thread(ottla, *reset, "--dry-run", "--json")
    assert shown.document["topics"] == sorted(
        f"{stage.setup.name}-{name}" for name in ("metadata", "tasks", "totals-changelog", "words-repartition")
    )
    assert shown.document["done"] is False
    folder = stage.folder / "state" / stage.setup.name
    assert shown.document["state"] == str(folder)
    done = await asyncio.to_thread(ottla, *reset, "--yes")
    assert (done.status, "begins anew" in done.out) == (0, True)
    assert not os.path.exists(folder)  # noqa: ASYNC240
    assert stage.setup.name not in stage.admin.groups()
    assert not any(topic.startswith(stage.setup.name) for topic in stage.admin.topics())
    again = await asyncio.to_thread(ottla, *reset, "--yes")
    assert again.status == 1
    assert "there is nothing of a stream application" in again.err
    async with changed.running():
        await ready(changed)


async def test_a_running_application_is_not_reset(local_stage: Stage, ottla: Ottla) -> None:
    async with local_stage.running() as running:
        await ready(running)
        server = ["-b", local_stage.setup.bootstrap_servers]
        refused = await asyncio.to_thread(ottla, "streams", "reset", local_stage.setup.name, "--yes", *server)
    assert refused.status == 1
    assert "stop all its instances first" in refused.err


def test_a_topology_is_described_without_a_cluster(ottla: Ottla) -> None:
    target = "tests.streams.runtime.test_topologies:app"
    shown = ottla("streams", "describe", target)
    assert "numbers" in shown.out
    assert ottla("streams", "describe", target, "--mermaid").out.startswith("flowchart")
    document = ottla("streams", "describe", target, "--json").document
    assert document["application"] == "described"
    assert document["fingerprint"]["subtopologies"]["0"]["sources"] == ["in"]
    refused = ottla("streams", "describe", "tests.streams.runtime.totals:STORE")
    assert refused.status == 1
    assert "no StreamsApp" in refused.err


async def test_what_is_described_is_compared_with_what_ran(local_stage: Stage, ottla: Ottla) -> None:
    global app
    async with local_stage.running() as running:
        await ready(running)
    before, app = app, StreamsApp(local_stage.setup.name, other(local_stage), settings=settings_of(local_stage.setup))
    try:
        target = "tests.streams.runtime.test_topologies:app"
        shown = await asyncio.to_thread(ottla, "streams", "describe", target, "--compare", "--json")
    finally:
        app = before
    assert shown.status == 1
    assert shown.document["compatible"] is False
    assert len(shown.document["reasons"]) >= 2
