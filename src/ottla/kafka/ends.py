"""Asks for the ends of partitions without waiting for the answer: whoever watches a broker must not hang with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import confluent_kafka
import msgspec
from confluent_kafka import admin as untyped_admin

rd = cast(Any, untyped_admin)  # the library's admin module exports its names without types

SILENCE = frozenset(
    {
        confluent_kafka.KafkaError._TRANSPORT,
        confluent_kafka.KafkaError._TIMED_OUT,
        confluent_kafka.KafkaError._ALL_BROKERS_DOWN,
        confluent_kafka.KafkaError._RESOLVE,
        confluent_kafka.KafkaError._AUTHENTICATION,
        confluent_kafka.KafkaError._SSL,
    }
)
"""Errors that no broker told."""

Place = tuple[str, int]


class Answer(msgspec.Struct, frozen=True):
    """What the brokers said.

    Attributes:
        ends: (topic, partition) to the offset after the last record that readers of committed records may see.
        refusals: Those of which there is none, with why.
        silence: What happened where no broker said anything; None where one did.
    """

    ends: dict[Place, int]
    refusals: dict[Place, str]
    silence: str | None


class Question:
    """One request on its way.

    Args:
        client: The library's admin client.
        places: The partitions; where there are none, the cluster is asked who it is.
        timeout_s: After so long there is an answer in any case.
    """

    def __init__(self, client: Any, places: Iterable[Place], timeout_s: float) -> None:
        request = {confluent_kafka.TopicPartition(*place): rd.OffsetSpec.latest() for place in places}
        self._futures: dict[Any, Any]
        if request:
            level = confluent_kafka.IsolationLevel.READ_COMMITTED
            self._futures = client.list_offsets(request, isolation_level=level, request_timeout=timeout_s)
        else:
            self._futures = {None: client.describe_cluster(request_timeout=timeout_s)}

    def answer(self) -> Answer | None:
        """The answer; None while it is on its way."""
        if not all(future.done() for future in self._futures.values()):
            return None
        ends: dict[Place, int] = {}
        refusals: dict[Place, str] = {}
        silence, told = None, False
        for where, future in self._futures.items():
            error = future.exception()
            if error is None:
                offset = future.result().offset if where is not None else 0
                if offset < 0:  # How this request says that it got no answer in time.
                    silence = "no answer in time"
                    continue
                told = True
                if where is not None:
                    ends[where.topic, where.partition] = offset
                continue
            cause = error.args[0] if isinstance(error, confluent_kafka.KafkaException) else None
            if cause is None or cause.code() in SILENCE:
                silence = str(cause.str() if cause is not None else error)
                continue
            told = True
            if where is not None:
                refusals[where.topic, where.partition] = f"{cause.str()} ({cause.name()})"
        return Answer(ends, refusals, None if told else silence)
