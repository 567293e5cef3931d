"""Retries through topics, on the embedded broker and on Apache Kafka. A checker reads order and due times."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import Counter, defaultdict
from typing import Any

import msgspec
import pytest

from ottla import App, ConfigurationError, Context, Retry, RetryTopics, fixed, per_key, unordered
from tests.listeners.harness import World, eventually, headers_of, service

LONG = int(os.environ.get("OTTLA_ROUNDS", "2")) > 2
"""In the long run every way of handling is tried with every other; else each of them once."""

ONCE = ["at-least-once", "exactly-once"]
WAYS = [(kind, order, once) for kind in ("sync", "async") for order in ("per_partition", "per_key") for once in ONCE]
SOME = [("sync", "per_partition", ONCE[0]), ("async", "per_key", ONCE[1]), ("sync", "per_key", ONCE[0])]
KINDS = pytest.mark.parametrize("kind", ["sync", "async"] if LONG else ["async"])


def through_topics(*delays: float, keep: bool = False, attempts: int = 1, **more: Any) -> Retry:
    return Retry(attempts=attempts, backoff=fixed(0.01), topics=RetryTopics(delays, keep_key_order=keep), **more)


def listen(app: App, kind: str, handle: Any, event: type, **options: Any) -> None:
    """The same handler, plain or async."""
    if kind == "sync":
        app.listen(event, name="handle", **options)(handle)
        return

    @app.listen(event, name="handle", **options)
    async def later(order: Any, ctx: Context) -> Any:
        return handle(order, ctx)


@KINDS
async def test_the_partition_goes_on_while_a_record_waits_in_a_retry_topic(world: World, kind: str) -> None:
    app, calls = service(world), list[tuple[str, int, float]]()

    def handle(order: Any, ctx: Context) -> None:
        calls.append((order.order_id, ctx.attempt, time.time()))
        if order.order_id == "bad" and ctx.attempt < 3:
            raise TimeoutError("the other system is slow")

    listen(app, kind, handle, world.Ordered, retry=through_topics(0.4, 0.8))
    async with app.running():
        for name in ("bad", "good-1", "good-2"):
            await app.publish(world.Ordered(name), event_id=f"e-{name}")
        await eventually(lambda: [name for name, _, _ in calls].count("bad") == 3, what="the third attempt")
        await eventually(lambda: world.committed(f"{world.orders}-retry-2") == 1, what="the last commit")
    assert [name for name, _, _ in calls] == ["bad", "good-1", "good-2", "bad", "bad"]
    labels = f'handler="handle",service="{world.group}",topic="{world.orders}"'
    assert f"ottla_records_parked_total{{{labels}}} 2.0" in app.metrics.page().decode()
    times = [at for name, _, at in calls if name == "bad"]
    assert times[1] - times[0] >= 0.4
    assert times[2] - times[1] >= 0.8
    assert world.dead_letters(world.orders) == []
    (first,) = world.records(f"{world.orders}-retry-1")
    (second,) = world.records(f"{world.orders}-retry-2")
    (original, *_) = world.records(world.orders)
    for copy, attempts in ((first, b"1"), (second, b"2")):
        headers = headers_of(copy)
        assert (copy.key, copy.value) == (original.key, original.value)
        assert headers["ce_id"] == b"e-bad"
        assert headers["ottla-retry-attempts"] == attempts
        assert headers["ottla-retry-first-failure"] == b"builtins.TimeoutError: the other system is slow"
        assert headers["ottla-retry-origin"].startswith(f"{world.orders}/0/0/{original.timestamp_ms}/".encode())
        assert headers["ottla-retry-group"] == world.group.encode()
    assert int(headers_of(second)["ottla-retry-due-ms"]) <= times[2] * 1000


@KINDS
async def test_after_the_last_retry_topic_the_record_is_a_dead_letter_that_names_its_own_place(
    world: World, kind: str
) -> None:
    app, calls = service(world), list[int]()

    def handle(order: Any, ctx: Context) -> None:
        calls.append(ctx.attempt)
        raise ValueError("never")

    listen(app, kind, handle, world.Ordered, retry=through_topics(0.05, 0.05, attempts=2))
    async with app.running():
        await app.publish(world.Ordered("bad"), event_id="e-bad")
        (letter,) = await eventually(lambda: world.dead_letters(world.orders), what="the dead letter")
    headers = headers_of(letter)
    assert calls == [1, 2, 3, 4]
    assert headers["kafka_dlt-original-topic"] == world.orders.encode()
    assert headers["kafka_dlt-original-offset"] == (0).to_bytes(8)
    assert (headers["ottla-attempts"], headers["ottla-event-id"]) == (b"4", b"e-bad")
    assert not [name for name in headers if name.startswith("ottla-retry")]


async def test_only_the_exceptions_that_are_named_go_through_topics(world: World) -> None:
    app, calls = service(world), Counter[str]()
    topics = RetryTopics([0.05], only=(TimeoutError,))

    @app.listen(world.Ordered, retry=Retry(attempts=2, backoff=fixed(0.01), only=(OSError,), topics=topics))
    def handle(order: Any) -> None:
        calls[order.order_id] += 1
        raise {"timeout": TimeoutError, "value": ValueError, "system": OSError}[order.order_id]

    async with app.running():
        for name in ("timeout", "value", "system"):
            await app.publish(world.Ordered(name))
        await eventually(lambda: len(world.dead_letters(world.orders)) == 3, what="three dead letters")
    assert calls == Counter({"timeout": 3, "value": 1, "system": 2})
    assert len(world.records(f"{world.orders}-retry-1")) == 1


class Checker:
    """Fails some records some times, and knows afterwards whether the order of each key was kept.

    A record is done when a call of it ended well, or was its last. It may be called again then: redelivery is no
    disorder. But nothing of its key may be called before it is done.
    """

    def __init__(self, failing: dict[tuple[str, int], int]) -> None:
        self._failing = failing
        self._lock = threading.Lock()
        self.calls: list[tuple[str, int, int, float]] = []
        self.done: dict[str, list[int]] = defaultdict(list)
        self.disorder: list[str] = []
        self.early: list[str] = []
        self.due: dict[tuple[str, int], float] = {}
        self.delays: tuple[float, ...] = ()
        self.last = 10_000

    def handle(self, order: Any, ctx: Context) -> None:
        key, number = order.order_id, order.quantity
        with self._lock:
            now = time.time()
            self.calls.append((key, number, ctx.attempt, now))
            missing = [before for before in range(number) if before not in self.done[key]]
            if missing:
                self.disorder.append(f"{key}/{number} was called before {missing}")
            if now < self.due.pop((key, number), 0.0):
                self.early.append(f"{key}/{number}, attempt {ctx.attempt}")
            fails = self._failing.get((key, number), 0)
            if ctx.attempt <= fails:
                if ctx.attempt <= len(self.delays):
                    self.due[key, number] = now + self.delays[ctx.attempt - 1]
                if ctx.attempt == self.last:
                    self.done[key].append(number)
                raise TimeoutError(f"attempt {ctx.attempt} of {key}/{number}")
            self.done[key].append(number)

    def first_done(self, key: str) -> list[int]:
        return list(dict.fromkeys(self.done[key]))


@pytest.mark.parametrize(("kind", "order", "guarantee"), WAYS if LONG else SOME)
async def test_later_records_of_a_parked_key_wait_behind_it_and_other_keys_go_on(
    world: World, kind: str, order: str, guarantee: str
) -> None:
    app = service(world)
    check = Checker({("a", 0): 3, ("a", 2): 1, ("b", 1): 2})
    check.delays = (0.3, 0.3, 0.3)
    options: dict[str, Any] = {"order": per_key(4)} if order == "per_key" else {}
    listen(
        app,
        kind,
        check.handle,
        world.Ordered,
        retry=through_topics(*check.delays, keep=True),
        exactly_once=guarantee == "exactly-once",
        **options,
    )
    async with app.running():
        for number in range(4):
            for key in ("a", "b", "c"):
                await app.publish(world.Ordered(key, number))
        await eventually(lambda: len(check.done["a"]) == len(check.done["b"]) == 4, what="all of a and b")
        await eventually(lambda: world.committed(world.orders) >= 12, what="the commit")
    assert check.disorder == []
    assert check.early == []
    assert [check.first_done(key) for key in "abc"] == [[0, 1, 2, 3]] * 3
    calls = [(key, number) for key, number, _, _ in check.calls]
    assert calls.index(("c", 3)) < calls.index(("a", 1)), "another key waited"
    assert Counter(calls) == Counter({(key, n): 1 for key in "abc" for n in range(4)}) + Counter(
        {("a", 0): 3, ("a", 2): 1, ("b", 1): 2}
    )


@pytest.mark.parametrize("guarantee", ONCE if LONG else ONCE[1:])
async def test_a_record_that_waits_is_written_once_to_wait_however_often_those_before_it_fail(
    world: World, guarantee: str
) -> None:
    count = 200 if LONG else 60
    failing = {("a", number): 2 for number in range(0, count, 10)}
    check, app = Checker(failing), service(world)
    options = {"retry": through_topics(0.05, 0.05, keep=True), "exactly_once": guarantee == "exactly-once"}
    listen(app, "sync", check.handle, world.Ordered, **options)
    async with app.running():
        await app.publish_many([world.Ordered(key, number) for number in range(count) for key in ("a", "b")])
        await eventually(lambda: len(check.done["a"]) == count, what="all of a", within_s=120)
        assert check.done["b"] == list(range(count))
        waiting = f"{world.orders}-retry-waiting"
        await eventually(lambda: world.committed(waiting) >= len(world.records(waiting)) > 0, what="the last commit")
    assert check.disorder == []
    assert check.done["a"] == list(range(count))
    written = Counter(
        int(headers_of(copy)["ottla-retry-origin"].split(b"/")[2])
        for topic in (waiting, f"{world.orders}-retry-1", f"{world.orders}-retry-2")
        for copy in world.records(topic)
    )
    own = Counter({2 * number: failures for (_, number), failures in failing.items()})
    more = written - own
    assert not own - written
    assert set(more.values()) == {1}, "to wait"
    assert len(more) < count


async def test_a_record_that_waited_behind_another_has_all_of_its_own_attempts(world: World) -> None:
    app, calls = service(world), list[tuple[int, int]]()

    @app.listen(world.Ordered, retry=through_topics(0.1, 0.1, keep=True))
    def handle(order: Any, ctx: Context) -> None:
        calls.append((order.quantity, ctx.attempt))
        raise ValueError("never")

    async with app.running():
        for number in range(3):
            await app.publish(world.Ordered("same", number))
        await eventually(lambda: len(world.dead_letters(world.orders)) == 3, what="three dead letters")
    assert calls == [(number, attempt) for number in range(3) for attempt in (1, 2, 3)]


@pytest.mark.parametrize("once", [False, True] if LONG else [True])
async def test_a_batch_parks_the_record_at_fault_and_those_of_its_key(world: World, once: bool) -> None:
    app = service(world)
    check = Checker({("a", 1): 2})
    sizes = list[int]()

    @app.listen(world.Ordered, batch=50, retry=through_topics(0.2, 0.2, keep=True), exactly_once=once)
    def handle(orders: list[Any], contexts: list[Context]) -> None:
        sizes.append(len(orders))
        if len(orders) > 1 and any((one.order_id, one.quantity) == ("a", 1) for one in orders):
            raise TimeoutError("somewhere in the batch")
        for one, ctx in zip(orders, contexts, strict=True):
            check.handle(one, ctx)

    async with app.running():
        await asyncio.gather(*(app.publish(world.Ordered(key, 0)) for key in "abc"))
        await asyncio.gather(*(app.publish(world.Ordered(key, 1)) for key in "abc"))
        await asyncio.gather(*(app.publish(world.Ordered(key, 2)) for key in "abc"))
        await eventually(lambda: len(check.done["a"]) == 3, what="all of a")
        await eventually(lambda: world.committed(world.orders) >= 9, what="the commit")
    assert check.disorder == []
    assert [check.first_done(key) for key in "abc"] == [[0, 1, 2]] * 3


async def test_a_record_that_waits_is_not_handled_before_it_is_due_by_a_service_that_started_again(
    world: World,
) -> None:
    first, second, check = service(world), service(world), Checker({("a", 0): 1})
    check.delays = (2.0,)
    for app in (first, second):
        listen(app, "sync", check.handle, world.Ordered, retry=through_topics(2.0, keep=True))
    async with first.running():
        await first.publish(world.Ordered("a", 0))
        await first.publish(world.Ordered("a", 1))
        await eventually(lambda: world.committed(world.orders) == 2, what="both parked")
    async with second.running():
        await second.publish(world.Ordered("a", 2))
        await second.publish(world.Ordered("b", 0))
        await eventually(lambda: check.done["b"] == [0], what="the other key")
        await eventually(lambda: len(check.done["a"]) == 3, what="all of a")
    assert (check.disorder, check.early) == ([], [])
    assert check.first_done("a") == [0, 1, 2]
    assert Counter((key, number) for key, number, _, _ in check.calls)["a", 0] == 2


@pytest.mark.parametrize("once", [False, True] if LONG else [False])
async def test_the_order_of_keys_is_kept_while_members_come_and_go(world: World, once: bool) -> None:
    world.partitions = 4
    chance = random.Random(7)
    keys, each = [f"k-{n}" for n in range(12 if LONG else 6)], 25 if LONG else 9
    failing = {(key, n): chance.choice([1, 2]) for key in keys for n in range(each) if chance.random() < 0.15}
    check = Checker(failing)
    check.delays = (0.3, 0.5)

    def member() -> App:
        app = service(world)
        listen(
            app,
            "sync",
            check.handle,
            world.Ordered,
            retry=through_topics(*check.delays, keep=True),
            order=per_key(4),
            exactly_once=once,
        )
        return app

    first, second, third = member(), member(), member()
    async with first.running():
        for n in range(each // 3):
            await asyncio.gather(*(first.publish(world.Ordered(key, n)) for key in keys))
        async with second.running():
            for n in range(each // 3, each * 2 // 3):
                await asyncio.gather(*(first.publish(world.Ordered(key, n)) for key in keys))
            await eventually(lambda: second._runner and second._runner.positions(), what="its partitions")
            async with third.running():
                for n in range(each * 2 // 3, each):
                    await asyncio.gather(*(first.publish(world.Ordered(key, n)) for key in keys))
                await eventually(lambda: third._runner and third._runner.positions(), what="its partitions")
        await eventually(lambda: all(len(set(check.done[key])) == each for key in keys), what="all", within_s=60)
    assert (check.disorder, check.early) == ([], [])
    assert {key: check.first_done(key) for key in keys} == {key: list(range(each)) for key in keys}
    assert world.dead_letters(world.orders) == []


async def test_nothing_waits_behind_a_record_that_a_newer_version_of_the_service_passes_over(world: World) -> None:
    older, newer, seen = service(world), service(world, events=[world.Ordered]), list[str]()

    @older.listen(world.Ordered, world.Cancelled, retry=through_topics(0.5, keep=True))
    def refuse(one: Any) -> None:
        raise TimeoutError

    @newer.listen(world.Cancelled, retry=through_topics(0.5, keep=True))
    def note(cancelled: Any) -> None:
        seen.append(cancelled.order_id)

    async with older.running():
        await older.publish(world.Ordered("same"))
        await older.publish(world.Cancelled("same"))
        await eventually(lambda: world.committed(world.orders) == 2, what="the parking")
    async with newer.running():
        await eventually(lambda: seen == ["same"], what="the one that waited")


async def test_each_group_has_retries_of_its_own_in_the_same_topic(world: World) -> None:
    failing, other, calls = service(world), App(f"{world.group}-other", settings=world.settings), Counter[str]()

    @failing.listen(world.Ordered, retry=through_topics(0.1))
    def fail_once(order: Any, ctx: Context) -> None:
        calls["failing"] += 1
        if ctx.attempt == 1:
            raise TimeoutError

    @other.listen(world.Ordered, retry=through_topics(0.1))
    def note(order: Any) -> None:
        calls["other"] += 1

    async with failing.running(), other.running():
        await failing.publish(world.Ordered("o-1"))
        admin = world.admin
        copies = (f"{world.orders}-retry-1", 0)
        await eventually(lambda: admin.committed(world.group).get(copies) == 1, what="the retry")
        await eventually(lambda: admin.committed(f"{world.group}-other").get(copies) == 1, what="the passing over")
    assert calls == Counter({"failing": 2, "other": 1})


async def test_what_somebody_else_wrote_to_a_retry_topic_is_dead_lettered(world: World) -> None:
    app = service(world)

    @app.listen(world.Ordered, retry=through_topics(0.1))
    def note(order: Any) -> None: ...

    async with app.running():
        await eventually(lambda: f"{world.orders}-retry-1" in world.admin.topics())
        world.write(f"{world.orders}-retry-1", b"what is this")
        (letter,) = await eventually(lambda: world.dead_letters(world.orders), what="the dead letter")
    assert b"ottla-retry" in headers_of(letter)["kafka_dlt-exception-message"]


async def test_handlers_of_a_topic_agree_on_its_retry_topics(world: World) -> None:
    app = service(world)

    @app.listen(world.Ordered, retry=through_topics(1, 2))
    def one(order: Any) -> None: ...

    @app.listen(world.Cancelled, retry=through_topics(1, 3))
    def other(order: Any) -> None: ...

    with pytest.raises(ConfigurationError, match=r"one and other both listen .* want other retry topics"):
        async with app.running():
            pass
    chaotic = service(world)

    @chaotic.listen(world.Ordered, order=unordered(2), retry=through_topics(1, keep=True))
    def overtaking(order: Any) -> None: ...

    with pytest.raises(ConfigurationError, match=r"keep_key_order=True with order=unordered\(2\)"):
        async with chaotic.running():
            pass


async def test_a_retry_topic_with_another_partition_count_is_told_and_waited_for(world: World) -> None:
    world.partitions = 3
    world.admin.ensure_topics({f"{world.orders}-retry-1": 2, world.orders: 3})
    app = App(world.group, settings=msgspec.structs.replace(world.settings))

    @app.listen(world.Ordered, retry=through_topics(1))
    def note(order: Any) -> None: ...

    async with app.running():
        await eventually(lambda: any("has 2 partitions" in reason for reason in app.health.wrong()))


async def test_a_service_does_not_end_while_it_reads_its_retry_topics(world: World) -> None:
    """The client library's administration answers on threads of its own: a process that ends meanwhile crashes."""

    def reading() -> bool:
        return any(thread.name == "ottla-retry-topics" for thread in threading.enumerate())

    faults = world.broker.faults
    kafka = msgspec.structs.replace(world.settings.kafka, bootstrap_servers=faults.bootstrap_servers)
    app = App(world.group, settings=msgspec.structs.replace(world.settings, kafka=kafka))
    listen(app, "sync", lambda _order, _ctx: None, world.Ordered, retry=through_topics(0.1, keep=True))
    with faults.delay("ListOffsets", 1.0):
        async with app.running():
            await eventually(reading, what="the retry topics are read")
        assert not reading()
