"""Several instances: tasks are shared out, stay where they are, and are taken over; copies are warm."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from ottla.streams.app import StreamsApp
from tests.streams.runtime.conftest import Stage, eventually, ready


def tasks(app: StreamsApp) -> set[str]:
    return {one.task for one in app.instance.status()} if app.instance is not None else set()


ALL = {"0_0", "0_1", "0_2", "1_0", "1_1", "1_2"}


async def test_tasks_are_shared_out_and_taken_over_and_the_rest_stay(stage: Stage) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(stage.running(state_dir=str(stage.folder / "a")))
        stage.give(100)
        await stage.all_right()
        assert tasks(first) == ALL
        second_stack = AsyncExitStack()
        second = await second_stack.enter_async_context(stage.running(state_dir=str(stage.folder / "b")))
        await eventually(lambda: len(tasks(first)) == len(tasks(second)) == 3)
        assert tasks(first) | tasks(second) == ALL
        stage.give(100)
        await stage.all_right()
        await second_stack.aclose()
        await eventually(lambda: tasks(first) == ALL)
        stage.give(100)
        await stage.all_right()


async def test_a_standby_copy_takes_over_without_restoring(local_stage: Stage) -> None:
    """The store has much more than what the copy may lack when the task moves."""
    local_stage.change(standbys=1)
    local_stage.give(2_000, keys=500)
    async with AsyncExitStack() as stack:
        first_stack = AsyncExitStack()
        first = await first_stack.enter_async_context(local_stage.running(state_dir=str(local_stage.folder / "a")))
        await local_stage.all_right()
        second = await stack.enter_async_context(local_stage.running(state_dir=str(local_stage.folder / "b")))
        await eventually(lambda: len(tasks(first)) == len(tasks(second)) == 3)
        moving = {task for task in tasks(first) if task.startswith("1_")}
        instance = second.instance
        assert instance is not None
        await eventually(
            lambda: {one.task for one in instance.progress() if one.standby and one.caught_up} == moving,
            "no copies of what the other runs",
        )
        before = instance.restored_records
        await first_stack.aclose()
        await eventually(lambda: tasks(second) == ALL)
        await ready(second)
        assert instance.restored_records - before < 50
        local_stage.give(100, keys=500)
        await local_stage.all_right()


async def test_instances_on_one_machine_hand_state_over_in_the_folder_they_share(local_stage: Stage) -> None:
    local_stage.give(1_000, keys=300)
    async with AsyncExitStack() as stack:
        first_stack = AsyncExitStack()
        await first_stack.enter_async_context(local_stage.running())
        await local_stage.all_right()
        second = await stack.enter_async_context(local_stage.running())
        await eventually(lambda: len(tasks(second)) == 3)
        await ready(second)
        await first_stack.aclose()
        await eventually(lambda: tasks(second) == ALL)
        await ready(second)
        assert second.instance is not None
        assert second.instance.restored_records == 0
        local_stage.give(100)
        await asyncio.wait_for(local_stage.all_right(), 60)


async def test_others_take_over_from_an_instance_that_was_fenced(stage: Stage) -> None:
    """A broker that dies while it answers a join leaves such an instance behind."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(stage.running(state_dir=str(stage.folder / "a")))
        stage.give(100)
        await stage.all_right()
        second = await stack.enter_async_context(stage.running(state_dir=str(stage.folder / "b")))
        await eventually(lambda: len(tasks(first)) == len(tasks(second)) == 3)
        assert first.instance is not None
        thread = first.instance.thread
        double: Any = thread._open_member()
        try:
            double.subscribe([thread._plan.tokens_topic])

            def fenced() -> bool:
                double.poll(0)
                return thread.died is not None

            await eventually(fenced, "the instance goes on")
        finally:
            double.close()
        assert "fenced" in (thread.died or "")
        await eventually(lambda: tasks(second) == ALL, "the fenced instance keeps its tasks")
        stage.give(100)
        await stage.all_right()
