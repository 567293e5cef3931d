"""Between instances: writes go to the one that decides, and what another has just written is found here, too."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...http_client import httpx
from . import faults
from .http import BODY_BYTES_MAX, Answer
from .leadership import Elsewhere
from .state import State
from .store import complain

POSITION = "x-ottla-position"
"""Header of answers to forwarded requests: how far the log was applied then."""

FORWARDED = "x-forward"
"""Header of forwarded requests, Confluent's name: who gets one answers it, and sends it to nobody else."""

TIMEOUT_S = 8.0
_HOP_HEADERS = {b"host", b"content-length", b"connection", b"transfer-encoding", b"accept-encoding"}


@dataclass
class Exchange:
    """What one run of the application left besides its answer."""

    elsewhere: Elsewhere | None = None
    missing: bool = False


class Forwarding:
    """Wraps the application.

    Args:
        app: The application.
        state: The state.
        verify: What to trust, and to show, when others are asked over TLS; True: the system's certificates.
    """

    def __init__(self, app: ASGIApp, state: State, verify: ssl.SSLContext | bool = True) -> None:
        self._app = app
        self._state = state
        self._verify = verify
        self._http: httpx.AsyncClient | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        exchange, answer = await self._run(scope, body)
        if exchange.elsewhere is not None:
            answer = await self._forward(scope, body, exchange.elsewhere, answer)
        elif exchange.missing and scope["method"] in ("GET", "POST") and self._state.follows():
            await run_in_threadpool(self._state.catch_up)
            _exchange, answer = await self._run(scope, body)
        forwarded = any(name == FORWARDED.encode() for name, _value in scope["headers"])
        for message in answer:
            if forwarded and message["type"] == "http.response.start":
                position = str(self._state.position()).encode()
                message = {**message, "headers": [*message["headers"], (POSITION.encode(), position)]}
            await send(message)

    async def _run(self, scope: Scope, body: bytes) -> tuple[Exchange, list[Message]]:
        """Runs the application, its answer held back."""
        exchange = Exchange()
        answer: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            answer.append(message)

        await self._app({**scope, "ottla.exchange": exchange}, receive, send)
        return exchange, answer

    async def _forward(self, scope: Scope, body: bytes, elsewhere: Elsewhere, own: list[Message]) -> list[Message]:
        if any(name == FORWARDED.encode() for name, _value in scope["headers"]):
            return own  # sent on once already: the sender looks again at who decides
        for _attempt in range(3):
            try:
                response = await self._ask(scope, body, elsewhere.leader.url)
            except httpx.TransportError as error:
                complain(f"the instance at {elsewhere.leader.url} does not answer ({error!r}): taking over")
                self._state.leadership.take_over(elsewhere.leader)
            else:
                if not _lost_leadership(response):
                    return await self._told(response)
                await run_in_threadpool(self._state.catch_up)
            exchange, answer = await self._run(scope, body)
            if exchange.elsewhere is None:
                return answer
            elsewhere = exchange.elsewhere
        refusal = faults.forwarding_failed(f"who decides changed again and again, last to {elsewhere.leader.url}")
        return await _messages(Answer({"error_code": refusal.code, "message": str(refusal)}, refusal.status))

    async def _ask(self, scope: Scope, body: bytes, url: str) -> httpx.Response:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=TIMEOUT_S, verify=self._verify if url.startswith("https") else False)
        path = scope["raw_path"].decode("ascii") if scope.get("raw_path") else scope["path"]
        query = scope["query_string"].decode("ascii")
        headers = [(name, value) for name, value in scope["headers"] if name not in _HOP_HEADERS]
        address = url.rstrip("/") + path.partition("?")[0] + (f"?{query}" if query else "")
        return await self._http.request(
            scope["method"], address, content=body, headers=[*headers, (FORWARDED.encode(), b"true")]
        )

    async def _told(self, response: httpx.Response) -> list[Message]:
        position = response.headers.get(POSITION, "")
        if position.isdigit():
            # Who registered here reads here next.
            await run_in_threadpool(self._state.wait_for, int(position), 2.0)
        kept = [(name, value) for name, value in response.headers.raw if name.lower() in (b"content-type",)]
        length = (b"content-length", str(len(response.content)).encode())
        return [
            {"type": "http.response.start", "status": response.status_code, "headers": [*kept, length]},
            {"type": "http.response.body", "body": response.content},
        ]


def _lost_leadership(response: httpx.Response) -> bool:
    return response.status_code == 500 and b'"error_code":50004' in response.content


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message: dict[str, Any] = dict(await receive())
        body += message.get("body", b"")
        # What is longer than allowed is cut one byte behind the limit: the application sees that it is too long.
        if not message.get("more_body") or len(body) > BODY_BYTES_MAX:
            return bytes(body[: BODY_BYTES_MAX + 1])


async def _messages(response: Any) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await response({"type": "http"}, receive, send)
    return messages
