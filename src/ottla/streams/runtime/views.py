"""One partition of a store as a query sees it: in this process, or through another instance's HTTP port."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from ottla.errors import StateUnavailable
from ottla.http_client import httpx
from ottla.streams.stores.base import BytesStore, Pair

PAGE = 1_000
ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """Who answers for a partition, and how old the answer may be.

    Attributes:
        standby: A copy answers, not the task itself.
        behind_s: The copy had everything so long ago; 0 for the task itself; None: it has never had everything.
    """

    standby: bool
    behind_s: float | None

    def within(self, max_staleness_s: float | None) -> bool:
        """Whether that is recent enough; None asks for the task itself."""
        if not self.standby:
            return True
        return max_staleness_s is not None and self.behind_s is not None and self.behind_s <= max_staleness_s


class Answer(msgspec.Struct):
    """What an instance answers another: pairs, and how fresh they are."""

    standby: bool
    behind_s: float | None
    pairs: list[tuple[bytes, bytes]]


def text_of(data: bytes | None) -> str | None:
    """Bytes for a URL."""
    return None if data is None else urlsafe_b64encode(data).decode()


def bytes_of(text: str | None) -> bytes | None:
    """The other way round. Raises ValueError."""
    return None if text is None else urlsafe_b64decode(text)


def answer(store: BytesStore, freshness: Freshness, asked: dict[str, str]) -> bytes:
    """What `RemoteStore` is told. Raises ValueError where the question makes no sense."""
    key = bytes_of(asked.get("key"))
    if key is not None:
        value = store.get(key)
        pairs = [] if value is None else [(key, value)]
    else:
        limit = max(1, min(int(asked.get("limit", PAGE)), PAGE))
        found = store.range(bytes_of(asked.get("low")), bytes_of(asked.get("high")), reverse="reverse" in asked)
        pairs = list(islice(found, limit))
    return msgspec.msgpack.encode(Answer(freshness.standby, freshness.behind_s, pairs))


class RemoteStore(BytesStore):
    """Reads a partition of a store on another instance.

    Args:
        client: What asks.
        address: `host:port` of the instance.
        store, partition: What it is asked for.
        max_staleness_s: None asks for the task itself; else a copy may answer that is not further behind.

    Raises:
        StateUnavailable: (from every method) It does not answer, or not for this partition.
    """

    def __init__(
        self, client: httpx.Client, address: str, store: str, partition: int, max_staleness_s: float | None
    ) -> None:
        self._client = client
        self._url = f"http://{address}/state/{store}/bytes"
        self._partition = partition
        self._max_staleness_s = max_staleness_s
        self.freshness: Freshness | None = None

    def get(self, key: bytes) -> bytes | None:
        pairs = self._ask(key=text_of(key))
        return pairs[0][1] if pairs else None

    def range(self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False) -> Iterator[Pair]:
        while True:
            pairs = self._ask(low=text_of(low), high=text_of(high), reverse="1" if reverse else None)
            yield from pairs
            if len(pairs) < PAGE:
                return
            if reverse:
                high = pairs[-1][0]
            else:
                low = pairs[-1][0] + b"\0"

    def approximate_count(self) -> int:
        raise StateUnavailable("another instance's store is not counted")

    def put(self, key: bytes, value: bytes) -> None:
        raise TypeError("queries do not write")

    def delete(self, key: bytes) -> None:
        raise TypeError("queries do not write")

    def close(self) -> None:
        """Nothing to let go of."""

    def _ask(self, **asked: str | None) -> list[Pair]:
        wanted: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        wanted["partition"] = str(self._partition)
        try:
            reply = self._client.get(self._url, params=wanted, timeout=ANSWER_S)
        except httpx.HTTPError as error:
            raise StateUnavailable(f"{self._url} does not answer: {type(error).__name__}: {error}") from error
        if reply.status_code != 200:
            raise StateUnavailable(f"{self._url} partition {self._partition}: {reply.text}")
        try:
            found = msgspec.msgpack.decode(reply.content, type=Answer)
        except msgspec.DecodeError as error:
            raise StateUnavailable(f"{self._url} answered what no Ottla answers: {error}") from error
        self.freshness = Freshness(found.standby, found.behind_s)
        if not self.freshness.within(self._max_staleness_s):
            raise StateUnavailable(
                f"{self._url} partition {self._partition}: only a copy is there, {_behind(found.behind_s)}"
            )
        return found.pairs


def _behind(behind_s: float | None) -> str:
    return "which has never had everything" if behind_s is None else f"{behind_s:.1f} s behind"
