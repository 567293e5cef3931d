"""Dead letters come back: list, replay, edit, purge, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from ottla import Context
from ottla.deadletters.letter import LetterId
from ottla.deadletters.queue import DeadLetterQueue, Outcome
from ottla.deadletters.selection import Selection
from ottla.errors import ConfigurationError, KafkaError, ProducerFenced, TransactionAborted
from ottla.kafka.producer import Producer
from ottla.kafka.record import Record
from ottla.kafka.transactions import TransactionalProducer
from tests.listeners.harness import World, eventually, headers_of, service

EVERYTHING = Selection()


class Dead:
    """A topic of three partitions with dead letters of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.topic, self.letters = world.orders, f"{world.orders}-dlq"
        world.admin.ensure_topics({self.topic: 3, self.letters: 3})

    def die(self, *values: bytes, partition: int = 0, replays: int = 0, error: bytes = b"app.Broken") -> None:
        producer = Producer(self.world.settings.kafka)
        for value in values:
            headers: list[tuple[str, bytes | None]] = [
                ("ce_id", b"id-" + value),
                ("kafka_dlt-original-topic", self.topic.encode()),
                ("kafka_dlt-original-partition", partition.to_bytes(4, "big")),
                ("kafka_dlt-exception-fqcn", error),
            ]
            if replays:
                headers.append(("ottla-replays", str(replays).encode()))
            producer.send(self.letters, value, key=b"k-" + value, headers=headers, partition=partition)
        assert producer.close() == 0

    @property
    def queue(self) -> DeadLetterQueue:
        return DeadLetterQueue(self.world.settings, self.topic)

    def states(self) -> dict[str, str]:
        chosen = Selection(states=frozenset({"open", "replayed", "edited", "parked", "purged"}))
        return {(one.record.value or b"").decode(): one.state for one in self.queue.letters(chosen)}

    def came_back(self) -> list[Record]:
        return self.world.records(self.topic)


@pytest.fixture
def dead(world: World) -> Dead:
    return Dead(world)


def test_a_replay_brings_a_record_back_as_it_was_to_the_partition_it_came_from(dead: Dead) -> None:
    dead.die(b"a", partition=2)
    assert dead.queue.replay(EVERYTHING).replayed == 1
    (record,) = dead.came_back()
    assert (record.partition, record.key, record.value) == (2, b"k-a", b"a")
    assert record.headers == [("ce_id", b"id-a"), ("ottla-replays", b"1")]
    assert dead.states() == {"a": "replayed"}


def test_what_is_replayed_is_not_replayed_again(dead: Dead) -> None:
    dead.die(b"a", b"b")
    assert dead.queue.replay(Selection(limit=1)).replayed == 1
    assert dead.queue.replay(EVERYTHING).replayed == 1
    assert dead.queue.replay(EVERYTHING).replayed == 0
    assert sorted(record.value or b"" for record in dead.came_back()) == [b"a", b"b"]


def test_a_dry_run_only_counts(dead: Dead) -> None:
    dead.die(b"a", b"b", error=b"app.Broken")
    dead.die(b"c", error=b"app.Other")
    assert dead.queue.replay(Selection(exception="Broken"), dry_run=True).replayed == 2
    assert dead.came_back() == []
    assert set(dead.states().values()) == {"open"}


def test_a_record_that_goes_in_circles_is_parked(dead: Dead) -> None:
    dead.die(b"a", replays=3)
    dead.die(b"b", replays=2)
    outcome = dead.queue.replay(EVERYTHING)
    assert (outcome.replayed, outcome.parked) == (1, 1)
    assert dead.states() == {"a": "parked", "b": "replayed"}
    again = dead.queue.replay(Selection(states=frozenset({"parked"})), replays_max=10)
    assert again.replayed == 1
    assert dead.states() == {"a": "replayed", "b": "replayed"}


async def test_a_record_that_dies_each_time_it_is_replayed_comes_back_three_times_and_is_parked(world: World) -> None:
    app, calls = service(world), list[int]()

    @app.listen(world.Ordered)
    def fail(order: Any, ctx: Context) -> None:
        calls.append(ctx.offset)
        raise ValueError("never")

    def replay() -> Outcome:
        return DeadLetterQueue(world.settings, world.orders).replay(EVERYTHING)

    done: list[tuple[int, int]] = []
    async with app.running():
        await app.publish(world.Ordered("o-1"), event_id="e-1")
        for deaths in range(1, 5):
            await eventually(lambda: len(world.dead_letters(world.orders)) == deaths, what="it dies")  # noqa: B023
            outcome = await asyncio.to_thread(replay)
            done.append((outcome.replayed, outcome.parked))
        assert await asyncio.to_thread(replay) == Outcome()
    assert done == [(1, 0), (1, 0), (1, 0), (0, 1)]
    assert len(set(calls)) == len(world.records(world.orders)) == 4
    assert {headers_of(one)["ce_id"] for one in world.records(world.orders)} == {b"e-1"}


def test_no_more_letters_a_second_come_back_than_are_asked_for(dead: Dead) -> None:
    dead.die(*(b"%d" % n for n in range(10)))
    begun = time.monotonic()
    assert dead.queue.replay(EVERYTHING, rate=8).replayed == 10
    assert time.monotonic() - begun >= 10 / 8
    with pytest.raises(ConfigurationError, match="say a number above 0"):
        dead.queue.replay(EVERYTHING, rate=0)


def test_a_run_that_is_stopped_goes_on_where_it_was(dead: Dead) -> None:
    dead.die(*(b"%d" % n for n in range(10)))
    stop = threading.Event()
    first = dead.queue.replay(EVERYTHING, rate=3, stop=stop, progress=lambda _count: stop.set())
    assert first.replayed == 3
    assert dead.queue.replay(EVERYTHING).replayed == 7
    assert [record.value for record in dead.came_back()] == [b"%d" % n for n in range(10)]


def test_a_run_that_dies_between_record_and_audit_leaves_neither(dead: Dead, monkeypatch: pytest.MonkeyPatch) -> None:
    dead.die(b"a", b"b")
    send = TransactionalProducer.send

    def fail_at_the_audit(self: Any, topic: str, *arguments: Any, **named: Any) -> None:
        if topic.endswith("-audit"):
            raise KeyboardInterrupt
        send(self, topic, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(TransactionalProducer, "send", fail_at_the_audit)
        with pytest.raises(KeyboardInterrupt):
            dead.queue.replay(EVERYTHING)
    assert dead.came_back() == []
    assert dead.queue.replay(EVERYTHING).replayed == 2
    assert len(dead.came_back()) == 2


def test_of_two_runs_at_once_the_first_is_fenced_and_nothing_comes_back_twice(dead: Dead) -> None:
    dead.die(b"a", b"b")

    def another_begins(_count: int) -> None:
        assert dead.queue.replay(EVERYTHING).replayed == 1

    with pytest.raises((ProducerFenced, TransactionAborted)):
        dead.queue.replay(EVERYTHING, rate=1, progress=another_begins)
    assert sorted(record.value or b"" for record in dead.came_back()) == [b"a", b"b"]


def test_an_edited_letter_comes_back_with_its_new_value(dead: Dead) -> None:
    dead.die(b"broken")
    dead.queue.edit(LetterId(0, 0), b"mended")
    (record,) = dead.came_back()
    assert (record.key, record.value) == (b"k-broken", b"mended")
    assert dead.states() == {"broken": "edited"}
    with pytest.raises(ConfigurationError, match="has been edited already"):
        dead.queue.edit(LetterId(0, 0), b"again")
    with pytest.raises(KafkaError, match="has no dead letter 0:9"):
        dead.queue.edit(LetterId(0, 9), b"nothing")


def test_a_purge_deletes_up_to_the_first_letter_that_is_still_open(dead: Dead) -> None:
    dead.die(b"a", b"b", error=b"app.Broken")
    dead.die(b"c", error=b"app.Other")
    dead.die(b"d", error=b"app.Broken")
    assert dead.queue.purge(Selection(exception="Broken"), reason="test data").purged == 3
    assert dead.states() == {"c": "open", "d": "purged"}
    assert dead.queue.purge(EVERYTHING).purged == 1
    assert dead.states() == {}
    assert dead.came_back() == []


def test_a_letter_that_cannot_go_back_says_so_and_stays(dead: Dead) -> None:
    dead.die(b"a")
    dead.world.admin.delete_topics([dead.topic])
    with pytest.raises(ConfigurationError, match=f"goes to {dead.topic}, which does not exist"):
        dead.queue.replay(EVERYTHING)
    assert dead.states() == {"a": "open"}


def test_a_topic_without_dead_letters_says_so(world: World) -> None:
    with pytest.raises(KafkaError, match="nothing of 'no-such' has died"):
        DeadLetterQueue(world.settings, "no-such")
