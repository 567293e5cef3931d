"""The inbox in Redis: for handlers whose effect is not in a database of their own.

An event's key is first a claim (who is at it, and until when), then a mark that it is done, which Redis forgets by
itself. Both in one SET, so that of two who come at once one gets the claim; the other waits (`NotNow`) until the claim
becomes a mark, or runs out because its holder died.

Promised: while the mark is there, the event is not handled again; two do not handle it at the same time, as long as a
handler takes no longer than the claim holds. Not promised: exactly one effect. A service that dies after the effect
and before the mark handles the event again; a Redis that loses data (its `appendfsync`, a failover) forgets marks.
Where the effect is in a database, `Inbox` does better.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from ottla.errors import NotNow
from ottla.listeners.context import Context

DONE = b"done"

# Only the holder of a claim may turn it into a mark, or take it back: it may have run out and be somebody else's.
_FINISH = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
  redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2]) return 1
end
return 0
"""

AGAIN_S = 0.2
"""Between two looks at a claim that somebody else holds: it becomes a mark when they are done."""


class RedisInbox:
    """Which events a service has handled.

        async with inbox.once(ctx) as first:
            if first:
                await send_mail(...)

    With a plain `redis.Redis` it is `with`.

    Args:
        client: `redis.Redis` or `redis.asyncio.Redis`; Redis 7.0 or newer.
        ttl: The window: for so long a handled event is remembered.
        claim: How long one call of the handler may take. After that somebody else may handle the event.
        scope: Whose memory it is; None: the service's name.
        prefix: What its keys begin with.
    """

    def __init__(
        self,
        client: Any,
        *,
        ttl: timedelta = timedelta(days=7),
        claim: timedelta = timedelta(minutes=1),
        scope: str | None = None,
        prefix: str = "ottla:inbox",
    ) -> None:
        self._client = client
        self._ttl_ms = int(ttl.total_seconds() * 1000)
        self._claim_ms = int(claim.total_seconds() * 1000)
        if self._ttl_ms < 1 or self._claim_ms < 1:
            raise ValueError("RedisInbox: ttl and claim must be at least a millisecond")
        self._scope = scope
        self._prefix = prefix

    def once(self, ctx: Context) -> RedisOnce:
        """Whether an event is handled for the first time. It is marked as done at the end of the block; where the block
        raises, the claim is taken back and the next attempt is a first one again.

        Raises:
            NotNow: Somebody else is at it: the record waits.
            redis.RedisError: Redis does not answer; the handler's Retry decides.
        """
        key = f"{self._prefix}:{self._scope or ctx.service}:{ctx.event_id}"
        return RedisOnce(self._client, key, self._claim_ms, self._ttl_ms)


class RedisOnce:
    """See `RedisInbox.once`."""

    def __init__(self, client: Any, key: str, claim_ms: int, ttl_ms: int) -> None:
        self._client = client
        self._key = key
        self._claim_ms = claim_ms
        self._ttl_ms = ttl_ms
        self._token = uuid.uuid4().hex.encode()
        self._first = False

    def __enter__(self) -> bool:
        return self._answer(self._client.set(self._key, self._token, nx=True, px=self._claim_ms, get=True))

    def __exit__(self, kind: object, *_: object) -> None:
        if self._first:
            self._client.eval(_FINISH, 1, self._key, self._token, self._kept(kind))

    async def __aenter__(self) -> bool:
        return self._answer(await self._client.set(self._key, self._token, nx=True, px=self._claim_ms, get=True))

    async def __aexit__(self, kind: object, *_: object) -> None:
        if self._first:
            await self._client.eval(_FINISH, 1, self._key, self._token, self._kept(kind))

    def _answer(self, there: bytes | str | None) -> bool:
        """SET NX GET gives what was there before, and None where it has set the claim (Redis 7.0)."""
        if there not in (None, DONE, DONE.decode()):
            raise NotNow(f"{self._key}: somebody else is handling this event", wait_s=AGAIN_S)
        self._first = there is None
        return self._first

    def _kept(self, raised: object) -> int:
        return 0 if raised is not None else self._ttl_ms
