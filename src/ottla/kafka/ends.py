"""Asks the brokers for the ends of partitions, on a thread of its own: who watches must not hang with them.

With the library's blocking calls, on a client of its own that joins no group. Its admin client answers in the
background, which would do as well, but ends the process (an assertion on its reference counts) where a broker goes away
at the wrong moment; so that is for tools, and nothing that a service does all the time may rest on it.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import confluent_kafka
import msgspec

from ottla.errors import BrokerUnavailable
from ottla.kafka.config import open_client
from ottla.settings import KafkaSettings

RENEWED_AFTER_S = 3.0
"""After so long without an answer each question goes by a new client: one may have lost the brokers for good (`reach`),
and a new one costs a millisecond."""

LATEST = -1
"""As a time to look up (Kafka's ListOffsets): the end, for readers of committed records the last stable offset."""

Place = tuple[str, int]


class Answer(msgspec.Struct, frozen=True):
    """What the brokers said last.

    Attributes:
        at: When a broker last said anything (monotonic seconds).
        ends: (topic, partition) to the offset after the last record that readers of committed records may see.
        refusals: Those of which there is none, with why.
        silence: What happened where no broker said anything; None where one did.
        group: The state of the group, where it was asked for (`Stable`, `PreparingRebalance`, ...).
    """

    at: float
    ends: dict[Place, int]
    refusals: dict[Place, str]
    silence: str | None = None
    group: str | None = None


class Ends:
    """Keeps asking until it is stopped.

    Args:
        settings: Where the brokers are.
        group: The service's group; also the client's, which never joins it.
        places: Gives the partitions to ask for; where there are none, the brokers are asked whether they are there.
        wants_group: Whether to ask for the state of the group as well.
        every_s: From one question to the next.
        timeout_s: How long an answer may take.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        group: str,
        places: Callable[[], Iterable[Place]],
        wants_group: Callable[[], bool],
        every_s: float,
        timeout_s: float,
    ) -> None:
        self._settings = settings
        self._group = group
        self._places = places
        self._wants_group = wants_group
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._stop = threading.Event()
        self._tools: Any = None
        self.answer = Answer(time.monotonic(), {}, {})
        self._thread = threading.Thread(target=self._run, name="ottla-ends", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the asking. The thread ends with the question that is on its way, within the timeout."""
        self._stop.set()

    def _run(self) -> None:
        client: Any = None
        while not self._stop.is_set():
            try:
                if client is None:
                    client = self._open()
                self._ask(client)
            except Exception as error:  # Whatever it is: whoever watches says that no broker has answered.
                cause = error.args[0] if isinstance(error, confluent_kafka.KafkaException) else error
                self.answer = msgspec.structs.replace(self.answer, silence=str(getattr(cause, "str", cause.__str__)()))
                if client is not None and time.monotonic() - self.answer.at > RENEWED_AFTER_S:
                    client.close()
                    client = self._tools = None
            self._stop.wait(self._every_s)
        if client is not None:
            client.close()

    def _open(self) -> Any:
        return open_client(
            confluent_kafka.Consumer,
            self._settings,
            group_id=self._settings.named(self._group),
            enable_auto_commit=False,
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            error_cb=lambda _error: None,
        )

    def _ask(self, client: Any) -> None:
        ends: dict[Place, int] = {}
        refusals: dict[Place, str] = {}
        known = client.list_topics("__consumer_offsets", timeout=self._timeout_s)  # says that somebody is there
        if not known.brokers:
            raise BrokerUnavailable("the cluster knows of no broker that is ready")
        wanted = list(self._places())
        if wanted:
            try:
                found = client.offsets_for_times(
                    [confluent_kafka.TopicPartition(*place, LATEST) for place in wanted], timeout=self._timeout_s
                )
            except confluent_kafka.KafkaException as error:
                if error.args[0].name() != "_UNKNOWN_PARTITION":
                    raise
                found = []  # how it says that there is none of them at all
                refusals = dict.fromkeys(wanted, "Unknown topic or partition (UNKNOWN_TOPIC_OR_PART)")
            for one in found:
                if one.error is None and one.offset >= 0:
                    ends[one.topic, one.partition] = one.offset
                elif (one.error is not None and not one.error.retriable()) or _is_unknown(one.error):
                    refusals[one.topic, one.partition] = f"{one.error.str()} ({one.error.name()})"
        group = self._state_of_group() if self._wants_group() else None
        self.answer = Answer(time.monotonic(), ends, refusals, None, group)

    def _state_of_group(self) -> str:
        if self._tools is None:
            from confluent_kafka.admin import AdminClient

            self._tools = open_client(AdminClient, self._settings, error_cb=lambda _error: None)
        name = self._settings.named(self._group)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The old call, which warns that it is old: it blocks, as the others here.
            found = self._tools.list_groups(group=name, timeout=self._timeout_s)
        return next((str(one.state) for one in found if one.id == name), "no coordinator knows it")


def _is_unknown(error: Any) -> bool:
    return error is not None and error.name() == "UNKNOWN_TOPIC_OR_PART"
