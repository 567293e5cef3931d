"""Foreign-key joins of tables (KIP-213): the left table subscribes to rows of the right one, over two internal topics.

    left change -> subscription (key: foreign key) -> right table's tasks -> response (key: primary key) -> left's tasks

A response carries a hash of the left row it answers: one that comes too late for it is dropped.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from ottla.streams.context import TaskContext
from ottla.streams.operators.base import Operator, applied
from ottla.streams.operators.batch import Batch
from ottla.streams.operators.table_join import LookupMaker
from ottla.streams.operators.tables import TableOptions
from ottla.streams.serdes import Serde
from ottla.streams.stores.base import BytesStore

_SUBSCRIPTION = struct.Struct(">Bi16s")
_RESPONSE = struct.Struct(">?i16s")
_HELD = struct.Struct(">i16s")
_LENGTH = struct.Struct(">I")

DELETE_QUIETLY, DELETE, ANSWER_ALWAYS, ANSWER_IF_FOUND = range(4)
"""What a subscription asks for (KIP-213's instructions)."""

NO_ROW = bytes(16)
"""The hash of no row."""


class Subscription(NamedTuple):
    """From the left table to the right."""

    instruction: int
    partition: int
    row_hash: bytes
    primary_key: bytes


class Response(NamedTuple):
    """From the right table to the left: the right row's bytes, or None."""

    partition: int
    row_hash: bytes
    value: bytes | None


class SubscriptionSerde(Serde[Subscription]):
    """Instruction (1 byte), partition of the primary key (4), hash (16), primary key."""

    name = "subscription"

    def encode(self, value: Subscription, topic: str) -> bytes:
        return _SUBSCRIPTION.pack(value.instruction, value.partition, value.row_hash) + value.primary_key

    def decode(self, data: bytes, topic: str) -> Subscription:
        instruction, partition, row_hash = _SUBSCRIPTION.unpack_from(data)
        return Subscription(instruction, partition, row_hash, data[_SUBSCRIPTION.size :])


class ResponseSerde(Serde[Response]):
    """Whether there is a row (1 byte), partition (4), hash (16), the right row."""

    name = "response"

    def encode(self, value: Response, topic: str) -> bytes:
        return _RESPONSE.pack(value.value is not None, value.partition, value.row_hash) + (value.value or b"")

    def decode(self, data: bytes, topic: str) -> Response:
        found, partition, row_hash = _RESPONSE.unpack_from(data)
        return Response(partition, row_hash, data[_RESPONSE.size :] if found else None)


def _hash(serde: Serde[Any], value: Any, topic: str) -> bytes:
    return NO_ROW if value is None else hashlib.blake2b(serde.encode(value, topic), digest_size=16).digest()


class Subscribe(Operator):
    """Changes of the left table into subscriptions."""

    def __init__(
        self, extractor: Callable[[Any], Any], left: bool, key: Serde[Any], value: Serde[Any], topic: str
    ) -> None:
        self._extractor = extractor
        self._left = left
        self._key, self._value = key, value
        self._topic = topic

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._key, self._value = self._key.bind(context.codecs), self._value.bind(context.codecs)

    def process(self, batch: Batch) -> None:
        if batch.latest is not None:
            batch = batch.where(batch.latest)
        olds = batch.olds or [None] * len(batch)
        found, batch = applied(self, batch, self._messages, batch.keys, batch.whole, olds)
        batch = batch.at([index for index, messages in enumerate(found) for _ in messages])
        flat = [message for messages in found for message in messages]
        if flat:
            self.forward(batch.with_keys([key for key, _ in flat]).with_values([value for _, value in flat]))

    def _messages(self, key: Any, new: Any, old: Any) -> list[tuple[Any, Subscription]]:
        if new is None and old is None:
            return []
        raw = self._key.encode(key, self._topic)
        row_hash = _hash(self._value, new, self._topic)

        def message(to: Any, instruction: int) -> tuple[Any, Subscription]:
            return to, Subscription(instruction, self.context.partition, row_hash, raw)

        before = None if old is None else self._extractor(old)
        now = None if new is None else self._extractor(new)
        if self._left:
            messages = [message(before, DELETE_QUIETLY)] if before is not None and before != now else []
            return [*messages, message(now, ANSWER_ALWAYS)]
        if now is None:
            self.context.drop(self, "null-foreign-key", new is not None)
            return [message(before, DELETE)] if before is not None else []
        if before is None or before == now:
            # Without a partner now there was none before either, so there is nothing to take back.
            return [message(now, ANSWER_IF_FOUND)]
        return [message(before, DELETE_QUIETLY), message(now, ANSWER_ALWAYS)]


class Answer(Operator):
    """Keeps subscriptions beside the right table, and answers them with what it holds now."""

    def __init__(self, store: str, right: LookupMaker, foreign_key: Serde[Any], value: Serde[Any], topic: str) -> None:
        self._store_name = store
        self._right = right
        self._foreign_key, self._value = foreign_key, value
        self._topic = topic

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._store: BytesStore = context.store(self._store_name)
        self._lookup = self._right(context)
        self._foreign_key, self._value = self._foreign_key.bind(context.codecs), self._value.bind(context.codecs)

    def process(self, batch: Batch) -> None:
        keys: list[bytes] = []
        answers: list[Response] = []
        stamps: list[int] = []
        for key, asked, stamp in zip(batch.keys, batch.whole, batch.timestamps, strict=True):
            held = None
            if key is not None:
                place = _place(self._foreign_key.encode(key, self._topic)) + asked.primary_key
                if asked.instruction in (DELETE, DELETE_QUIETLY):
                    self._store.delete(place)
                else:
                    self._store.put(place, _HELD.pack(asked.partition, asked.row_hash))
                held = self._lookup(key)
            if asked.instruction == DELETE_QUIETLY or (asked.instruction == ANSWER_IF_FOUND and held is None):
                continue
            value = None
            if held is not None:
                stamp = max(stamp, held.timestamp_ms)
                if asked.instruction != DELETE:
                    value = self._value.encode(held.value, self._topic)
            keys.append(asked.primary_key)
            answers.append(Response(asked.partition, asked.row_hash, value))
            stamps.append(stamp)
        self.forward(Batch(keys, answers, stamps))


class Publish(Operator):
    """Changes of the right table into responses to all who subscribe to the row."""

    def __init__(self, store: str, foreign_key: Serde[Any], value: Serde[Any], topic: str) -> None:
        self._store_name = store
        self._foreign_key, self._value = foreign_key, value
        self._topic = topic

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._store: BytesStore = context.store(self._store_name)
        self._foreign_key, self._value = self._foreign_key.bind(context.codecs), self._value.bind(context.codecs)

    def process(self, batch: Batch) -> None:
        if batch.latest is not None:
            batch = batch.where(batch.latest)
        keys: list[bytes] = []
        answers: list[Response] = []
        stamps: list[int] = []
        for key, new, stamp in zip(batch.keys, batch.whole, batch.timestamps, strict=True):
            place = _place(self._foreign_key.encode(key, self._topic))
            value = None if new is None else self._value.encode(new, self._topic)
            for raw, held in list(self._store.prefix(place)):
                partition, row_hash = _HELD.unpack(held)
                keys.append(raw[len(place) :])
                answers.append(Response(partition, row_hash, value))
                stamps.append(stamp)
        self.forward(Batch(keys, answers, stamps))


class Resolve(Operator):
    """Responses into rows of the joined table, where they answer what the left table holds now."""

    def __init__(
        self,
        left_table: LookupMaker,
        joiner: Callable[[Any, Any], Any],
        left: bool,
        key: Serde[Any],
        left_value: Serde[Any],
        right_value: Serde[Any],
        topic: str,
        options: TableOptions,
    ) -> None:
        self._left_table = left_table
        self._joiner = joiner
        self._left = left
        self._key, self._left_value, self._right_value = key, left_value, right_value
        self._topic = topic
        self._options = options

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._lookup = self._left_table(context)
        self._key = self._key.bind(context.codecs)
        self._left_value, self._right_value = (
            self._left_value.bind(context.codecs),
            self._right_value.bind(context.codecs),
        )

    def process(self, batch: Batch) -> None:
        results, batch = applied(self, batch, self._row, batch.keys, batch.whole)
        chosen = [found is not None for found in results]
        self.context.drop(self, "overtaken", chosen.count(False))
        rows = [found for found in results if found is not None]
        batch = batch.where(chosen)
        if rows:
            self.forward(batch.with_keys([key for key, _ in rows]).with_values([row for _, row in rows]))

    def _row(self, raw_key: bytes, answer: Response) -> tuple[Any, Any] | None:
        key = self._key.decode(raw_key, self._topic)
        held = self._lookup(key)
        row = None if held is None else held.value
        if _hash(self._left_value, row, self._topic) != answer.row_hash:
            return None
        if answer.value is None and (not self._left or row is None):
            return key, None
        right = None if answer.value is None else self._right_value.decode(answer.value, self._topic)
        return key, self._joiner(row, right)


def _place(foreign_key: bytes) -> bytes:
    return _LENGTH.pack(len(foreign_key)) + foreign_key
