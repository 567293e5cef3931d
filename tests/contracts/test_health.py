"""Contract: a service that looks healthy and does nothing cannot exist. Each test breaks it in one way: health is red
within ten seconds, in words that name the cause, and green again once it is mended.

What counts as stuck, and the times between two looks, are shortened to keep the suite quick; OTTLA_STUCK_AFTER=8 runs
it with the defaults (`make soak`). What breaks within the service alone is broken on the embedded broker alone.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from confluent_kafka import TopicPartition

from ottla import Admin, App, Producer, Settings, per_key
from ottla.listeners.runner import ListenerRunner
from ottla.listeners.watch import Watch
from ottla.testing import Broker
from ottla.testing.faults import Faults
from tests.contracts.clients import create_topic, set_topic_config, wait_until
from tests.listeners.harness import World

STUCK_AFTER_S = float(os.environ.get("OTTLA_STUCK_AFTER", "0.8"))
RED_WITHIN_S = 10.0

within = pytest.mark.parametrize("broker_kind", ["embedded"], scope="session")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    if STUCK_AFTER_S < 8:
        monkeypatch.setattr("ottla.listeners.runner.LAG_INTERVAL_S", 0.1)
        monkeypatch.setattr("ottla.listeners.watch.LOOK_S", 0.1)
        monkeypatch.setattr("ottla.listeners.watch.ASK_S", 0.2)


@pytest.fixture
def faults(broker: Broker) -> Iterator[Faults]:
    yield broker.faults
    broker.faults.heal()
    broker.faults.kill_connections()


@pytest.fixture
def settings(world: World, faults: Faults) -> Settings:
    """Those of a world, through the door where faults are."""
    changed = msgspec.structs.replace
    return changed(
        world.settings,
        kafka=changed(world.settings.kafka, bootstrap_servers=faults.bootstrap_servers),
        listener=changed(world.settings.listener, stuck_after_s=STUCK_AFTER_S, drain_timeout_s=1.0),
    )


@contextmanager
def running(app: App) -> Iterator[asyncio.AbstractEventLoop]:
    """Runs an app on a loop and a thread of its own: what blocks it does not block the test."""
    loops: list[asyncio.AbstractEventLoop] = []
    stop = threading.Event()

    async def run() -> None:
        async with app.running():
            loops.append(asyncio.get_running_loop())
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        wait_until(lambda: loops and app.health.started and app.health.wrong() == [], what="the service is ready")
        yield loops[0]
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


@contextmanager
def breaking(app: App, reason: str) -> Iterator[None]:
    """What is done in the block breaks the service. Mending it is what comes after the block."""
    yield
    wait_until(
        lambda: any(reason in one for one in app.health.wrong()),
        what=f"health says {reason!r}",
        timeout_s=RED_WITHIN_S,
    )


def is_green(app: App) -> None:
    wait_until(lambda: app.health.wrong() == [], what="health is green again")


def publish(world: World, *ids: str) -> None:
    """Publishes orders past the door."""
    with Producer(world.settings) as producer:
        producer.publish_many(world.Ordered(one) for one in ids)


class Gate:
    """Holds handlers up while it is closed."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.seen: list[str] = []

    def pass_through(self, order: Any) -> None:
        self.open.wait(60)
        self.seen.append(order.order_id)


def listening(world: World, settings: Settings, handler: Callable[[Any], Any] | None = None, **options: Any) -> App:
    app = App(world.group, settings=settings, events=[world.Cancelled])
    app.listen(world.Ordered, name="note", **options)(handler or (lambda order: None))
    return app


@within
def test_a_handler_that_hangs_in_its_thread(world: World, settings: Settings) -> None:
    gate = Gate()
    app = listening(world, settings, gate.pass_through)
    with running(app):
        with breaking(app, f"{world.orders}[0] has stood at offset 0"):
            gate.open.clear()
            publish(world, "o-1")
        gate.open.set()
        is_green(app)
        assert gate.seen == ["o-1"]


@within
def test_a_handler_that_awaits_for_ever(world: World, settings: Settings) -> None:
    events: list[asyncio.Event] = []

    async def hang(order: Any) -> None:
        events.append(asyncio.Event())
        await events[-1].wait()

    app = listening(world, settings, hang)
    with running(app) as loop:
        with breaking(app, "has stood at offset 0"):
            publish(world, "o-1")
        loop.call_soon_threadsafe(lambda: events[0].set())
        is_green(app)


@within
def test_one_key_that_hangs_while_the_others_go_on(world: World, settings: Settings) -> None:
    gate = Gate()

    def one_hangs(order: Any) -> None:
        if order.order_id == "o-1":
            gate.open.wait(60)
        gate.seen.append(order.order_id)

    app = listening(world, settings, one_hangs, order=per_key(4))
    with running(app):
        with breaking(app, "has stood at offset 0"):
            gate.open.clear()
            publish(world, "o-1", *(f"o-{n}" for n in range(2, 30)))
        assert len(gate.seen) == 28
        gate.open.set()
        is_green(app)


@within
def test_a_handler_that_blocks_the_event_loop(world: World, settings: Settings) -> None:
    gate = Gate()

    async def block(order: Any) -> None:
        gate.pass_through(order)

    app = listening(world, settings, block)
    with running(app):
        with breaking(app, "the event loop has been blocked"):
            gate.open.clear()
            publish(world, "o-1")
        gate.open.set()
        is_green(app)


@within
def test_all_handler_threads_taken(world: World, settings: Settings) -> None:
    create_topic(world.broker, world.orders, partitions=2)
    gate = Gate()
    listener = msgspec.structs.replace(settings.listener, sync_threads=1)
    app = listening(world, msgspec.structs.replace(settings, listener=listener), gate.pass_through)
    with running(app):
        gate.open.clear()
        with breaking(app, f"{world.orders}[1] has stood"):
            publish(world, *(f"o-{n}" for n in range(20)))
        gate.open.set()
        is_green(app)


def test_a_broker_that_fetches_nothing(world: World, settings: Settings, faults: Faults) -> None:
    gate = Gate()
    app = listening(world, settings, gate.pass_through)
    with running(app):
        publish(world, "o-1")
        wait_until(lambda: gate.seen == ["o-1"], what="the first order")
        with breaking(app, "has 1 records to fetch from offset 1 on"):
            hung = faults.delay("Fetch", 60)
            hung.wait()
            publish(world, "o-2")
        hung.heal()
        faults.kill_connections()
        is_green(app)
        wait_until(lambda: gate.seen == ["o-1", "o-2"], what="the second order")


@within
def test_a_partition_that_was_paused_behind_our_back(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll, steps = ListenerRunner._poll, list[str]()

    def steer(self: ListenerRunner) -> None:
        """On the consumer's own thread."""
        while steps:
            getattr(self._consumer, steps.pop())([TopicPartition(world.orders, 0)])
        poll(self)

    monkeypatch.setattr(ListenerRunner, "_poll", steer)
    app = listening(world, settings)
    with running(app):
        place = world.orders, 0
        wait_until(lambda: place in app._runner.positions(), what="it is watched")  # type: ignore[union-attr]
        wait_until(lambda: app._runner.positions()[place].position == 0, what="its end")  # type: ignore[union-attr]
        steps.append("pause")
        wait_until(lambda: not steps, what="the pause")
        with breaking(app, "records to fetch"):
            publish(world, "o-1")
        steps.append("resume")
        is_green(app)


def test_commits_that_are_refused(world: World, settings: Settings, faults: Faults) -> None:
    app = listening(world, settings)
    with running(app):
        with breaking(app, "offsets could not be committed"):
            refusal = faults.error("OffsetCommit", "TOPIC_AUTHORIZATION_FAILED", times=None)
            publish(world, "o-1")
        refusal.heal()
        is_green(app)
        wait_until(lambda: world.committed(world.orders) == 1, what="the commit")


def test_commits_without_an_answer(world: World, settings: Settings, faults: Faults) -> None:
    app = listening(world, settings)
    with running(app):
        with breaking(app, "a commit of offsets has had no answer"):
            hung = faults.delay("OffsetCommit", 60)
            publish(world, "o-1")
        hung.heal()
        faults.kill_connections()
        is_green(app)


def test_a_dead_letter_topic_that_takes_nothing(world: World, settings: Settings) -> None:
    grave = f"{world.orders}-dlq"
    create_topic(world.broker, world.orders)
    create_topic(world.broker, grave, max_message_bytes="100")

    def fail(order: Any) -> None:
        raise ValueError("bad order")

    app = listening(world, settings, fail)
    with running(app):
        with breaking(app, f"{grave} does not take the dead letter of {world.orders}[0]@0"):
            publish(world, "o-1")
        set_topic_config(world.broker, grave, "max.message.bytes", "1000000")
        is_green(app)
        wait_until(lambda: world.dead_letters(world.orders), what="the dead letter")


@within
def test_a_consumer_thread_that_died(world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    app = listening(world, settings)
    with running(app):
        with monkeypatch.context() as patch, breaking(app, "the consumer thread ended: ZeroDivisionError"):
            patch.setattr(ListenerRunner, "_poll", lambda self: 1 / 0)
        assert app.health.dead() == ["the consumer thread ended: ZeroDivisionError: division by zero"]
    with running(app):  # only a restart mends it
        assert app.health.dead() == []


@within
def test_a_consumer_thread_that_hangs(world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    poll = ListenerRunner._poll

    def hang(self: ListenerRunner) -> None:
        gate.open.wait(60)
        poll(self)

    app = listening(world, settings)
    with running(app):
        with breaking(app, "the consumer thread has not come round"):
            gate.open.clear()
            monkeypatch.setattr(ListenerRunner, "_poll", hang)
        gate.open.set()
        is_green(app)


@within
def test_a_watch_that_watches_no_more(world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Watch, now: float) -> Iterator[tuple[str, str]]:
        raise ZeroDivisionError

    app = listening(world, settings)
    with running(app):
        with monkeypatch.context() as patch, breaking(app, "nobody has looked after this service"):
            patch.setattr(Watch, "_reasons", fail)
            wait_until(lambda: app.health.wrong(), what="red")
        is_green(app)


def test_a_group_that_gives_no_partitions(world: World, settings: Settings, faults: Faults) -> None:
    app = listening(world, settings)
    with running(app):
        with breaking(app, "the group has given no partitions"):
            refusal = faults.error("JoinGroup", "COORDINATOR_NOT_AVAILABLE", times=None)
            expelled = faults.error("Heartbeat", "UNKNOWN_MEMBER_ID", times=None)
        expelled.heal()
        refusal.heal()
        is_green(app)


def test_a_member_without_partitions_is_well_where_there_are_none_left(world: World, settings: Settings) -> None:
    create_topic(world.broker, world.orders)
    first, second = listening(world, settings), listening(world, settings)
    with running(first), running(second):
        wait_until(
            lambda: len((first._runner.positions() if first._runner else {}).keys()) +
            len((second._runner.positions() if second._runner else {}).keys()) == 1,
            what="one has the partition",
        )  # fmt: skip
        time.sleep(2 * STUCK_AFTER_S)  # what must not happen needs time to happen
        assert first.health.wrong() == second.health.wrong() == []


def test_a_broker_that_takes_requests_and_answers_none(world: World, settings: Settings, faults: Faults) -> None:
    app = listening(world, settings)
    with running(app):
        with breaking(app, "no broker has answered for"):
            hung = faults.delay(None, 60)
        hung.heal()
        faults.kill_connections()
        is_green(app)


def test_a_broker_that_is_gone_for_a_service_that_only_publishes(
    world: World, settings: Settings, faults: Faults
) -> None:
    app = App(world.group, settings=settings, events=[world.Ordered])
    with running(app):
        with faults.unavailable(), breaking(app, "no broker has answered for"):
            pass
        is_green(app)


def test_records_that_nobody_acknowledges(world: World, settings: Settings, faults: Faults) -> None:
    app = App(world.group, settings=settings, events=[world.Ordered])
    with running(app) as loop:
        with breaking(app, "1 records wait to be acknowledged"):
            refusal = faults.error("Produce", "NOT_ENOUGH_REPLICAS", times=None)
            asyncio.run_coroutine_threadsafe(app.send(world.Ordered("o-1")), loop).result(30)
        refusal.heal()
        is_green(app)
    assert len(world.records(world.orders)) == 1


@within
def test_a_producer_with_a_fatal_error(world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    app = App(world.group, settings=settings, events=[world.Ordered])
    with running(app):
        producer = app._producer
        assert producer is not None
        with breaking(app, "the producer cannot go on: sequence lost"):
            producer.fatal = "sequence lost"
        assert app.health.dead() == ["the producer cannot go on: sequence lost"]
    with running(app):  # only a restart mends it
        assert app.health.dead() == []


def test_a_topic_that_was_deleted(world: World, settings: Settings) -> None:
    app = listening(world, settings)
    with running(app):
        with breaking(app, f"topic {world.orders} cannot be read"):
            Admin(world.settings.kafka).delete_topics([world.orders])
        create_topic(world.broker, world.orders)
        is_green(app)
