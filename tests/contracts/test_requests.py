"""Requests and answers, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
import struct
import uuid
from typing import Any

import pytest

from ottla import App, DecodeError, RequestError, RequestFailed, RequestTimeout, Retry
from ottla.events import read_envelope
from ottla.kafka.producer import Producer
from tests.listeners.harness import World, eventually, headers_of


def asking(world: World) -> App:
    return App(f"{world.group}-asks", settings=world.settings)


def answering(world: World, name: str = "", *, fails: Exception | None = None, exactly_once: bool = False) -> App:
    app = App(f"{world.group}{name}", settings=world.settings)

    @app.listen(world.Ordered, retry=Retry(attempts=1), exactly_once=exactly_once)
    async def reserve(order: Any) -> Any:
        if fails is not None:
            raise fails
        return world.Reserved(order.order_id, by=name or "shop") if order.quantity else None

    return app


@pytest.mark.parametrize("exactly_once", [False, True])
async def test_a_request_is_answered_with_what_the_handler_returns(world: World, exactly_once: bool) -> None:
    asks = asking(world)
    async with answering(world, exactly_once=exactly_once).running(), asks.running():
        replies = await asyncio.gather(
            *(asks.request(world.Ordered(f"o-{n}"), reply_type=world.Reserved, timeout_s=30) for n in range(20))
        )
    assert replies == [world.Reserved(f"o-{n}", by="shop") for n in range(20)]
    assert world.records(world.stock) == []  # to whoever asked, not to everybody


async def test_an_answer_names_its_request(world: World) -> None:
    asks = asking(world)
    async with answering(world).running(), asks.running():
        await asks.request(world.Ordered("o-1"), reply_type=world.Reserved, timeout_s=30, event_id="e-1")
    (request,) = world.records(world.orders)
    (reply,) = world.records(f"{asks.name}-replies")
    asked, answered = headers_of(request), headers_of(reply)
    assert asked["kafka_replyTopic"] == f"{asks.name}-replies".encode()
    assert struct.unpack(">i", asked["kafka_replyPartition"]) == (reply.partition,)
    assert answered["kafka_correlationId"] == asked["kafka_correlationId"]
    assert answered["ce_causationid"] == b"e-1"


async def test_a_request_that_nobody_answers_times_out(world: World) -> None:
    asks = asking(world)
    async with answering(world).running(), asks.running():
        with pytest.raises(RequestTimeout, match=r"no answer to .*Ordered on .* within 2 s"):
            await asks.request(world.Ordered("o-1", quantity=0), reply_type=world.Reserved, timeout_s=2)
        reply = await asks.request(world.Ordered("o-2"), reply_type=world.Reserved, timeout_s=30)
    assert reply == world.Reserved("o-2", by="shop")


async def test_a_handler_that_fails_for_good_answers_with_its_failure(world: World) -> None:
    asks = asking(world)
    async with answering(world, fails=KeyError("no such order")).running(), asks.running():
        with pytest.raises(RequestFailed, match="no such order") as told:
            await asks.request(world.Ordered("o-1"), reply_type=world.Reserved, timeout_s=30)
    assert told.value.kind == "KeyError"
    assert len(world.dead_letters(world.orders)) == 1


async def test_an_answer_of_another_type_is_an_error_that_says_which(world: World) -> None:
    asks = asking(world)
    async with answering(world).running(), asks.running():
        with pytest.raises(DecodeError, match="the answer is a Reserved, not a Cancelled"):
            await asks.request(world.Ordered("o-1"), reply_type=world.Cancelled, timeout_s=30)
        reply = await asks.request(world.Ordered("o-1"), reply_type=world.Cancelled | world.Reserved, timeout_s=30)
        assert reply == world.Reserved("o-1", by="shop")
        raw = await asks.request(world.Ordered("o-1"), reply_type=bytes, timeout_s=30)
        assert isinstance(raw, bytes)


async def test_instances_that_ask_at_once_each_get_their_own_answers(world: World) -> None:
    one, two = asking(world), asking(world)

    async def ask(app: App, name: str) -> list[Any]:
        return [
            await app.request(world.Ordered(f"{name}-{n}"), reply_type=world.Reserved, timeout_s=30) for n in range(10)
        ]

    async with answering(world).running(), one.running(), two.running():
        answers = await asyncio.gather(ask(one, "a"), ask(two, "b"))
    assert [[reply.order_id for reply in replies] for replies in answers] == [
        [f"{name}-{n}" for n in range(10)] for name in "ab"
    ]


async def test_a_service_may_ask_from_within_a_handler_and_after_a_restart(world: World) -> None:
    asks, seen = asking(world), list[Any]()

    @asks.listen(world.Cancelled)
    async def cancel(cancelled: Any) -> None:
        seen.append(await asks.request(world.Ordered(cancelled.order_id), reply_type=world.Reserved, timeout_s=30))

    @asks.listen(world.Ordered, name="pass")
    async def ignore(order: Any) -> None: ...

    async with answering(world).running():
        for n in range(2):
            async with asks.running():
                await asks.publish(world.Cancelled(f"o-{n}"))
                await eventually(lambda n=n: len(seen) == n + 1, what="an answer")  # type: ignore[misc]
    assert [reply.order_id for reply in seen] == ["o-0", "o-1"]


async def test_a_stop_tells_those_who_wait(world: World) -> None:
    asks = asking(world)
    async with asks.running():
        asked = asyncio.create_task(asks.request(world.Ordered("o-1"), reply_type=world.Reserved, timeout_s=300))
        await eventually(lambda: len(world.records(world.orders)) == 1, what="the request")
    with pytest.raises(RequestError, match="was stopped"):
        await asked


async def test_answers_of_many_are_gathered_until_there_are_enough(world: World) -> None:
    asks = asking(world)
    async with answering(world, "-a").running(), answering(world, "-b").running(), asks.running():
        gathered = await asks.scatter(world.Ordered("o-1"), reply_type=world.Reserved, count=2, timeout_s=30)
    assert sorted(reply.by for reply in gathered.replies) == ["-a", "-b"]
    assert (gathered.failures, gathered.complete) == ([], True)


async def test_what_is_gathered_when_the_time_is_up_is_told_to_be_partial(world: World) -> None:
    asks = asking(world)
    works, broken = answering(world, "-a"), answering(world, "-b", fails=ValueError("out of order"))
    async with works.running(), broken.running(), asks.running():
        await eventually(lambda: not works.health.wrong() and not broken.health.wrong(), what="readiness")
        events = [world.Ordered("o-1"), world.Ordered("o-2", quantity=0)]
        gathered = await asks.scatter(*events, reply_type=world.Reserved, count=4, timeout_s=4)
    assert [reply.by for reply in gathered.replies] == ["-a"]
    assert [str(failure) for failure in gathered.failures] == ["out of order"] * 2
    assert not gathered.complete


async def test_an_answer_that_is_repeated_counts_once_and_one_to_others_not_at_all(world: World) -> None:
    asks = asking(world)
    async with asks.running():
        asked = asyncio.create_task(asks.scatter(world.Ordered("o-1"), reply_type=bytes, count=2, timeout_s=30))
        await eventually(lambda: len(world.records(world.orders)) == 1, what="the request")
        request = headers_of(world.records(world.orders)[0])
        (partition,) = struct.unpack(">i", request["kafka_replyPartition"])
        producer = Producer(world.settings.kafka)

        def answer(value: bytes, event_id: str, correlation: bytes) -> None:
            headers: list[tuple[str, bytes | None]] = [
                ("ce_id", event_id.encode()),
                ("kafka_correlationId", correlation),
            ]
            producer.send(request["kafka_replyTopic"].decode(), value, headers=headers, partition=partition)

        ours = request["kafka_correlationId"]
        answer(b"other", "e-0", uuid.uuid4().bytes)
        answer(b"one", "e-1", ours)
        answer(b"one", "e-1", ours)
        answer(b"two", "e-2", ours)
        assert producer.close() == 0
        gathered = await asked
    assert gathered.replies == [b"one", b"two"]


async def test_a_request_of_spring_kafka_is_answered_as_it_asks(world: World) -> None:
    """Its ReplyingKafkaTemplate names a topic of its own and sixteen bytes of correlation; the partition only if told
    to."""
    correlation, replies = uuid.uuid4().bytes, f"{world.group}-spring-replies"
    world.admin.ensure_topics({replies: 1})
    async with answering(world).running() as app:
        headers: list[tuple[str, bytes | None]] = [
            ("kafka_replyTopic", replies.encode()),
            ("kafka_correlationId", correlation),
        ]
        await app.publish(world.Ordered("o-1"), headers=headers)
        await eventually(lambda: len(world.records(replies)) == 1, what="the answer")
    (reply,) = world.records(replies)
    assert headers_of(reply)["kafka_correlationId"] == correlation
    envelope = read_envelope(reply.headers)
    assert envelope is not None
    assert envelope.type == "Reserved"
