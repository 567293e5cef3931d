"""Quotas: how many bytes a client may write and read in a second, and how much of the broker's time it may take.

As in Kafka (KIP-13, KIP-124, KIP-219): a quota belongs to a user, a client id, or both, or to the default of these; the
most specific one counts, and each user (client, pair) has its own budget. The rate is taken over eleven windows of a
second. Who is above it is answered with `throttle_time_ms`, and nothing more is read from the connection for that long.
A Fetch that would go above it is answered without records; it gets them when the time is over.

`request_percentage` counts the time of the broker's one thread: 100 is all of it. It is checked when a request comes,
by what the ones before it took.

`controller_mutation_rate` is in mutations.py. `connection_creation_rate` (KIP-612) belongs to an IP address: a
connection above it is not served, and closed after the time that the client should have waited, a second at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ottla.broker.security.mutations import STRICT_SINCE, Bucket, Mutations
from ottla.broker.security.store import Entity, Quotas
from ottla.broker.wire.schema import Message

if TYPE_CHECKING:
    from ottla.broker.connection import Call

WINDOW_S = 1.0
WINDOWS = 11
MIN_SPAN_S = (WINDOWS - 1) * WINDOW_S
REQUEST_THROTTLE_MAX_S = 1.0  # Kafka's bound for request_percentage: one window
PRODUCE, FETCH = 0, 1
_SASL = (17, 36)
METERS_MAX = 10_000
CLIENT_ID_MAX = 256  # what is longer counts as its beginning: client ids are the clients' to invent

PRODUCER, CONSUMER, REQUEST = "producer_byte_rate", "consumer_byte_rate", "request_percentage"
MUTATION, CONNECTION = "controller_mutation_rate", "connection_creation_rate"
CONNECTION_THROTTLE_MAX_S = 1.0  # Kafka's bound, one window
Owner = tuple[str, str]  # user and client id; "" where the quota does not name one


class Meter:
    """What one owner has used up lately, in windows of a second."""

    __slots__ = ("_samples", "_total")

    def __init__(self) -> None:
        self._samples: deque[list[float]] = deque()  # [start, amount]
        self._total = 0.0

    def add(self, amount: float, now: float) -> None:
        if self._samples and now - self._samples[-1][0] < WINDOW_S:
            self._samples[-1][1] += amount
        else:
            self._samples.append([now, amount])
        self._total += amount

    def rate(self, now: float) -> tuple[float, float]:
        """The amount per second and the seconds over which that was taken."""
        while self._samples and now - self._samples[0][0] >= WINDOWS * WINDOW_S:
            self._total -= self._samples.popleft()[1]
        if not self._samples:
            self._total = 0.0
            return 0.0, MIN_SPAN_S
        span = now - self._samples[0][0]
        # As Kafka's: full windows that have not been yet count as if they had been empty.
        missing = WINDOWS - 1 - int(span / WINDOW_S)
        span += max(missing, 0) * WINDOW_S
        return self._total / span, span

    def wait(self, limit: float, now: float) -> float:
        """How long the owner has to wait until its rate is within the limit again, in seconds."""
        rate, span = self.rate(now)
        return (rate - limit) / limit * span if rate > limit else 0.0


class QuotaKeeper:
    """Applies quotas to requests.

    Args:
        quotas: What is set; whoever changes it calls `changed`.
    """

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._limits: dict[tuple[str, str, str], tuple[float, Owner] | None] = {}
        self._meters: dict[tuple[str, Owner], Meter] = {}
        self._buckets: dict[Owner, Bucket] = {}
        self.active = bool(quotas)

    def changed(self) -> None:
        """To be called after every change of the quotas."""
        self._limits.clear()
        self._meters.clear()
        self._buckets.clear()
        self.active = bool(self._quotas)

    def limit(self, key: str, principal: str, client_id: str) -> tuple[float, Owner] | None:
        """The quota that counts for a client, and whose budget it is."""
        asked = (key, principal, client_id)
        if asked not in self._limits:
            if len(self._limits) >= METERS_MAX:
                self._limits.clear()
            self._limits[asked] = self._look_up(key, principal.partition(":")[2], client_id)
        return self._limits[asked]

    def _look_up(self, key: str, user: str, client: str) -> tuple[float, Owner] | None:
        for entity, owner in _precedence(user, client):
            value = self._quotas.get(entity, {}).get(key)
            if value is not None:
                return value, owner
        return None

    def watch(self, call: Call, size: int) -> None:
        """Looks at a request of so many bytes before it is handled: counts it, and throttles its client if need be."""
        if call.api.key in _SASL:
            return
        now = call.started
        principal, client_id = call.principal, _client_id(call)
        wait = 0.0
        limit = self.limit(REQUEST, principal, client_id)
        if limit is not None:
            wait = min(self._meter(REQUEST, limit[1]).wait(limit[0], now), REQUEST_THROTTLE_MAX_S)
        if call.api.key == PRODUCE:
            limit = self.limit(PRODUCER, principal, client_id)
            if limit is not None:
                meter = self._meter(PRODUCER, limit[1])
                meter.add(size, now)
                wait = max(wait, meter.wait(limit[0], now))
        elif call.api.key == FETCH:
            limit = self.limit(CONSUMER, principal, client_id)
            if limit is not None:
                # Never more at once than fits into the windows: it could never be sent.
                call.body["max_bytes"] = min(call.body["max_bytes"], max(int(limit[0] * MIN_SPAN_S), 1))
                meter, allowed = self._meter(CONSUMER, limit[1]), limit[0]
                call.amend_reply(lambda reply: _fetched(call, meter, allowed, reply))
        if wait > 0:
            _throttle(call, wait)
            call.amend_reply(lambda reply: _say(reply, wait))

    def handled(self, call: Call, seconds: float) -> None:
        """Counts the time that a request has taken."""
        limit = self.limit(REQUEST, call.principal, _client_id(call))
        if limit is not None:
            self._meter(REQUEST, limit[1]).add(seconds * 100, call.started)

    def mutations(self, call: Call) -> Callable[[int], bool]:
        """Counts partitions that a request is about to make or remove; gives whether they may not be."""
        limit = self.limit(MUTATION, call.principal, _client_id(call)) if self.active else None
        if limit is None:
            return lambda _: False
        rate, owner = limit
        now = call.connection.server.loop.now
        bucket = self._buckets.get(owner)
        if bucket is None:
            if len(self._buckets) >= METERS_MAX:
                self._buckets.clear()
            bucket = self._buckets[owner] = Bucket(rate, now())
        strict = call.version >= STRICT_SINCE[call.api.key]
        mutations = Mutations(bucket, rate, now, strict=strict)

        def tell(reply: Message) -> None:
            if mutations.wait > 0:
                _throttle(call, mutations.wait)
                _say(reply, mutations.wait)

        call.amend_reply(tell)
        return mutations.refuses

    def connecting(self, address: str, now: float) -> float:
        """Counts a connection from an IP address; gives how long it has to wait to be closed, 0 if it is welcome."""
        if not self.active:
            return 0.0
        for name in (address, None):
            rate = self._quotas.get((("ip", name),), {}).get(CONNECTION)
            if rate is not None:
                meter = self._meter(CONNECTION, (address, ""))
                meter.add(1.0, now)
                wait = meter.wait(rate, now)
                if wait > 0:
                    meter.add(-1.0, now)
                return min(wait, CONNECTION_THROTTLE_MAX_S)
        return 0.0

    def _meter(self, key: str, owner: Owner) -> Meter:
        meter = self._meters.get((key, owner))
        if meter is None:
            if len(self._meters) >= METERS_MAX:
                self._meters.clear()  # client ids are the clients' to invent: forgetting is better than growing
            meter = self._meters[key, owner] = Meter()
        return meter


def _client_id(call: Call) -> str:
    return (call.client_id or "")[:CLIENT_ID_MAX]


def _precedence(user: str, client: str) -> list[tuple[Entity, Owner]]:
    """The entities that may have a quota for a client, the most specific first, and whose budget each is."""

    def both(user_name: str | None, client_name: str | None) -> Entity:
        return (("client-id", client_name), ("user", user_name))

    return [
        (both(user, client), (user, client)),
        (both(user, None), (user, client)),
        ((("user", user),), (user, "")),
        (both(None, client), (user, client)),
        (both(None, None), (user, client)),
        ((("user", None),), (user, "")),
        ((("client-id", client),), ("", client)),
        ((("client-id", None),), ("", client)),
    ]


def _fetched(call: Call, meter: Meter, limit: float, reply: Message) -> None:
    """Counts what a Fetch is about to send; above the quota it sends nothing now."""
    size = sum(len(part["records"] or b"") for topic in reply.get("responses", ()) for part in topic["partitions"])
    if not size:
        return
    now = call.connection.server.loop.now()
    idle = meter.rate(now)[0] == 0
    meter.add(size, now)
    wait = meter.wait(limit, now)
    if wait <= 0:
        return
    if not idle:  # a batch larger than the quota goes out once everything before it is forgotten
        meter.add(-size, now)
        reply["responses"] = ()
    _throttle(call, wait)
    _say(reply, wait)


def _throttle(call: Call, seconds: float) -> None:
    connection = call.connection
    connection.hold()
    connection.server.loop.call_later(seconds, connection.go_on)


def _say(reply: Message, seconds: float) -> None:
    reply["throttle_time_ms"] = max(int(seconds * 1000), 1, reply.get("throttle_time_ms", 0))
