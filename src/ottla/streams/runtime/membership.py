"""Membership in the application's group.

What the group shares out are *tasks*: the members subscribe to one topic that holds nothing, `<application>-tasks`,
whose partitions stand for tasks ("tokens"). Whoever is assigned partition n runs task n, and fetches by hand, with
another consumer, all the partitions that task reads.

Why not subscribe to the source topics, as Kafka Streams does with an assignor of its own? The client library takes no
assignor from outside, and of its own ones only `range` keeps the same partitions of joined topics together, and that
for equal partition counts only, by stopping the world at each rebalance and moving most tasks when a member comes or
goes; `cooperative-sticky` keeps tasks where they are but would tear joined topics apart. With tokens a task is one
thing to whatever assignor there is: the sticky one, or the broker's own (KIP-848).

Offsets of the source topics are committed by the group, and only by who is a member in its current generation
(KIP-447): that is what fences an instance that was declared dead.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from ottla.errors import BrokerUnavailable, KafkaError
from ottla.kafka.stream_clients import Consumer, TopicPartition

Tokens = list[int]

LEAVE_S = 5.0


class Membership:
    """A member of the group. Belongs to the stream thread; the callbacks come inside `poll` and `leave`.

    Args:
        consumer: The member's.
        topic: The tokens' topic.
        on_assigned, on_revoked, on_lost: Told of tokens. A revoked token may be committed for until the callback
            returns; a lost one has another owner already, perhaps.
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        *,
        on_assigned: Callable[[Tokens], None],
        on_revoked: Callable[[Tokens], None],
        on_lost: Callable[[Tokens], None],
    ) -> None:
        self.consumer: Any = consumer
        self._topic = topic
        self._on_assigned, self._on_revoked, self._on_lost = on_assigned, on_revoked, on_lost
        self._log = logging.getLogger("ottla.streams")
        self.held: set[int] = set()
        self.member_id: str | None = None
        """What the group calls this member; None before it has joined."""

    def join(self) -> None:
        """Asks for tokens. They come inside `poll`."""
        self.consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def poll(self) -> None:
        """Serves the group; waits for nothing.

        Raises:
            KafkaError: The consumer cannot go on.
        """
        message = self.consumer.poll(0)
        if message is not None and (error := message.error()) is not None:
            if error.fatal() or error.name() in ("_FATAL", "FENCED_INSTANCE_ID"):
                raise KafkaError(f"the membership in the group has ended: {error.str()}")
            self._log.warning("group: %s", error.str())

    def metadata(self) -> Any:
        """Who this member is to the group, for `send_offsets`."""
        return self.consumer.consumer_group_metadata()

    def commit(self, offsets: list[Any]) -> None:
        """Commits offsets without a transaction, and waits.

        Raises:
            BrokerUnavailable: Nobody answers.
            KafkaError: The group refuses: this member has been replaced.
        """
        try:
            answers = self.consumer.commit(offsets=offsets, asynchronous=False)
        except Exception as error:
            cause = error.args[0] if error.args else None
            if getattr(cause, "retriable", lambda: False)():
                raise BrokerUnavailable(f"offsets could not be committed: {error}") from error
            raise KafkaError(f"offsets could not be committed: {error}") from error
        failure = next((one.error for one in answers or () if one.error), None)
        if failure is not None:
            raise KafkaError(f"offsets could not be committed: {failure.str()}")

    def leave(self) -> None:
        """Gives all tokens back and leaves: others take over at once, and not when the session has timed out.

        A static member that only closes its consumer would stay in the group until then, so it unsubscribes first.
        """
        try:
            self.consumer.unsubscribe()
            deadline = time.monotonic() + LEAVE_S
            while self.held and time.monotonic() < deadline:
                self.consumer.poll(0.05)
        finally:
            # A fenced one refuses to unsubscribe. Left open it goes on with its heartbeats, and keeps its tasks.
            self.consumer.close()

    # ------------------------------------------------------------------ callbacks, inside poll() and close()

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        self.member_id = consumer.memberid()
        if partitions:
            # Nothing is ever fetched of it.
            places = [TopicPartition(one.topic, one.partition, 0) for one in partitions]
            consumer.incremental_assign(places)
            consumer.pause(places)
        tokens = [one.partition for one in partitions]
        self.held.update(tokens)
        self._on_assigned(tokens)

    def _revoked(self, _consumer: Any, partitions: list[Any]) -> None:
        tokens = [one.partition for one in partitions]
        if tokens:
            self._on_revoked(tokens)
        self.held.difference_update(tokens)

    def _lost(self, _consumer: Any, partitions: list[Any]) -> None:
        tokens = [one.partition for one in partitions]
        self._on_lost(tokens)
        self.held.difference_update(tokens)
