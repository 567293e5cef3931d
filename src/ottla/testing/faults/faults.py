"""The faults of one broker, as a test sets them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ottla.broker.wire.errors import ErrorCode
from ottla.testing.faults.frames import INIT_PRODUCER_ID, Header, key_of, read_request
from ottla.testing.faults.proxy import Proxy
from ottla.testing.faults.refusals import can_refuse
from ottla.testing.faults.rules import Delay, Drop, Fault, Forget, Harm, Refuse

if TYPE_CHECKING:
    from ottla.testing.server import Broker


class Faults:
    """A door in front of a broker, and what goes wrong at it. Thread-safe.

    It is a proxy that cuts the stream of bytes into Kafka's requests and answers: the broker is as it is, embedded or
    Apache Kafka, and whoever does not pass the door notices nothing. What it tells clients of the cluster's addresses
    is its own, so that all their connections come through it. Plaintext only, one broker.

    Example:
        with EmbeddedBroker() as broker:
            connect(broker.faults.bootstrap_servers)
            lost = broker.faults.drop("Produce", answer=True)
            ...
            assert lost.hits == 1
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._lock = threading.Lock()
        self._set: list[Fault] = []
        self._transactional_ids: dict[str, None] = {}
        self._proxy = Proxy(lambda: broker.port, self._strikes)

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of the door."""
        return f"127.0.0.1:{self._proxy.port}"

    @property
    def transactional_ids(self) -> tuple[str, ...]:
        """Those that producers have asked for through the door, in that order."""
        with self._lock:
            return tuple(self._transactional_ids)

    # ------------------------------------------------------------------ requests

    def drop(self, api: str | None = None, *, times: int | None = 1, answer: bool = False) -> Fault:
        """Cuts the connection when a request arrives: the broker never sees it. With `answer`, when the broker has
        answered it: it is done, and the client does not know.

        Args:
            api: Kafka's name for it, such as "Produce"; None: whatever comes next.
            times: How many requests; None: every one until it is healed.
            answer: Whether the broker gets the request.

        Raises:
            ValueError: There is no such API.
        """
        return self._add(api, Drop(answer), times)

    def delay(self, api: str | None, seconds: float, *, times: int | None = None) -> Fault:
        """Holds the answers to requests back, and with each everything behind it on its connection: a broker that hangs
        if it is for long enough.

        Args:
            api: As for `drop`.
            seconds: For how long.
            times: As for `drop`.
        """
        return self._add(api, Delay(seconds), times)

    def error(self, api: str, code: str | int, *, times: int | None = 1) -> Fault:
        """Answers with an error, for everything that the request asks for. What would change something does not reach
        the broker.

        Args:
            api: As for `drop`.
            code: Kafka's name for the error, such as "NOT_LEADER_OR_FOLLOWER", or its number.
            times: As for `drop`.

        Raises:
            ValueError: There is no such API, or no such error, or the API's answers have no place for one.
        """
        if not can_refuse(key_of(api)):
            raise ValueError(f"an answer to {api} has no error code for all that was asked; drop it, or delay it")
        if isinstance(code, str) and code not in ErrorCode.__members__:
            raise ValueError(f"there is no error {code!r}; there are {', '.join(ErrorCode.__members__)}")
        return self._add(api, Refuse(ErrorCode[code] if isinstance(code, str) else code), times)

    def forget_brokers(self, *, times: int | None = None) -> Fault:
        """Tells clients that ask for metadata of topics without leaders in a cluster without brokers: Apache Kafka does
        so for a moment, when its only broker (or the last of all) has come back and is still fenced.

        Args:
            times: As for `drop`.
        """
        return self._add("Metadata", Forget(), times)

    def _add(self, api: str | None, harm: Harm, times: int | None) -> Fault:
        fault = Fault(api, None if api is None else key_of(api), harm, times)
        with self._lock:
            self._set.append(fault)
        return fault

    # ------------------------------------------------------------------ connections

    def kill_connections(self) -> int:
        """Resets every open connection. Returns how many there were."""
        return self._proxy.cut()

    @contextmanager
    def unavailable(self) -> Iterator[None]:
        """For the length of the block there is no broker: open connections are reset, and so is every new one."""
        self._proxy.closed = True
        try:
            self._proxy.cut()
            yield
        finally:
            self._proxy.closed = False

    def fence(self, transactional_id: str | None = None) -> list[str]:
        """Takes a transactional id over, as a second producer would: whoever had it is fenced, what it had open is
        aborted.

        Args:
            transactional_id: None takes all that were asked for through the door.

        Returns:
            The ids.

        Raises:
            BrokerUnavailable, KafkaError: The broker did not hand it over.
        """
        from ottla.kafka.transactions import TransactionalProducer
        from ottla.settings import KafkaSettings

        chosen = list(self.transactional_ids) if transactional_id is None else [transactional_id]
        for one in chosen:
            # Past the door: what is set there is not meant for this.
            TransactionalProducer(KafkaSettings(bootstrap_servers=self._broker.bootstrap_servers), one).close()
        return chosen

    def heal(self) -> None:
        """Ends every fault that is set."""
        with self._lock:
            faults, self._set = self._set, []
        for fault in faults:
            fault.heal()

    def close(self) -> None:
        """Closes the door."""
        self._proxy.close()

    def _strikes(self, header: Header, frame: bytes) -> Harm | None:
        if header.key == INIT_PRODUCER_ID and (transactional_id := read_request(frame)["transactional_id"]):
            with self._lock:
                self._transactional_ids[transactional_id] = None
        with self._lock:
            faults = list(self._set)
        return next((harm for fault in faults if (harm := fault.strikes(header.key)) is not None), None)
