"""Restoration and lag, for people and for Prometheus."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ottla.streams.runtime.progress import ProgressDisplay, bar
from ottla.streams.runtime.restoration import Progress, Restorer
from tests.streams.runtime.conftest import Stage, eventually, ready


def test_the_bar_says_which_tasks_and_how_far() -> None:
    assert bar(["0_1"], 500, 2_000) == "restoring 0_1  [#######.......................]  25%  500 of 2,000"
    assert bar(["0_1", "0_2", "0_3", "0_4"], 0, 10).startswith("restoring 0_1, 0_2, 0_3 and 1 more  [....")
    assert "100%" in bar(["0_1"], 0, 0)


class Restoring:
    """An instance that restores for three looks, and then is done."""

    def __init__(self) -> None:
        self.looks = 0
        self.thread = self
        self.ended = False

    def progress(self) -> list[Progress]:
        self.looks += 1
        self.ended = self.looks > 4
        done = self.looks > 3
        return [
            Progress("0_1", "app-s-changelog", 1, False, 100, 100 + self.looks * 100, 500, done, None),
            Progress("0_2", "app-s-changelog", 2, True, 0, 0, 1_000, False, None),
        ]


def test_a_terminal_shows_a_bar_that_moves_and_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    instance: Any = Restoring()
    ProgressDisplay(instance)._run()
    shown = [part for part in capsys.readouterr().err.split("\r\x1b[K") if part]
    assert [part.split("%")[0][-3:].strip() for part in shown] == ["25", "50", "75"]
    assert all("0_2" not in part for part in shown), "a standby copy is nothing to wait for"


async def test_a_restoration_shows_in_metrics_and_health_until_it_is_done(
    local_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = local_stage
    stage.give(90, keys=30)
    async with stage.running():
        await stage.all_right()
    read, go_on = Restorer._read, threading.Event()

    def held(self: Restorer) -> None:
        if go_on.wait(0.01):
            read(self)

    monkeypatch.setattr(Restorer, "_read", held)
    async with stage.running(state_dir=str(stage.folder / "a new machine")) as app:

        def remaining() -> float:
            labels = {"service": stage.setup.name, "changelog": f"{stage.setup.name}-totals-changelog"}
            values = [
                app.metrics.registry.get_sample_value(
                    "ottla_streams_restore_remaining", {**labels, "task": f"1_{task}", "standby": "false"}
                )
                for task in range(3)
            ]
            return sum(value or 0 for value in values)

        await eventually(lambda: remaining() >= 30)
        assert "waits for its state" in "; ".join(app.health.wrong())
        assert app.instance is not None
        ready_tasks = {one.task for one in app.instance.status() if one.state == "running"}
        assert ready_tasks <= {"0_0", "0_1", "0_2"}
        go_on.set()
        await ready(app)
        assert remaining() == 0
        assert app.instance.restored_records >= 30
        assert not app.health.wrong()


async def test_metrics_tell_of_tasks_lag_and_commits(local_stage: Stage) -> None:
    local_stage.give(60)
    async with local_stage.running() as app:
        await local_stage.all_right()
        await ready(app)
        service = local_stage.setup.name

        def value(name: str, **labels: str) -> float | None:
            found: float | None = app.metrics.registry.get_sample_value(name, {"service": service, **labels})
            return found

        await eventually(lambda: all(value("ottla_streams_lag", task=f"1_{n}") == 0 for n in range(3)))
        assert sum(value("ottla_streams_records_processed_total", task=f"1_{n}") or 0 for n in range(3)) == 60
        assert value("ottla_streams_task_running", task="0_2") == 1
        assert (value("ottla_streams_commits_total") or 0) >= 2
        assert value("ottla_streams_rollbacks_total") == 0
