"""Topics, groups and offsets, for services and tools."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from concurrent import futures
from typing import Any, cast

import confluent_kafka
import msgspec
from confluent_kafka import admin as untyped_admin

from ottla.errors import BrokerUnavailable, KafkaError
from ottla.kafka.config import open_client
from ottla.settings import KafkaSettings

OUTDATED = frozenset({"FENCED_LEADER_EPOCH", "UNKNOWN_LEADER_EPOCH", "NOT_LEADER_FOR_PARTITION"})
"""How a broker says that the asker's knowledge of leaders is from before, or ahead of its own."""

TURNED_AWAY = frozenset({"_AUTHENTICATION", "_SSL"})
"""Why a broker that is there does not let us in. The client library goes on trying, and times out."""

AGAIN_S = 0.05
"""Between two looks at whether a new topic is known."""

rd = cast(Any, untyped_admin)  # the library's admin module exports its names without types


class PartitionInfo(msgspec.Struct, frozen=True):
    """One partition: its leader and replicas (broker ids), its first offset and the offset after its last record."""

    partition: int
    leader: int
    replicas: list[int]
    in_sync_replicas: list[int]
    earliest: int
    latest: int


class TopicInfo(msgspec.Struct, frozen=True):
    """One topic, its partitions and its configuration (name to value)."""

    name: str
    partitions: list[PartitionInfo]
    config: dict[str, str]


class MemberInfo(msgspec.Struct, frozen=True):
    """One member of a group and what it is assigned, as (topic, partition) pairs."""

    member_id: str
    client_id: str
    host: str
    instance_id: str | None
    assignment: list[tuple[str, int]]


class GroupInfo(msgspec.Struct, frozen=True):
    """One consumer group."""

    group: str
    state: str
    type: str
    assignor: str
    coordinator: int
    members: list[MemberInfo]


class PartitionLag(msgspec.Struct, frozen=True):
    """How far a group is behind on one partition.

    `committed` is None where nothing is committed: then every record there counts, since that is where Ottla's
    services begin. `seconds` is the age of the first record that counts, where it was asked for (`kafka.ages`).
    """

    topic: str
    partition: int
    committed: int | None
    end: int
    lag: int
    seconds: float | None = None


class Admin:
    """Blocking administration of a cluster. Thread-safe.

    Every method raises BrokerUnavailable where no broker answers within `timeout_s`, KafkaError where one says no. A
    client that got no answer may have lost the brokers for good (`reach`): what is asked next is asked by a new one.
    """

    def __init__(self, settings: KafkaSettings, *, timeout_s: float = 10.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._turned_away: str | None = None
        self._client = self._open()
        self._given_up: Any = None

    def _open(self) -> Any:
        return open_client(rd.AdminClient, self._settings, error_cb=self._on_error)

    def topics(self, *, internal: bool = False) -> dict[str, int]:
        """Name to partition count. Topics whose name begins with two underscores only if `internal`."""
        found = self._metadata().topics
        return {
            name: len(topic.partitions)
            for name, topic in sorted(found.items())
            if topic.error is None and (internal or not name.startswith("__"))
        }

    def brokers(self) -> dict[int, str]:
        """Broker id to `host:port`."""
        return {broker.id: f"{broker.host}:{broker.port}" for broker in self._metadata().brokers.values()}

    def ensure_topics(
        self,
        topics: Mapping[str, int],
        *,
        replication: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Creates those of `topics` (name to partition count) that do not exist, and waits until they are known.

        Returns the names it created.
        """
        existing = self.topics(internal=True)
        missing = {name: count for name, count in topics.items() if name not in existing}
        if not missing:
            return []
        factor = self._settings.topic_replication if replication is None else replication
        results = self._client.create_topics(
            [
                rd.NewTopic(name, num_partitions=count, replication_factor=factor, config=dict(config or {}))
                for name, count in missing.items()
            ],
            request_timeout=self._timeout_s,
        )
        self._settle(results.values(), "topics could not be created")
        created = []
        for name, result in results.items():
            try:
                result.result()
                created.append(name)
            except confluent_kafka.KafkaException as error:
                # Two services that start together both find it missing; one of them is first.
                if error.args[0].code() != confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self._failure(f"topic {name} could not be created", error) from error
        self._wait_until_known(missing)
        return created

    def partitions(self, topics: Collection[str]) -> dict[str, int]:
        """Topic to partition count; one that is not there is a KafkaError."""
        known = self.topics(internal=True)
        found = {topic: known[topic] for topic in topics if topic in known}
        if missing := sorted(set(topics) - found.keys()):
            raise KafkaError(f"topics {', '.join(missing)} are not known at {self._settings.bootstrap_servers}")
        return found

    def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The offset after the last record of each (topic, partition), committed or not."""
        return self._offsets(dict.fromkeys(places, rd.OffsetSpec.latest()))

    def since(self, place: tuple[str, int], time_ms: int) -> int:
        """The offset of the first record of a (topic, partition) whose timestamp is not before a time; a KafkaError
        where there is none."""
        return self._offsets({place: rd.OffsetSpec.for_timestamp(time_ms)})[place]

    def create_topic(self, name: str, partitions: int, *, config: Mapping[str, str] | None = None) -> None:
        """Creates one topic and waits until it is known; an existing one is a KafkaError."""
        topic = rd.NewTopic(
            name,
            num_partitions=partitions,
            replication_factor=self._settings.topic_replication,
            config=dict(config or {}),
        )
        self._wait(self._client.create_topics([topic], request_timeout=self._timeout_s), "created")
        self._wait_until_known([name])

    def delete_topics(self, names: Iterable[str]) -> None:
        self._wait(self._client.delete_topics(list(names), request_timeout=self._timeout_s), "deleted")

    def delete_records(self, before: Mapping[tuple[str, int], int]) -> None:
        """Deletes the records of each partition that lie before the given offset."""
        request = [confluent_kafka.TopicPartition(topic, p, offset) for (topic, p), offset in before.items()]
        results = self._client.delete_records(request, request_timeout=self._timeout_s)
        self._wait({f"{at.topic}[{at.partition}]": result for at, result in results.items()}, "shortened")

    def describe_topic(self, name: str) -> TopicInfo:
        topic = self._metadata(name).topics[name]
        if topic.error is not None:
            raise KafkaError(f"topic {name}: {topic.error.str()} at {self._settings.bootstrap_servers}")
        earliest = self._offsets({(name, p): rd.OffsetSpec.earliest() for p in topic.partitions})
        latest = self._offsets({(name, p): rd.OffsetSpec.latest() for p in topic.partitions})
        resource = rd.ConfigResource(rd.ConfigResource.Type.TOPIC, name)
        results = self._client.describe_configs([resource], request_timeout=self._timeout_s)
        entries = self._wait(results, "described")[resource]
        return TopicInfo(
            name=name,
            partitions=[
                PartitionInfo(
                    partition=p,
                    leader=info.leader,
                    replicas=list(info.replicas),
                    in_sync_replicas=list(info.isrs),
                    earliest=earliest[name, p],
                    latest=latest[name, p],
                )
                for p, info in sorted(topic.partitions.items())
            ],
            config={entry.name: entry.value for entry in sorted(entries.values(), key=lambda e: e.name)},
        )

    def end_offsets(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """(topic, partition) to the offset after the last record, for every partition of `topics` that exists."""
        known = self.topics(internal=True)
        return self._offsets(
            {(name, p): rd.OffsetSpec.latest() for name in topics if name in known for p in range(known[name])}
        )

    def bounds(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int]]:
        """(topic, partition) to its first offset and the offset after its last record, committed or not."""
        wanted = list(places)
        earliest = self._offsets({place: rd.OffsetSpec.earliest() for place in wanted})
        latest = self._offsets({place: rd.OffsetSpec.latest() for place in wanted})
        return {place: (earliest[place], latest[place]) for place in wanted}

    def add_partitions(self, topic: str, total: int) -> None:
        """Gives a topic `total` partitions, more than it has."""
        results = self._client.create_partitions([rd.NewPartitions(topic, total)], request_timeout=self._timeout_s)
        self._wait(results, "given more partitions")

    def groups(self) -> dict[str, str]:
        """Consumer group to its state (`STABLE`, `EMPTY`, ...)."""
        result = self._client.list_consumer_groups(request_timeout=self._timeout_s)
        self._settle([result], "groups could not be listed")
        try:
            listed = result.result()
        except confluent_kafka.KafkaException as error:
            raise self._failure("groups could not be listed", error) from error
        if listed.errors:
            # A broker that did not answer is an entry here, not an exception: its groups would be missing silently.
            raise self._failure("groups could not be listed", confluent_kafka.KafkaException(listed.errors[0]))
        return {group.group_id: group.state.name for group in sorted(listed.valid, key=lambda g: g.group_id)}

    def describe_group(self, group: str) -> GroupInfo:
        results = self._client.describe_consumer_groups([group], request_timeout=self._timeout_s)
        found = self._wait(results, "described")[group]
        return GroupInfo(
            group=found.group_id,
            state=found.state.name,
            type=found.type.name,
            assignor=found.partition_assignor,
            coordinator=found.coordinator.id,
            members=[
                MemberInfo(
                    member_id=member.member_id,
                    client_id=member.client_id,
                    host=member.host,
                    instance_id=member.group_instance_id,
                    assignment=sorted((p.topic, p.partition) for p in member.assignment.topic_partitions),
                )
                for member in found.members
            ],
        )

    def delete_group(self, group: str) -> None:
        """Deletes a group and what it has committed. It must have no members."""
        self._wait(self._client.delete_consumer_groups([group], request_timeout=self._timeout_s), "deleted")

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        """(topic, partition) to the offset `group` has committed."""
        request = confluent_kafka.ConsumerGroupTopicPartitions(group)
        results = self._client.list_consumer_group_offsets([request], request_timeout=self._timeout_s)
        found = self._wait(results, "read")[group]
        return {(p.topic, p.partition): p.offset for p in found.topic_partitions if p.offset >= 0}

    def reset(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Sets what `group` has committed. The group must have no members."""
        request = confluent_kafka.ConsumerGroupTopicPartitions(
            group, [confluent_kafka.TopicPartition(topic, p, offset) for (topic, p), offset in offsets.items()]
        )
        results = self._client.alter_consumer_group_offsets([request], request_timeout=self._timeout_s)
        self._wait(results, "reset")

    def lag(self, group: str) -> list[PartitionLag]:
        """How far `group` is behind, on every partition of every topic it has committed anything on or is assigned.

        A member that hangs at its very first record has committed nothing: without what is assigned, its lag would
        show nowhere.
        """
        committed = self.committed(group)
        assigned = {place for member in self.describe_group(group).members for place in member.assignment}
        ends = self.end_offsets({topic for topic, _ in {*committed, *assigned}})
        beginnings = self._offsets({place: rd.OffsetSpec.earliest() for place in ends if place not in committed})
        return [
            PartitionLag(
                topic=topic,
                partition=partition,
                committed=committed.get((topic, partition)),
                end=end,
                lag=max(0, end - (committed | beginnings)[topic, partition]),
            )
            for (topic, partition), end in sorted(ends.items())
        ]

    def _metadata(self, topic: str | None = None) -> Any:
        try:
            return self._client.list_topics(topic, timeout=self._timeout_s)
        except confluent_kafka.KafkaException as error:
            raise self._failure("the cluster did not describe itself", error) from error

    def _wait_until_known(self, topics: Collection[str]) -> None:
        """What a controller has created, brokers tell of a moment later."""
        until = time.monotonic() + self._timeout_s
        while True:
            try:
                self.partitions(topics)
                return
            except BrokerUnavailable:
                raise
            except KafkaError:
                if time.monotonic() > until:
                    raise
            time.sleep(AGAIN_S)

    def _offsets(self, wanted: dict[tuple[str, int], Any]) -> dict[tuple[str, int], int]:
        if not wanted:
            return {}
        request = {confluent_kafka.TopicPartition(topic, p): spec for (topic, p), spec in wanted.items()}
        results = self._client.list_offsets(request, request_timeout=self._timeout_s)
        self._settle(results.values(), "offsets could not be read")
        if any(_is_outdated(answer) for answer in results.values()):
            # The client library asks as it has known the leaders, again and again: after a leader's restart for ever.
            self._metadata()
            results = self._client.list_offsets(request, request_timeout=self._timeout_s)
        found = {(tp.topic, tp.partition): answer.offset for tp, answer in self._wait(results, "read").items()}
        if any(offset < 0 for offset in found.values()):  # How this request says that it got no answer in time.
            raise self._failure("offsets could not be read", _timed_out())
        return found

    def _wait(self, results: Mapping[Any, Any], done: str) -> dict[Any, Any]:
        self._settle(results.values(), f"{', '.join(str(name) for name in results)} could not be {done}")
        answers = {}
        for name, result in results.items():
            try:
                answers[name] = result.result()
            except confluent_kafka.KafkaException as error:
                raise self._failure(f"{name} could not be {done}", error) from error
        return answers

    def _settle(self, results: Iterable[Any], failure: str) -> None:
        """Waits until a question is answered. The client library ends it after `timeout_s`; some it forgets."""
        if futures.wait(results, 2 * self._timeout_s).not_done:
            raise self._failure(failure, _timed_out())

    def _on_error(self, error: Any) -> None:
        if error.name() in TURNED_AWAY:
            self._turned_away = error.str()

    def _failure(self, what: str, error: confluent_kafka.KafkaException) -> KafkaError:
        cause = error.args[0]
        away = {
            confluent_kafka.KafkaError._TRANSPORT,
            confluent_kafka.KafkaError._TIMED_OUT,
            confluent_kafka.KafkaError._ALL_BROKERS_DOWN,
            confluent_kafka.KafkaError._RESOLVE,
        }
        if cause.code() in away:
            self._client.poll(0)  # What it met meanwhile.
            # The old one is kept until the next: another thread may wait for its answers.
            self._given_up, self._client = self._client, self._open()
            if self._turned_away is not None:
                reason, self._turned_away = self._turned_away, None
                return BrokerUnavailable(
                    f"{what}: the broker at {self._settings.bootstrap_servers} turns us away: {reason}. "
                    f"See kafka.security_protocol, sasl_... and ssl_... in `ottla config show`"
                )
            return BrokerUnavailable(
                f"{what}: no broker answered at {self._settings.bootstrap_servers} within {self._timeout_s:g} s. "
                f"Is it running? The address is the setting kafka.bootstrap_servers (-b on the command line)."
            )
        return KafkaError(f"{what}: {cause.str()} ({cause.name()})")


def _is_outdated(answer: Any) -> bool:
    """Whether a question failed because leaders have changed."""
    failure = answer.exception()
    return isinstance(failure, confluent_kafka.KafkaException) and failure.args[0].name() in OUTDATED


def _timed_out() -> confluent_kafka.KafkaException:
    return confluent_kafka.KafkaException(confluent_kafka.KafkaError(confluent_kafka.KafkaError._TIMED_OUT))
