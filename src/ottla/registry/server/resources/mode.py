"""/mode: whether subjects may be changed, for all, for a context and for one subject."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..http import Answer, body, flag, scope_of
from ..registry import Registry


def routes(registry: Registry) -> list[BaseRoute]:
    settings = registry.settings

    async def read(request: Request) -> Response:
        return Answer({"mode": settings.mode(scope_of(request), default_to_global=flag(request, "defaultToGlobal"))})

    async def change(request: Request) -> Response:
        scope, asked, force = scope_of(request), await body(request, dict[str, Any]), flag(request, "force")
        return Answer({"mode": await run_in_threadpool(settings.set_mode, scope, asked.get("mode"), force=force)})

    async def delete(request: Request) -> Response:
        scope, recursive = scope_of(request), flag(request, "recursive")
        return Answer({"mode": await run_in_threadpool(settings.delete_mode, scope, recursive=recursive)})

    return [
        Route(path, endpoint, methods=[method])
        for path in ("/mode", "/mode/{subject}")
        for method, endpoint in (("GET", read), ("PUT", change), ("DELETE", delete))
    ]
