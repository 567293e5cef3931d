"""A stream application on a broker: what comes out, what survives, what is restored."""

from __future__ import annotations

import json
import shutil
import struct
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ottla.errors import KafkaError, RegistryUnavailable, TransactionAborted
from ottla.kafka.stream_producer import ExactlyOnceProducer
from ottla.settings import Settings, StreamsSettings
from ottla.streams import Processor, ProcessorContext, Record, StreamsBuilder
from ottla.streams.app import StreamsApp
from ottla.streams.errors_policy import ErrorHandlers
from ottla.streams.runtime.collector import Collector
from ottla.streams.runtime.membership import Membership
from ottla.streams.runtime.restoration import Restorer
from ottla.streams.task import Task
from tests.streams.runtime.conftest import Stage, eventually, ready
from tests.streams.runtime.totals import settings_of


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_totals_come_out_and_go_on_after_a_restart_without_reading_the_changelog(
    stage: Stage, guarantee: str
) -> None:
    stage.change(guarantee=guarantee)
    stage.give(200)
    async with stage.running():
        await stage.all_right()
    stage.give(100)
    async with stage.running() as app:
        await stage.all_right()
        assert app.instance is not None
        assert app.instance.restored_records == 0


def test_an_application_is_at_least_once_unless_it_or_its_settings_say_more() -> None:
    def guarantee(settings: Settings, exactly_once: bool | None = None) -> str:
        app = StreamsApp("app", StreamsBuilder(), settings=settings, exactly_once=exactly_once)
        return app.settings.streams.guarantee

    once = Settings(streams=StreamsSettings(guarantee="exactly_once"))
    assert guarantee(Settings()) == "at_least_once"
    assert guarantee(once) == "exactly_once"
    assert guarantee(Settings(), exactly_once=True) == "exactly_once"
    assert guarantee(once, exactly_once=False) == "at_least_once"


async def test_a_store_in_memory_is_restored_from_its_changelog(local_stage: Stage) -> None:
    local_stage.change(persistent=False)
    local_stage.give(200)
    async with local_stage.running():
        await local_stage.all_right()
    local_stage.give(50)
    async with local_stage.running() as app:
        await local_stage.all_right()
        assert app.instance is not None
        assert app.instance.restored_records >= 10


async def test_a_store_that_is_behind_reads_only_what_it_lacks(local_stage: Stage) -> None:
    local_stage.give(500, keys=100)
    async with local_stage.running():
        await local_stage.all_right()
    state = Path(local_stage.setup.state_dir)
    shutil.copytree(state, local_stage.folder / "before")
    local_stage.give(20, keys=5)
    async with local_stage.running():
        await local_stage.all_right()
    # As after a crash between the commit and the stores: the state is that of the commit before.
    shutil.rmtree(state)
    shutil.copytree(local_stage.folder / "before", state)
    local_stage.give(100, keys=100)
    async with local_stage.running() as app:
        await local_stage.all_right()
        assert app.instance is not None
        assert 5 <= app.instance.restored_records <= 20


async def test_a_changelog_keeps_one_record_for_a_key_and_commit(local_stage: Stage) -> None:
    local_stage.give(300, keys=3)
    local_stage.change(streams={"commit_interval_s": 1.0})
    async with local_stage.running():
        await local_stage.all_right()
    changelog = local_stage.records(f"{local_stage.setup.name}-totals-changelog")
    assert {record.key for record in changelog} == {b"k-0", b"k-1", b"k-2"}
    assert len(changelog) < 100
    config = local_stage.admin.describe_topic(f"{local_stage.setup.name}-totals-changelog").config
    assert config["cleanup.policy"] == "compact"


async def test_a_transaction_that_fails_is_undone_and_done_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is in the transaction, and it is refused: twice, at different commits."""
    commit, failures = Collector.commit, iter([False, True, True, False, True])

    def refused(self: Collector, offsets: list[Any], group: Any) -> None:
        if next(failures, False):
            raise TransactionAborted("the test wants it so")
        commit(self, offsets, group)

    monkeypatch.setattr(Collector, "commit", refused)
    stage.give(300)
    async with stage.running() as app:
        await stage.all_right()
        stage.give(100)
        await stage.all_right()
        await eventually(lambda: b'ottla_streams_rollbacks_total{service="' in app.metrics.page())
        assert not app.health.wrong()


async def test_the_offsets_tell_the_stream_time(local_stage: Stage) -> None:
    local_stage.give(30)
    async with local_stage.running() as app:
        await local_stage.all_right()
        await ready(app)
        assert app.instance is not None
        times = {one.task: one.stream_time_ms for one in app.instance.status()}
    async with local_stage.running() as app:
        await ready(app)
        assert app.instance is not None
        assert {one.task: one.stream_time_ms for one in app.instance.status()} == times
        assert max(times.values()) > 1_700_000_000_000


async def test_a_poison_record_goes_to_the_dead_letters_and_the_partition_goes_on(local_stage: Stage) -> None:
    local_stage.send(b"\xff\xfe not text", b"k-1 one", b"k-1 1")
    async with local_stage.running():
        await eventually(lambda: local_stage.out() == {"k-1": [1]})
    letters = local_stage.records(f"{local_stage.setup.source}-dlq")
    headers = [dict(letter.headers) for letter in letters]
    assert {one["kafka_dlt-exception-fqcn"] for one in headers} == {b"ottla.errors.DecodeError", b"builtins.ValueError"}
    assert {one["kafka_dlt-original-topic"] for one in headers} == {local_stage.setup.source.encode()}
    assert sorted(letter.value for letter in letters) == [b"k-1 one", b"\xff\xfe not text"]


async def test_a_handler_that_says_to_fail_stops_the_application_and_commits_nothing_of_it(local_stage: Stage) -> None:
    local_stage.send(b"k-1 one")
    async with local_stage.running(ErrorHandlers(processing="fail")) as app:
        await eventually(lambda: any("the stream thread ended" in reason for reason in app.health.dead()))
    assert local_stage.admin.committed(local_stage.setup.name).get((local_stage.setup.source, 0), 0) == 0
    # What is to blame is put right, and nothing was lost.
    async with local_stage.running(ErrorHandlers(processing="continue")) as app:
        local_stage.send(b"k-1 1")
        await eventually(lambda: local_stage.out() == {"k-1": [1]})
        assert not app.health.dead()


@pytest.mark.parametrize("answer", ["continue", "fail", "dead-letter"])
async def test_an_output_that_the_broker_refuses_is_the_production_handlers(stage: Stage, answer: Any) -> None:
    small = {"max.message.bytes": "400"}
    stage.change(sink=f"{stage.setup.sink}-small")
    stage.admin.create_topic(stage.setup.sink, 3, config=small)
    stage.send(b"k-1 1", b"k" * 1000 + b" 1", b"k-2 1")
    async with stage.running(ErrorHandlers(production=answer)) as app:
        if answer == "fail":
            await eventually(lambda: any("production failed" in reason for reason in app.health.dead()))
            return
        await eventually(lambda: stage.out() == {"k-1": [1], "k-2": [1]})
        assert not app.health.dead()
    if answer == "dead-letter":
        (letter,) = stage.records(f"{stage.setup.sink}-dlq")
        assert (letter.key, letter.value) == (b"k" * 1000, struct.pack(">q", 1))
        headers = dict(letter.headers)
        assert headers["kafka_dlt-original-topic"] == stage.setup.sink.encode()
        assert headers["kafka_dlt-original-consumer-group"] == stage.setup.name.encode()
        assert headers["kafka_dlt-exception-fqcn"] == b"ottla.errors.PublishError"
        assert struct.unpack(">i", headers["kafka_dlt-original-partition"]) == (-1,)


async def test_a_dead_letter_that_is_refused_too_stops_the_application(local_stage: Stage) -> None:
    small = {"max.message.bytes": "400"}
    local_stage.change(sink=f"{local_stage.setup.sink}-small")
    local_stage.admin.create_topic(local_stage.setup.sink, 3, config=small)
    local_stage.admin.create_topic(f"{local_stage.setup.sink}-dlq", 3, config=small)
    local_stage.send(b"k" * 1000 + b" 1")
    async with local_stage.running(ErrorHandlers(production="dead-letter")) as app:
        await eventually(lambda: any("production failed" in reason for reason in app.health.dead()))


async def test_processed_records_of_a_repartition_topic_are_deleted(local_stage: Stage) -> None:
    local_stage.give(60)
    topic = f"{local_stage.setup.name}-words-repartition"
    async with local_stage.running() as app:
        await local_stage.all_right()
        instance = app.instance
        assert instance is not None
        await eventually(lambda: not any(task.dirty for task in instance.thread.tasks.values()))
        instance.purge.once(local_stage.admin, list(instance.thread.tasks.values()))
        assert local_stage.records(topic) == []
        local_stage.give(10)
        await local_stage.all_right()


async def test_the_metadata_topic_remembers_the_topology(local_stage: Stage) -> None:
    async with local_stage.running() as app:
        await ready(app)
    (record,) = [one for one in local_stage.records(f"{local_stage.setup.name}-metadata") if one.key == b"topology"]
    assert json.loads(record.value)["tasks"] == ["0_0", "1_0", "0_1", "1_1", "0_2", "1_2"]


async def test_other_tasks_go_on_while_one_waits_for_its_state(
    local_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore, held = Restorer._committed, threading.Event()

    def slow(self: Restorer, places: list[tuple[str, int]]) -> Any:
        if places[0][0].endswith("words-repartition") and not held.is_set():
            raise KafkaError("the test holds it up")
        return restore(self, places)

    monkeypatch.setattr(Restorer, "_committed", slow)
    local_stage.give(90)
    async with local_stage.running() as app:
        topic = f"{local_stage.setup.name}-words-repartition"
        await eventually(lambda: topic in local_stage.admin.topics() and len(local_stage.records(topic)) == 90)
        assert local_stage.out() == {}
        assert "the test holds it up" in "; ".join(app.health.wrong())
        states = {one.task: one.state for one in app.instance.status()} if app.instance else {}
        assert [state for task, state in states.items() if task.startswith("0_")] == ["running"] * 3
        assert [state for task, state in states.items() if task.startswith("1_")] == ["restoring"] * 3
        held.set()
        await local_stage.all_right()
        await ready(app)


async def test_uncommitted_writes_are_committed_before_they_take_too_much_memory(local_stage: Stage) -> None:
    """The interval is an hour: only the size can be the reason."""
    local_stage.change(streams={"commit_interval_s": 3600.0, "uncommitted_bytes_max": 1})
    local_stage.give(1_000, keys=200)
    async with local_stage.running():
        await eventually(lambda: sum(map(len, local_stage.out().values())) >= 100)
    async with local_stage.running(streams={}):
        await local_stage.all_right()


async def test_small_buffers_only_cost_time(local_stage: Stage) -> None:
    local_stage.change(streams={"buffered_records_max": 5, "batch_records": 3})
    local_stage.give(200)
    async with local_stage.running():
        await local_stage.all_right()


async def test_what_was_not_committed_when_the_group_took_the_tasks_away_is_undone(
    local_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group declares the member dead in the middle of its work, and then gives it the tasks again."""
    poll, losses = Membership.poll, iter([False] * 20 + [True] + [False] * 10 + [True])

    def taken_away(self: Membership) -> None:
        poll(self)
        if self.held and next(losses, False):
            tokens = sorted(self.held)
            self._on_lost(tokens)
            self._on_assigned(tokens)

    monkeypatch.setattr(Membership, "poll", taken_away)
    local_stage.give(300)
    async with local_stage.running():
        await local_stage.all_right()
        local_stage.give(300)
        await local_stage.all_right()
        await eventually(lambda: next(losses, None) is None)


async def test_a_task_with_two_topics_does_not_wait_for_the_one_that_is_at_its_end(local_stage: Stage) -> None:
    """The client library says that there are no more records often in one breath with the last of them."""
    stage, other = local_stage, f"{local_stage.setup.source}-other"
    stage.admin.ensure_topics({other: 3})
    stage.give(30)
    builder = StreamsBuilder()
    merged = builder.stream(stage.setup.source, other, key=str, value=str)
    merged.map(lambda _key, value: (value.split()[0], 1), key=str, value=int).to(stage.setup.sink)
    async with StreamsApp(stage.setup.name, builder.build(), settings=settings_of(stage.setup)).running():
        await eventually(lambda: sum(map(len, stage.out().values())) == 30)
        for total in range(35, 60, 5):
            stage.give(5)  # only the one topic gets more
            await eventually(lambda total=total: sum(map(len, stage.out().values())) == total)


class Ticking(Processor[str, str]):
    """Counts time, and reads nothing."""

    def init(self, context: ProcessorContext[str, str]) -> None:
        self.ticks = context.store("ticks")
        context.schedule(timedelta(milliseconds=50), "wall-clock", self.tick)

    def tick(self, _now_ms: int) -> None:
        self.ticks.put("n", (self.ticks.get("n") or 0) + 1)

    def process(self, record: Record[str, str]) -> None:
        """Nothing comes."""


async def test_what_only_timers_wrote_is_committed_only_by_a_member_of_the_group(
    local_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, asked = local_stage, []
    builder = StreamsBuilder()
    builder.add_store("ticks", key=str, value=int)
    builder.stream(stage.setup.source, key=str, value=str).process(Ticking, stores=["ticks"], key=str, value=str)
    send = ExactlyOnceProducer.send_offsets

    def watched(self: ExactlyOnceProducer, offsets: list[Any], group: Any) -> None:
        asked.append({one.topic for one in offsets})
        send(self, offsets, group)

    monkeypatch.setattr(ExactlyOnceProducer, "send_offsets", watched)
    async with StreamsApp(stage.setup.name, builder.build(), settings=settings_of(stage.setup)).running() as app:
        ticks = app.queries.store("ticks", timeout_s=30)
        await eventually(lambda: (ticks.get("n") or 0) >= 3)
    assert {topic for topics in asked for topic in topics} == {f"{stage.setup.name}-tasks"}


async def test_slow_records_do_not_keep_a_transaction_open_for_too_long(local_stage: Stage) -> None:
    """All of them together take longer than the broker lets a transaction be open."""
    stage = local_stage
    stage.change(streams={"transaction_timeout_s": 1.5})
    stage.give(600)
    builder = StreamsBuilder()

    def slowly(_key: str, value: str) -> tuple[str, int]:
        time.sleep(0.005)
        return value.split()[0], 1

    builder.stream(stage.setup.source, key=str, value=str).map(slowly, key=str, value=int).to(stage.setup.sink)
    async with StreamsApp(stage.setup.name, builder.build(), settings=settings_of(stage.setup)).running() as app:
        await eventually(lambda: sum(map(len, stage.out().values())) == 600)
        assert (
            app.metrics.registry.get_sample_value("ottla_streams_rollbacks_total", {"service": stage.setup.name}) == 0
        )


async def test_a_registry_that_does_not_answer_is_no_records_fault(
    local_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, answers = Task.process, iter([True, False, False, True, False])

    def unanswered(self: Task, records: Any) -> None:
        process(self, records)
        if not next(answers, True):
            raise RegistryUnavailable("the test wants it so")

    monkeypatch.setattr(Task, "process", unanswered)
    local_stage.give(200)
    async with local_stage.running() as app:
        await local_stage.all_right()
        await ready(app)
        assert not app.health.dead()
    assert local_stage.records(f"{local_stage.setup.source}-dlq") == []
