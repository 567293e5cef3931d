"""Contract: clients of the new consumer protocol (KIP-848), alone, together, and with clients of the classic one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Consumer

from kafka import KafkaConsumer
from ottla.broker.wire.messages.consumer_group_describe import CONSUMER_GROUP_DESCRIBE
from ottla.broker.wire.messages.describe_groups import DESCRIBE_GROUPS
from ottla.testing import Broker
from tests.contracts.asking import Asking
from tests.contracts.clients import consumer, create_topic, produce, wait_until
from tests.contracts.test_groups import Members

Join = Callable[..., Consumer]


@pytest.fixture
def members(broker: Broker, group_name: str, topic_of_3: str) -> Iterator[tuple[Members, Join]]:
    """Members of one group on one topic of three partitions, and a function by which one more joins."""
    members = Members()
    with ExitStack() as closing:

        def join(*, protocol: str = "consumer", **config: object) -> Consumer:
            member = closing.enter_context(consumer(broker, group_name, group_protocol=protocol, **config))
            member.subscribe([topic_of_3])
            members.consumers.append(member)
            return member

        yield members, join


def kind_and_size(broker: Broker, group: str) -> tuple[str, int]:
    """Whether a group is a classic or a consumer group, and how many members it has."""
    with Asking(broker) as asking:
        (new,) = asking.ask(CONSUMER_GROUP_DESCRIBE, 1, group_ids=[group])["groups"]
        (old,) = asking.ask(DESCRIBE_GROUPS, 5, groups=[group])["groups"]
    return ("consumer", len(new["members"])) if new["error_code"] == 0 else ("classic", len(old["members"]))


def test_members_share_and_hand_over_and_read_every_record_once(
    broker: Broker, members: tuple[Members, Join], topic_of_3: str
) -> None:
    group, join = members
    first = join()
    group.wait_for(lambda: group.partitions() == [0, 1, 2], "the first has all")
    join(group_remote_assignor="range")
    group.wait_for(lambda: group.shares() == [1, 2], "the two share")
    for partition in range(3):
        produce(broker, topic_of_3, [b"%d-%d" % (partition, n) for n in range(50)], partition=partition)
    group.wait_for(lambda: len(group.values) >= 150, "150 records")
    assert len(group.values) == len(set(group.values)) == 150
    first.commit(asynchronous=False)
    group.consumers.remove(first)
    first.close()
    group.wait_for(lambda: group.partitions() == [0, 1, 2], "the other has all")


def test_a_fourth_member_of_three_partitions_stays_without(members: tuple[Members, Join]) -> None:
    group, join = members
    for _ in range(4):
        join()
    group.wait_for(lambda: group.shares() == [0, 1, 1, 1], "three share and one waits")
    assert group.partitions() == [0, 1, 2]


def test_a_static_member_comes_back_to_what_it_had(broker: Broker, members: tuple[Members, Join]) -> None:
    group, join = members
    join(group_instance_id="stays")
    returning = join(group_instance_id="returns")
    group.wait_for(lambda: group.shares() == [1, 2], "the two share")
    had = returning.assignment()
    returning.close()
    group.consumers.remove(returning)
    again = join(group_instance_id="returns")
    group.wait_for(lambda: again.assignment() == had, "back again")


def test_a_pattern_finds_a_new_topic(broker: Broker, topic_name: str, group_name: str) -> None:
    create_topic(broker, f"{topic_name}-1")
    group = Members()
    with consumer(broker, group_name, group_protocol="consumer") as client:
        client.subscribe([f"^{topic_name}-.*"])
        group.consumers = [client]
        group.wait_for(lambda: len(client.assignment()) == 1, "the first topic")
        # Apache Kafka matches patterns anew 10 s after the last time, so a second topic would cost the test as much.
        assert client.assignment()[0].topic == f"{topic_name}-1"


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_a_classic_group_becomes_one_of_the_new_protocol_and_back(
    broker: Broker, members: tuple[Members, Join], group_name: str, topic_of_3: str, strategy: str
) -> None:
    group, join = members
    join(protocol="classic", partition_assignment_strategy=strategy)
    group.wait_for(lambda: group.partitions() == [0, 1, 2], "the classic one has all")
    assert kind_and_size(broker, group_name) == ("classic", 1)
    newer = join()
    group.wait_for(lambda: group.shares() == [1, 2], "the two share")
    assert group.partitions() == [0, 1, 2]
    assert kind_and_size(broker, group_name) == ("consumer", 2)
    for partition in range(3):
        produce(broker, topic_of_3, [b"%d" % partition], partition=partition)
    group.wait_for(lambda: len(group.values) >= 3, "3 records")
    group.consumers.remove(newer)
    newer.close()
    group.wait_for(lambda: group.partitions() == [0, 1, 2], "the classic one has all again")
    assert kind_and_size(broker, group_name) == ("classic", 1)


def test_a_group_of_the_new_protocol_takes_a_classic_member_in(members: tuple[Members, Join]) -> None:
    group, join = members
    join()
    group.wait_for(lambda: group.partitions() == [0, 1, 2], "the new one has all")
    join(protocol="classic", partition_assignment_strategy="cooperative-sticky")
    group.wait_for(lambda: group.shares() == [1, 2], "the two share")
    assert group.partitions() == [0, 1, 2]


async def test_aiokafka_is_a_member_of_a_group_of_the_new_protocol(
    broker: Broker, members: tuple[Members, Join], topic_of_3: str, group_name: str
) -> None:
    group, join = members
    join()
    group.wait_for(lambda: group.partitions() == [0, 1, 2], "the new one has all")
    async with AIOKafkaConsumer(
        topic_of_3, bootstrap_servers=broker.bootstrap_servers, group_id=group_name, heartbeat_interval_ms=200
    ) as other:
        for _ in range(600):
            await other.getmany(timeout_ms=20)
            group.poll()
            theirs = {partition.partition for partition in other.assignment()}
            if theirs and sorted([*theirs, *group.partitions()]) == [0, 1, 2]:
                break
        assert kind_and_size(broker, group_name) == ("consumer", 2)
        assert sorted([*theirs, *group.partitions()]) == [0, 1, 2]


def test_kafka_python_is_a_member_of_a_group_of_the_new_protocol(
    broker: Broker, members: tuple[Members, Join], topic_of_3: str, group_name: str
) -> None:
    group, join = members
    join()
    group.wait_for(lambda: group.partitions() == [0, 1, 2], "the new one has all")
    other = KafkaConsumer(
        topic_of_3, bootstrap_servers=broker.bootstrap_servers, group_id=group_name, heartbeat_interval_ms=200
    )
    try:

        def shared() -> bool:
            other.poll(20)
            group.poll()
            theirs = [partition.partition for partition in other.assignment()]
            return bool(theirs) and sorted([*theirs, *group.partitions()]) == [0, 1, 2]

        wait_until(shared, what="the two share")
        assert kind_and_size(broker, group_name) == ("consumer", 2)
    finally:
        other.close()


def test_a_group_survives_its_broker(killable_broker: Broker, topic_name: str, group_name: str) -> None:
    topic = create_topic(killable_broker, topic_name, partitions=3)
    assigned: list[int] = []
    group = Members()
    with (
        consumer(killable_broker, group_name, group_protocol="consumer") as first,
        consumer(killable_broker, group_name, group_protocol="consumer") as second,
    ):
        group.consumers = [first, second]
        for member in group.consumers:
            member.subscribe([topic], on_assign=lambda _, got: assigned.append(len(got)))
        group.wait_for(lambda: group.shares() == [1, 2], "the two share")
        produce(killable_broker, topic, [b"before"])
        group.wait_for(lambda: group.values == [b"before"], "the record")
        had = [member.assignment() for member in group.consumers]
        times = len(assigned)
        killable_broker.kill()
        killable_broker.start()
        produce(killable_broker, topic, [b"after"])
        group.wait_for(lambda: group.values[-1:] == [b"after"], "the record after the restart")
        assert [member.assignment() for member in group.consumers] == had
        assert len(assigned) == times, "nobody had to join again"
