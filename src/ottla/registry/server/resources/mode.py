"""/mode: whether subjects may be changed, for all and for one."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..http import Answer, body, flag, subject_of
from ..registry import Registry


def routes(registry: Registry) -> list[BaseRoute]:
    settings = registry.settings

    def scope(request: Request) -> str | None:
        return subject_of(request) if "subject" in request.path_params else None

    async def read(request: Request) -> Response:
        return Answer({"mode": settings.mode(scope(request), default_to_global=flag(request, "defaultToGlobal"))})

    async def change(request: Request) -> Response:
        subject, asked = scope(request), await body(request, dict[str, Any])
        return Answer({"mode": await run_in_threadpool(settings.set_mode, subject, asked.get("mode"))})

    async def delete(request: Request) -> Response:
        return Answer({"mode": await run_in_threadpool(settings.delete_mode, scope(request))})

    return [
        Route(path, endpoint, methods=[method])
        for path in ("/mode", "/mode/{subject}")
        for method, endpoint in (("GET", read), ("PUT", change), ("DELETE", delete))
    ]
