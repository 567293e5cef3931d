"""Services in tests, as their authors test them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest

from ottla import Admin, App, Context, KafkaSettings, ListenerSettings, Retry, Settings, event, fixed
from ottla.listeners.retry import RetryTopics
from ottla.testing.embedded_broker import EmbeddedBroker
from ottla.testing.faults import Faults
from ottla.testing.harness import Namespace
from ottla.testing.harness.namespace import new_prefix
from tests.listeners.harness import eventually


@event("orders", key="order_id")
@dataclass
class Ordered:
    order_id: str
    quantity: int = 1


@event("stock", key="order_id")
@dataclass
class Reserved:
    order_id: str


@event("parcels", key="order_id")
@dataclass
class Packed:
    order_id: str


app = App("stock")


@app.listen(Ordered, retry=Retry(attempts=2, backoff=fixed(0.01)))
async def reserve(order: Ordered) -> Reserved | None:
    if order.quantity < 0:
        raise ValueError("less than nothing")
    return Reserved(order.order_id) if order.quantity else None


@app.listen(Reserved)
def pack(reserved: Reserved, ctx: Context) -> Packed:
    return Packed(reserved.order_id)


async def test_a_service_publishes_what_follows(app_under_test: Namespace) -> None:
    async with app_under_test(app) as service:
        await service.publish(Ordered("o-1"), Ordered("o-2"), Ordered("o-3", quantity=0))
        await service.quiet()
        assert await service.published(Reserved) == [Reserved("o-1"), Reserved("o-2")]
        assert await service.published(Packed) == [Packed("o-1"), Packed("o-2")]
        assert await service.dead_letters() == []
        assert await service.committed(Ordered) == {0: 3}


def test_plain_functions_test_services_too(app_under_test: Namespace) -> None:
    with app_under_test(app) as service:
        service.publish(Ordered("o-1"), correlation_id="c-1")
        service.quiet()
        assert service.published(Packed) == [Packed("o-1")]
        (record,) = service.records(Packed)
        assert dict(record.headers)["ce_correlationid"] == b"c-1"
        assert service.committed("orders") == {0: 1}
        assert service.call(service.app.publish(Ordered("o-2"))).offset == 1


async def test_what_the_test_publishes_is_not_what_the_service_published(app_under_test: Namespace) -> None:
    async with app_under_test(app) as service:
        await service.publish(Reserved("given"), Ordered("o-1"))
        await service.quiet()
        assert await service.published(Reserved) == [Reserved("o-1")]
        assert len(await service.records(Reserved)) == 2


async def test_dead_letters_say_why(app_under_test: Namespace) -> None:
    async with app_under_test(app) as service:
        await service.publish(Ordered("o-1", quantity=-1))
        await service.publish_raw(Ordered, b"no event", key=b"o-2")
        await service.quiet()
        failed, damaged = await service.dead_letters(Ordered)
        assert (failed.exception, failed.message, failed.attempts) == ("builtins.ValueError", "less than nothing", 2)
        assert damaged.record.value == b"no event"
        assert await service.dead_letters() == [failed, damaged]


async def test_a_service_that_does_not_come_to_rest_is_named_with_what_is_left(app_under_test: Namespace) -> None:
    stuck, entered = App("stuck"), asyncio.Event()

    @stuck.listen(Ordered)
    async def wait(order: Ordered) -> None:
        entered.set()
        await asyncio.sleep(3600 if order.order_id == "slow" else 0)

    quick = Settings(listener=ListenerSettings(drain_timeout_s=0.1))
    async with app_under_test(stuck, settings=quick) as service:
        await service.publish(Ordered("quick"), Ordered("slow"))
        await entered.wait()
        first = {(service.topic(Ordered), 0): 1}
        await eventually(lambda: app_under_test.inspector.committed(service.group) == first)
        with pytest.raises(TimeoutError, match=r"stuck has not finished 1 of test-\S+\.orders\[0\]"):
            await service.quiet(timeout_s=0.3)


async def test_transactions_come_to_rest(app_under_test: Namespace) -> None:
    exact = App("exact")

    @exact.listen(Ordered, exactly_once=True)
    async def first(order: Ordered) -> Reserved:
        return Reserved(order.order_id)

    @exact.listen(Reserved, exactly_once=True)
    async def second(reserved: Reserved) -> Packed:
        return Packed(reserved.order_id)

    async with app_under_test(exact) as service:
        await service.publish(Ordered("o-1"))
        await service.quiet()
        assert await service.published(Packed) == [Packed("o-1")]


async def test_attempts_through_retry_topics_are_waited_for(app_under_test: Namespace) -> None:
    patient, tries = App("patient"), list[str]()

    @patient.listen(Ordered, retry=Retry(attempts=1, topics=RetryTopics(delays=[0.05])))
    async def attempt(order: Ordered) -> Reserved:
        tries.append(order.order_id)
        if len(tries) == 1:
            raise ValueError("not yet")
        return Reserved(order.order_id)

    async with app_under_test(patient) as service:
        await service.publish(Ordered("o-1"))
        await service.quiet()
        assert tries == ["o-1", "o-1"]
        assert await service.published(Reserved) == [Reserved("o-1")]


async def test_services_of_one_test_hear_each_other(app_under_test: Namespace) -> None:
    sender = App("sender")

    @sender.listen(Packed)
    async def dispatch(packed: Packed) -> Ordered | None:
        return Ordered(f"{packed.order_id}-again") if packed.order_id == "o-1" else None

    async with app_under_test(app) as stock, app_under_test(sender) as sending:
        await stock.publish(Ordered("o-1"))
        await stock.quiet()
        assert await sending.published(Packed) == [Packed("o-1"), Packed("o-1-again")]


async def test_settings_come_back_and_nothing_is_left(
    kafka: EmbeddedBroker, app_under_test: Namespace, kafka_prefix: str
) -> None:
    own = Settings(kafka=KafkaSettings(bootstrap_servers="broker:9092"))
    configured = App("configured", settings=own)
    configured.listen(Ordered, name="ignore")(lambda order: None)
    threads = set(threading.enumerate())
    with app_under_test(configured) as service:
        assert configured.settings.kafka.bootstrap_servers == kafka.bootstrap_servers
        service.publish(Ordered("o-1"))
        service.quiet()
    assert configured.settings is own
    left = {thread.name for thread in set(threading.enumerate()) - threads if thread.name.startswith(("ottla", "conf"))}
    assert left == set()
    app_under_test.close()
    assert [name for name in Admin(service.settings.kafka).topics() if name.startswith(kafka_prefix)] == []


async def test_a_service_gets_over_what_the_test_breaks(kafka_faults: Faults, app_under_test: Namespace) -> None:
    async with app_under_test(app) as service:
        await service.publish(Ordered("o-1"))
        await service.quiet()
        lost = kafka_faults.drop("Produce", answer=True)
        await service.publish(Ordered("o-2"))
        kafka_faults.kill_connections()
        await service.publish(Ordered("o-3"))
        await service.quiet()
        assert lost.hits == 1
        assert await service.published(Packed) == [Packed("o-1"), Packed("o-2"), Packed("o-3")]


@pytest.mark.parametrize("number", range(3))
async def test_no_test_sees_what_another_left(app_under_test: Namespace, number: int) -> None:
    async with app_under_test(app) as service:
        assert await service.records(Ordered) == []
        await service.publish(Ordered(f"o-{number}"))
        await service.quiet()
        assert await service.published(Packed) == [Packed(f"o-{number}")]


def test_two_processes_choose_different_names() -> None:
    program = "from ottla.testing.harness.namespace import new_prefix; print(new_prefix())"
    others = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout for _ in range(2)]
    assert all(one.startswith("test-") for one in others)
    assert len({*others, new_prefix(), new_prefix()}) == 4
