"""Contract: consumer groups share partitions, hand them over, and notice who has gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from ottla.testing import Broker
from tests.contracts.clients import (
    PATIENCE_S,
    admin,
    consumer,
    create_topic,
    error_code,
    produce,
    read,
    values,
    wait_until,
)

Join = Callable[..., Consumer]


class Members:
    """Consumers of one group, polled together."""

    def __init__(self) -> None:
        self.consumers: list[Consumer] = []
        self.values: list[bytes | None] = []

    def poll(self) -> None:
        for member in self.consumers:
            for message in member.consume(100, timeout=0.02):
                if message.error() is None:
                    self.values.append(message.value())

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        def polled() -> object:
            self.poll()
            return condition()

        wait_until(polled, what=what)

    def shares(self) -> list[int]:
        """How many partitions each has, sorted."""
        return sorted(len(member.assignment()) for member in self.consumers)

    def partitions(self) -> list[int]:
        """Every partition that somebody has, as often as it is had."""
        return sorted(partition.partition for member in self.consumers for partition in member.assignment())


@pytest.fixture
def members(broker: Broker, group_name: str, topic_of_3: str) -> Iterator[tuple[Members, Join]]:
    """Members of one group on one topic of three partitions, and a function by which one more joins."""
    members = Members()
    with ExitStack() as closing:

        def join(**config: object) -> Consumer:
            member = closing.enter_context(consumer(broker, group_name, **config))
            member.subscribe([topic_of_3])
            members.consumers.append(member)
            return member

        yield members, join


def leave(members: Members, member: Consumer) -> None:
    members.consumers.remove(member)
    member.close()


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_a_single_member_gets_every_partition(members: tuple[Members, Join], strategy: str) -> None:
    group, join = members
    join(partition_assignment_strategy=strategy)
    group.wait_for(lambda: group.partitions() == [0, 1, 2], "all partitions")


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_two_members_share_the_partitions(members: tuple[Members, Join], strategy: str) -> None:
    group, join = members
    join(partition_assignment_strategy=strategy)
    group.wait_for(lambda: group.shares() == [3], "the first has all")
    join(partition_assignment_strategy=strategy)
    group.wait_for(lambda: group.shares() == [1, 2], "the two share")
    assert group.partitions() == [0, 1, 2]


def test_a_fourth_member_of_three_partitions_stays_without(members: tuple[Members, Join]) -> None:
    group, join = members
    for _ in range(4):
        join()
    group.wait_for(lambda: group.shares() == [0, 1, 1, 1], "three share and one waits")
    assert group.partitions() == [0, 1, 2]


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_a_leaving_members_partitions_go_to_the_other(members: tuple[Members, Join], strategy: str) -> None:
    group, join = members
    first, _ = join(partition_assignment_strategy=strategy), join(partition_assignment_strategy=strategy)
    group.wait_for(lambda: group.shares() == [1, 2], "the two share")
    leave(group, first)
    group.wait_for(lambda: group.partitions() == [0, 1, 2], "the other has all")


def test_cooperative_members_keep_what_is_not_handed_over(broker: Broker, topic_of_3: str, group_name: str) -> None:
    revoked: list[int] = []
    group = Members()
    with (
        consumer(broker, group_name, partition_assignment_strategy="cooperative-sticky") as first,
        consumer(broker, group_name, partition_assignment_strategy="cooperative-sticky") as second,
    ):
        first.subscribe([topic_of_3], on_revoke=lambda _, lost: revoked.extend(p.partition for p in lost))
        group.consumers = [first]
        group.wait_for(lambda: group.shares() == [3], "the first has all")
        second.subscribe([topic_of_3])
        group.consumers.append(second)
        group.wait_for(lambda: group.shares() == [1, 2], "the two share")
        assert len(revoked) == 1
        assert revoked == [partition.partition for partition in second.assignment()]


def test_a_group_reads_every_record_once(broker: Broker, members: tuple[Members, Join], topic_of_3: str) -> None:
    group, join = members
    join(), join()
    group.wait_for(lambda: group.shares() == [1, 2], "the two share")
    # Only now: what the first has read, and not committed, before the second came would come again.
    for partition in range(3):
        produce(broker, topic_of_3, [b"%d-%d" % (partition, n) for n in range(100)], partition=partition)
    group.wait_for(lambda: len(group.values) >= 300, "300 records")
    assert len(group.values) == len(set(group.values)) == 300


def test_two_groups_read_all_each(broker: Broker, topic: str, group_name: str) -> None:
    produce(broker, topic, [b"v0", b"v1"])
    for group in (group_name, f"{group_name}-other"):
        with consumer(broker, group) as client:
            client.subscribe([topic])
            assert values(read(client, 2)) == [b"v0", b"v1"]


def test_a_group_goes_on_where_it_committed(broker: Broker, topic: str, group_name: str) -> None:
    produce(broker, topic, [b"v0", b"v1", b"v2"])
    with consumer(broker, group_name) as client:
        client.subscribe([topic])
        client.commit(read(client, 2)[-1], asynchronous=False)
    with consumer(broker, group_name) as client:
        client.subscribe([topic])
        assert values(read(client, 1)) == [b"v2"]


def test_what_was_not_committed_comes_again(broker: Broker, topic: str, group_name: str) -> None:
    produce(broker, topic, [b"v0", b"v1"])
    for _ in range(2):
        with consumer(broker, group_name) as client:
            client.subscribe([topic])
            assert values(read(client, 2)) == [b"v0", b"v1"]


def test_a_subscribed_pattern_finds_a_new_topic(broker: Broker, topic_name: str, group_name: str) -> None:
    create_topic(broker, f"{topic_name}-1")
    group = Members()
    with consumer(broker, group_name, topic_metadata_refresh_interval_ms=200) as client:
        client.subscribe([f"^{topic_name}-.*"])
        group.consumers = [client]
        group.wait_for(lambda: len(client.assignment()) == 1, "the first topic")
        create_topic(broker, f"{topic_name}-2")
        group.wait_for(lambda: len(client.assignment()) == 2, "the second topic")


def test_a_group_follows_when_partitions_are_added(broker: Broker, topic: str, group_name: str) -> None:
    from confluent_kafka.admin import NewPartitions

    group = Members()
    with consumer(broker, group_name, topic_metadata_refresh_interval_ms=200) as client:
        client.subscribe([topic])
        group.consumers = [client]
        group.wait_for(lambda: group.partitions() == [0], "one partition")
        changing = admin(broker)
        changing.create_partitions([NewPartitions(topic, 2)])[topic].result(PATIENCE_S)
        group.wait_for(lambda: group.partitions() == [0, 1], "two partitions")


def test_a_static_member_that_comes_back_gets_its_partitions_without_a_rebalance(
    broker: Broker, topic_of_3: str, group_name: str
) -> None:
    assigned: list[list[int]] = []
    group = Members()
    with consumer(broker, group_name, group_instance_id="stays") as staying:
        staying.subscribe([topic_of_3], on_assign=lambda _, got: assigned.append([p.partition for p in got]))
        group.consumers = [staying]
        group.wait_for(lambda: group.shares() == [3], "the first has all")
        with consumer(broker, group_name, group_instance_id="returns") as returning:
            returning.subscribe([topic_of_3])
            group.consumers = [staying, returning]
            group.wait_for(lambda: group.shares() == [1, 2], "the two share")
            had = sorted(p.partition for p in returning.assignment())
            rebalances = len(assigned)
        # A static member does not say goodbye: closing it is going away for a moment.
        with consumer(broker, group_name, group_instance_id="returns") as again:
            again.subscribe([topic_of_3])
            group.consumers = [staying, again]
            group.wait_for(lambda: again.assignment(), "back again")
            assert sorted(p.partition for p in again.assignment()) == had
            assert len(assigned) == rebalances


def test_a_second_member_of_the_same_static_id_fences_the_first(broker: Broker, topic: str, group_name: str) -> None:
    group = Members()
    with (
        consumer(broker, group_name, group_instance_id="one") as first,
        consumer(broker, group_name, group_instance_id="one") as second,
    ):
        first.subscribe([topic])
        group.consumers = [first]
        group.wait_for(lambda: group.shares() == [1], "the first has it")
        second.subscribe([topic])

        def fenced() -> bool:
            second.poll(0.05)
            message = first.poll(0.05)
            return message is not None and message.error() and message.error().code() == KafkaError._FATAL

        wait_until(fenced, what="the first is fenced")
        wait_until(lambda: second.poll(0.05) or second.assignment(), what="the second has it")


_MEMBER = """
import sys
from confluent_kafka import Consumer
member = Consumer({"bootstrap.servers": sys.argv[1], "group.id": sys.argv[2], "session.timeout.ms": 6000,
                   "heartbeat.interval.ms": 200, "log_level": 0})
member.subscribe([sys.argv[3]])
while not member.assignment():
    member.poll(0.05)
print("assigned", flush=True)
while True:
    member.poll(0.5)
"""


def test_a_killed_members_partitions_go_to_another_after_the_session_timeout(
    broker: Broker, topic: str, group_name: str
) -> None:
    command = [sys.executable, "-c", _MEMBER, broker.bootstrap_servers, group_name, topic]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        try:
            assert killed.stdout.readline() == "assigned\n"
        finally:
            os.kill(killed.pid, signal.SIGKILL)
    group = Members()
    with consumer(broker, group_name) as heir:
        heir.subscribe([topic])
        group.consumers = [heir]
        group.wait_for(lambda: group.shares() == [1], "the heir has it")


# --- administration ---


@pytest.fixture
def client(broker: Broker) -> AdminClient:
    return admin(broker)


def committed_group(broker: Broker, topic: str, group: str) -> None:
    """Leaves an empty group behind that has committed offset 1."""
    with consumer(broker, group) as member:
        member.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)


def test_a_stable_group_is_described_with_its_members(
    client: AdminClient, members: tuple[Members, Join], topic_of_3: str, group_name: str
) -> None:
    group, join = members
    join(client_id="the-first"), join(client_id="the-second")
    group.wait_for(lambda: group.shares() == [1, 2], "the two share")
    described = client.describe_consumer_groups([group_name])[group_name].result(PATIENCE_S)
    assert described.state == ConsumerGroupState.STABLE
    assert described.partition_assignor == "range"
    assert sorted(member.client_id for member in described.members) == ["the-first", "the-second"]
    assert all(member.host.endswith("127.0.0.1") for member in described.members)
    partitions = [p for member in described.members for p in member.assignment.topic_partitions]
    assert sorted((p.topic, p.partition) for p in partitions) == [(topic_of_3, n) for n in range(3)]


def test_a_group_without_members_is_empty(client: AdminClient, broker: Broker, topic: str, group_name: str) -> None:
    committed_group(broker, topic, group_name)
    described = client.describe_consumer_groups([group_name])[group_name].result(PATIENCE_S)
    assert (described.state, described.members) == (ConsumerGroupState.EMPTY, [])


def test_groups_are_listed_with_their_state(client: AdminClient, broker: Broker, topic: str, group_name: str) -> None:
    committed_group(broker, topic, group_name)
    listed = client.list_consumer_groups().result(PATIENCE_S).valid
    (found,) = [group for group in listed if group.group_id == group_name]
    assert found.state == ConsumerGroupState.EMPTY


def test_groups_are_listed_by_state(client: AdminClient, broker: Broker, topic: str, group_name: str) -> None:
    committed_group(broker, topic, group_name)

    def listed(state: ConsumerGroupState) -> bool:
        found = client.list_consumer_groups(states={state}).result(PATIENCE_S).valid
        return group_name in [group.group_id for group in found]

    assert listed(ConsumerGroupState.EMPTY)
    assert not listed(ConsumerGroupState.STABLE)


def test_an_empty_group_can_be_deleted(client: AdminClient, broker: Broker, topic: str, group_name: str) -> None:
    committed_group(broker, topic, group_name)
    client.delete_consumer_groups([group_name])[group_name].result(PATIENCE_S)
    listed = client.list_consumer_groups().result(PATIENCE_S).valid
    assert group_name not in [group.group_id for group in listed]
    with consumer(broker, group_name) as member:
        assert member.committed([TopicPartition(topic, 0)], timeout=PATIENCE_S)[0].offset < 0


def test_a_group_with_members_cannot_be_deleted(
    client: AdminClient, members: tuple[Members, Join], group_name: str
) -> None:
    group, join = members
    join()
    group.wait_for(lambda: group.shares() == [3], "all partitions")
    with pytest.raises(KafkaException) as failure:
        client.delete_consumer_groups([group_name])[group_name].result(PATIENCE_S)
    assert error_code(failure.value) == KafkaError.NON_EMPTY_GROUP


def test_an_unknown_group_cannot_be_deleted(client: AdminClient, group_name: str) -> None:
    with pytest.raises(KafkaException) as failure:
        client.delete_consumer_groups([group_name])[group_name].result(PATIENCE_S)
    assert error_code(failure.value) == KafkaError.GROUP_ID_NOT_FOUND
