"""What topics there are: names, ids, partitions, settings. Kept in a journal, so it survives kill -9.

Journal records:
    ["cluster", id]                                  first of all
    ["topic", name, id hex, partitions, {settings}]  created, or changed as a whole
    ["delete", id hex]
    ["start", id hex, partition, offset]             records before the offset are deleted
    ["producer", id]                                 producer ids below this may have been given out
    ["broker", id or "", {settings}]                 what was set of a broker, or of all, while it ran
and those of `security/store.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ottla.broker import broker_configs
from ottla.broker.ids import random_id, short_form
from ottla.broker.log.journal import Entry, Journal
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.reserve import Reserve
from ottla.broker.security.store import SecurityStore
from ottla.broker.topic_configs import TopicConfig
from ottla.errors import CorruptLog

NAME_MAX = 249
_LEGAL_NAME = re.compile(rf"[a-zA-Z0-9._-]{{1,{NAME_MAX}}}")
PRODUCER_ID_BLOCK = 1000
JOURNAL = "catalog.journal"
INTERNAL_TOPICS = frozenset({"__consumer_offsets", "__transaction_state"})


def name_fault(name: str) -> str | None:
    """What is wrong with a topic name, in Kafka's words; None if nothing is."""
    if name not in (".", "..") and _LEGAL_NAME.fullmatch(name):
        return None
    if not name:
        why = "the empty string is not allowed"
    elif name in (".", ".."):
        why = f"'{name}' is not allowed"
    elif len(name) > NAME_MAX:
        why = f"the length of '{name}' is longer than the max allowed length {NAME_MAX}"
    else:
        why = f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    return f"Topic name is invalid: {why}"


def collide(name: str, other: str) -> bool:
    """Whether names differ in dots and underscores only: Kafka's metrics cannot tell them apart, so it refuses."""
    return name.replace(".", "_") == other.replace(".", "_")


class Topic:
    """A topic with its partitions' logs."""

    __slots__ = ("config", "id", "name", "partitions")

    def __init__(self, name: str, topic_id: bytes, config: TopicConfig) -> None:
        self.name = name
        self.id = topic_id
        self.config = config
        self.partitions: list[PartitionLog] = []

    def partition(self, index: int) -> PartitionLog | None:
        return self.partitions[index] if 0 <= index < len(self.partitions) else None


class Catalog:
    """All topics of the broker, the cluster's id and the counter of producer ids.

    Changes are written to the journal at once; the caller asks the flusher to make them durable before answering.
    """

    def __init__(self, folder: Path, defaults: dict[str, str], node: str = "1") -> None:
        self.folder = folder
        self.logs_folder = folder / "logs"
        self.logs_folder.mkdir(exist_ok=True)
        self.topics: dict[str, Topic] = {}
        self.by_id: dict[bytes, Topic] = {}
        self.changes = 0  # counts what happens to topics, so that groups notice
        self.cluster_id = ""
        self.node = node
        self.static_defaults = defaults
        self.broker_settings = {key: dict(settings) for key, settings in broker_configs.INITIAL.items()}
        self.defaults = dict(defaults)  # of topic settings, as they are in force; all topics share it
        self._producer_ids_reserved = 0
        self._next_producer_id = 0
        self._starts: dict[tuple[bytes, int], int] = {}
        self._deleted: set[str] = set()
        if not (folder / JOURNAL).exists() and any(self.logs_folder.iterdir()):
            raise CorruptLog(
                f"{folder / JOURNAL} is missing, but {self.logs_folder} holds records: nobody knows of which "
                f"topics they are. Restore the file from a backup, or choose an empty data folder with --data."
            )
        self.security = SecurityStore(lambda *entries: self.journal.append(*entries))
        self.reserve = Reserve(folder)
        self.journal = Journal(folder / JOURNAL, self._replay, self._snapshot)
        self._next_producer_id = self._producer_ids_reserved
        if not self.cluster_id:
            self.cluster_id = short_form(random_id())
            self.journal.append(["cluster", self.cluster_id])

    def recover(self) -> None:
        """Reads all partitions' files back. Raises CorruptLog."""
        for topic in self.topics.values():
            for index, log in enumerate(topic.partitions):
                log.recover(self._starts.get((topic.id, index), 0))

    def create(self, name: str, partitions: int, settings: dict[str, str]) -> Topic:
        """Makes a topic. Raises OSError if it could not be written down; then there is none."""
        topic_id = _new_topic_id()
        self.journal.append(["topic", name, topic_id.hex(), partitions, settings])
        return self._put(name, topic_id, partitions, settings)

    def change(self, topic: Topic, *, partitions: int | None = None, settings: dict[str, str] | None = None) -> None:
        """Adds partitions to a topic or replaces its settings. Raises OSError; then nothing is changed."""
        count = len(topic.partitions) if partitions is None else partitions
        values = topic.config.values if settings is None else settings
        self.journal.append(["topic", topic.name, topic.id.hex(), count, values])
        self._put(topic.name, topic.id, count, values)

    def change_broker(self, key: str, settings: dict[str, str]) -> None:
        """Replaces what was set of a broker (by its id) or of all ("") while it ran. Raises OSError."""
        self.journal.append(["broker", key, settings])
        self._set_broker(key, settings)

    def _set_broker(self, key: str, settings: dict[str, str]) -> None:
        self.broker_settings[key] = settings
        self.defaults.clear()
        self.defaults.update(broker_configs.topic_defaults(self.static_defaults, self.broker_settings, self.node))
        for topic in self.topics.values():
            topic.config.refresh()

    def delete(self, topic: Topic) -> None:
        """Forgets a topic. Its files are the caller's to destroy, once nothing uses them."""
        self._append_to_make_room(["delete", topic.id.hex()])
        self._remove(topic.id)
        for log in topic.partitions:
            log.deleted = True

    def note_start(self, topic: Topic, index: int) -> None:
        """Writes down where a partition's log begins."""
        offset = topic.partitions[index].start_offset
        self._append_to_make_room(["start", topic.id.hex(), index, offset])
        self._starts[topic.id, index] = offset

    def _append_to_make_room(self, entry: Entry) -> None:
        try:
            self.journal.append(entry)
        except OSError:
            if not self.reserve.take():
                raise
            self.journal.append(entry)

    def next_producer_id(self) -> tuple[int, bool]:
        """A producer id never given before, and whether the journal must be flushed before it is used."""
        reserve = self._next_producer_id >= self._producer_ids_reserved
        if reserve:
            limit = self._next_producer_id + PRODUCER_ID_BLOCK
            self.journal.append(["producer", limit])
            self._producer_ids_reserved = limit
        self._next_producer_id += 1
        return self._next_producer_id - 1, reserve

    def logs(self) -> Iterator[tuple[Topic, int, PartitionLog]]:
        for topic in list(self.topics.values()):
            for index, log in enumerate(topic.partitions):
                yield topic, index, log

    def orphans(self) -> list[Path]:
        """Folders of deleted topics: a crash came between the deletion and its clearing up."""
        return [path for path in self.logs_folder.iterdir() if path.name in self._deleted]

    def _put(self, name: str, topic_id: bytes, partitions: int, settings: dict[str, str]) -> Topic:
        self.changes += 1
        topic = self.by_id.get(topic_id)
        if topic is None:
            topic = Topic(name, topic_id, TopicConfig(settings, self.defaults))
            self.topics[name] = self.by_id[topic_id] = topic
        else:
            topic.config.values = settings
            topic.config.refresh()
        for index in range(len(topic.partitions), partitions):
            topic.partitions.append(PartitionLog(self.logs_folder / topic_id.hex() / str(index)))
        return topic

    def _remove(self, topic_id: bytes) -> None:
        self.changes += 1
        topic = self.by_id.pop(topic_id, None)
        if topic is not None:
            del self.topics[topic.name]
        for key in [key for key in self._starts if key[0] == topic_id]:
            del self._starts[key]

    def _replay(self, entry: Entry) -> None:
        kind = entry[0]
        if kind == "cluster":
            self.cluster_id = entry[1]
        elif kind == "topic":
            self._put(entry[1], bytes.fromhex(entry[2]), entry[3], entry[4])
        elif kind == "delete":
            self._remove(bytes.fromhex(entry[1]))
            self._deleted.add(entry[1])
        elif kind == "start":
            self._starts[bytes.fromhex(entry[1]), entry[2]] = entry[3]
        elif kind == "broker":
            self._set_broker(entry[1], entry[2])
        elif kind == "producer":
            self._producer_ids_reserved = entry[1]
        else:
            self.security.replay(entry)

    def _snapshot(self) -> Iterator[list[Any]]:
        yield ["cluster", self.cluster_id]
        yield ["producer", self._producer_ids_reserved]
        for key, settings in self.broker_settings.items():
            yield ["broker", key, settings]
        for topic in self.topics.values():
            yield ["topic", topic.name, topic.id.hex(), len(topic.partitions), topic.config.values]
        for (topic_id, index), offset in self._starts.items():
            yield ["start", topic_id.hex(), index, offset]
        yield from self.security.snapshot()


def _new_topic_id() -> bytes:
    """A random id whose text form does not begin with a dash, which command lines would take for an option."""
    while True:
        topic_id = random_id()
        if not short_form(topic_id).startswith("-"):
            return topic_id
