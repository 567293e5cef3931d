"""/config: compatibility level and what else is configured, for all subjects, a context, or one subject.

Requests and answers to them say `compatibility`; reading says `compatibilityLevel`. That is Confluent's API.
"""

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
        return Answer(settings.config(scope_of(request), default_to_global=flag(request, "defaultToGlobal")))

    async def change(request: Request) -> Response:
        scope, asked = scope_of(request), await body(request, dict[str, Any])
        return Answer(await run_in_threadpool(settings.set_config, scope, asked))

    async def delete(request: Request) -> Response:
        return Answer(await run_in_threadpool(settings.delete_config, scope_of(request)))

    return [
        Route(path, endpoint, methods=[method])
        for path in ("/config", "/config/{subject}")
        for method, endpoint in (("GET", read), ("PUT", change), ("DELETE", delete))
    ]
