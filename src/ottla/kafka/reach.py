"""Whether a client has lost the brokers for good.

librdkafka (seen with 2.11 to 2.16) forgets every broker it knows when the cluster's metadata names topics but no
broker. Apache Kafka answers so for a moment while its only broker, or the last of them, comes back and is still fenced
(KIP-631). The client may never look for another one then, whatever `metadata.recovery.strategy` says (librdkafka's
issue 5301): it waits for ever, beside brokers that answer everybody else. Only a new client helps.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import confluent_kafka

from ottla.kafka.config import open_client
from ottla.settings import KafkaSettings

log = logging.getLogger("ottla.kafka")

ASKED = "__consumer_offsets"
"""A question for all topics would be a large one."""

ANSWER_S = 1.0
"""What either client gets for an answer: on a busy machine the same for both, or the old one would seem worse."""

PATIENCE_S = 5.0
"""For so long others must have been answered while a client was not: it connects again within a second or two."""


class Reply(Enum):
    """What became of a question for the cluster's brokers."""

    BROKERS = auto()
    """There are some."""
    NONE_YET = auto()
    """Somebody was asked and has not answered, or has none to name."""
    NOBODY = auto()
    """The client is connected to no broker that it could ask."""


class Reach:
    """Asks for one client. Not thread-safe.

    Args:
        settings: Where the brokers are.
        patience_s: How long others are answered before a client counts as lost.
        clock: Seconds.
    """

    def __init__(
        self, settings: KafkaSettings, *, patience_s: float = PATIENCE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._patience_s = patience_s
        self._clock = clock
        self._others_since: float | None = None
        self.has_brokers = True
        """Whether the client was answered when it was asked last."""

    def is_lost(self, client: Any) -> bool:
        """Asks the brokers with the client and, where it has nobody to ask, with a new one: takes up to 2 s then.

        Returns:
            True once others were answered, at each asking, for `patience_s` while the client had nobody to ask.
        """
        reply = ask_for_brokers(client, ANSWER_S)
        self.has_brokers = reply is Reply.BROKERS
        # A broker that takes its time is one: it may have the client's records, which another would send once more.
        if reply is not Reply.NOBODY or not self._others_are_answered():
            self._others_since = None
            return False
        now = self._clock()
        if self._others_since is None:
            self._others_since = now
        return now - self._others_since >= self._patience_s

    def begin_anew(self) -> None:
        """The client has been replaced."""
        self._others_since = None

    def _others_are_answered(self) -> bool:
        try:
            other = open_client(confluent_kafka.Producer, self._settings, error_cb=lambda _error: None)
        except Exception as error:  # a token that is not to be had, and the like
            log.warning("whether brokers answer others cannot be known: %s", error)
            return False
        return ask_for_brokers(other, ANSWER_S) is Reply.BROKERS


def ask_for_brokers(client: Any, timeout_s: float) -> Reply:
    """Asks a client for the cluster's brokers; takes up to `timeout_s` seconds."""
    try:
        return Reply.BROKERS if client.list_topics(ASKED, timeout=timeout_s).brokers else Reply.NONE_YET
    except confluent_kafka.KafkaException as error:
        # The library's answer where it found no broker to send the question to.
        is_alone = error.args[0].code() == confluent_kafka.KafkaError._TRANSPORT
        return Reply.NOBODY if is_alone else Reply.NONE_YET
