"""What contract tests of the new consumer group protocol (KIP-848) share: its requests, made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ottla.broker.wire.messages.consumer_group_describe import CONSUMER_GROUP_DESCRIBE
from ottla.broker.wire.messages.consumer_group_heartbeat import CONSUMER_GROUP_HEARTBEAT
from ottla.broker.wire.messages.find_coordinator import FIND_COORDINATOR
from ottla.broker.wire.messages.offset_commit import OFFSET_COMMIT
from ottla.broker.wire.messages.offset_fetch import OFFSET_FETCH
from ottla.testing import Broker
from tests.contracts.asking import Asking
from tests.contracts.clients import create_topic, wait_until

NONE, INVALID_GROUP_ID, UNKNOWN_MEMBER_ID, UNSUPPORTED_VERSION, INVALID_CONFIG, INVALID_REQUEST = 0, 24, 25, 35, 40, 42
NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, FENCED_INSTANCE_ID, GROUP_SUBSCRIBED_TO_TOPIC = 68, 69, 82, 86
FENCED_MEMBER_EPOCH, UNRELEASED_INSTANCE_ID, UNSUPPORTED_ASSIGNOR, STALE_MEMBER_EPOCH = 110, 111, 112, 113
ILLEGAL_GENERATION, INVALID_REGULAR_EXPRESSION = 22, 128
GROUP_RESOURCE = 32
COORDINATOR_IS_COMING = (14, 15, 16)
REBALANCE_TIMEOUT_MS = 30_000


@dataclass(frozen=True)
class Beat:
    """A heartbeat's answer. `partitions` is None if it said nothing of them."""

    error: int
    message: str | None
    member: str | None
    epoch: int
    interval_ms: int
    partitions: set[int] | None


class Group:
    """A group on a raw connection. Topics have their partitions in view by number only, whatever the topic."""

    def __init__(self, asking: Asking, name: str) -> None:
        self.asking = asking
        self.name = name
        self.ids: set[bytes] = set()

    def beat(self, member: str, epoch: int, *, version: int = 1, group: str | None = None, **fields: Any) -> Beat:
        name = self.name if group is None else group
        body = {"group_id": name, "member_id": member, "member_epoch": epoch, **fields}
        answer = self.asking.ask(CONSUMER_GROUP_HEARTBEAT, version, **body)
        partitions = None
        if answer["assignment"] is not None:
            topics = answer["assignment"]["topic_partitions"]
            self.ids |= {topic["topic_id"] for topic in topics}
            partitions = {index for topic in topics for index in topic["partitions"]}
        code, message = answer["error_code"], answer["error_message"]
        interval_ms = answer["heartbeat_interval_ms"]
        return Beat(code, message, answer["member_id"], answer["member_epoch"], interval_ms, partitions)

    def join(self, member: str, *topics: str, **fields: Any) -> Beat:
        asked: dict[str, Any] = {"rebalance_timeout_ms": REBALANCE_TIMEOUT_MS, "topic_partitions": []}
        if topics:
            asked["subscribed_topic_names"] = list(topics)
        return self.beat(member, 0, **{**asked, **fields})

    def own(self, member: str, epoch: int, *partitions: int, **fields: Any) -> Beat:
        """A heartbeat that says what the member owns of the one topic."""
        (topic_id,) = self.ids
        owned = [{"topic_id": topic_id, "partitions": list(partitions)}] if partitions else []
        return self.beat(member, epoch, topic_partitions=owned, **fields)

    def described(self) -> dict[str, Any]:
        (group,) = self.asking.ask(CONSUMER_GROUP_DESCRIBE, 1, group_ids=[self.name])["groups"]
        return dict(group)

    def commit(self, topic: str, member: str, epoch: int, *, partition: int = 0, version: int = 9) -> int:
        committed = [{"partition_index": partition, "committed_offset": 5, "committed_metadata": ""}]
        body: dict[str, Any] = {
            "group_id": self.name,
            "member_id": member,
            "generation_id_or_member_epoch": epoch,
            "topics": [{"name": topic, "partitions": committed}],
        }
        answer = self.asking.ask(OFFSET_COMMIT, version, **body)
        return int(answer["topics"][0]["partitions"][0]["error_code"])

    def fetch(self, topic: str, member: str | None, epoch: int) -> tuple[int, int | None]:
        wanted = {
            "group_id": self.name,
            "member_id": member,
            "member_epoch": epoch,
            "topics": [{"name": topic, "partition_indexes": [0]}],
        }
        (group,) = self.asking.ask(OFFSET_FETCH, 9, groups=[wanted])["groups"]
        offsets = [part["committed_offset"] for found in group["topics"] for part in found["partitions"]]
        return group["error_code"], offsets[0] if offsets else None

    def until_given(self, member: str, epoch: int) -> set[int]:
        """Heartbeats until partitions come."""
        return wait_until(lambda: self.beat(member, epoch).partitions, what="partitions")  # type: ignore[no-any-return]


@pytest.fixture
def asking(broker: Broker, group_name: str) -> Iterator[Asking]:
    """A connection to the group's coordinator, which may still be loading just after the broker's start."""
    with Asking(broker) as opened:

        def found() -> bool:
            opened.ask(FIND_COORDINATOR, 4, key_type=0, coordinator_keys=[group_name])
            code = opened.ask(CONSUMER_GROUP_HEARTBEAT, 1, group_id=group_name, member_id="m", member_epoch=1)
            return code["error_code"] not in COORDINATOR_IS_COMING

        wait_until(found, what="a coordinator")
        yield opened


@pytest.fixture
def group(asking: Asking, group_name: str) -> Group:
    return Group(asking, group_name)


def made(group: Group, broker: Broker, name: str, partitions: int) -> str:
    """Creates a topic, and waits until the groups' coordinator knows of it: in Apache Kafka later than the topic is."""
    create_topic(broker, name, partitions)
    scratch = Group(group.asking, f"{name}-scratch")

    def known() -> bool:
        return bool(scratch.join("a", name).partitions)

    wait_until(known, what=f"the coordinator knows {name}")
    scratch.beat("a", -1)
    return name


@pytest.fixture
def topic(group: Group, broker: Broker, topic_name: str) -> str:
    return made(group, broker, topic_name, 1)


@pytest.fixture
def topic_of_3(group: Group, broker: Broker, topic_name: str) -> str:
    return made(group, broker, topic_name, 3)


def moved_on(group: Group, topic: str) -> tuple[int, int]:
    """`a` has given partition 2 to `b`; gives a's epochs before and after."""
    first = group.join("a", topic).epoch
    group.join("b", topic)
    kept = group.beat("a", first)
    assert kept.partitions == {0, 1}
    assert kept.epoch == first
    after = group.own("a", first, 0, 1).epoch
    assert after == first + 1
    return first, after
