"""/config: the compatibility level, for all subjects and for one.

Requests and answers to them say `compatibility`; reading says `compatibilityLevel`. That is Confluent's API.
"""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .. import faults
from ..http import Answer, body, flag, subject_of
from ..registry import Registry
from ..settings import LEVELS

# What is served is always in canonical form, so asking for `normalize` asks for nothing more.
SERVED = {"compatibility", "compatibilityLevel", "normalize"}


def routes(registry: Registry) -> list[BaseRoute]:
    settings = registry.settings

    def scope(request: Request) -> str | None:
        return subject_of(request) if "subject" in request.path_params else None

    async def read(request: Request) -> Response:
        return Answer(
            {"compatibilityLevel": settings.level(scope(request), default_to_global=flag(request, "defaultToGlobal"))}
        )

    async def change(request: Request) -> Response:
        subject, asked = scope(request), await body(request, dict[str, Any])
        unserved = sorted(name for name, value in asked.items() if value is not None and name not in SERVED)
        if unserved:
            raise faults.fault(42203, f"This registry does not serve {', '.join(unserved)} in a config yet")
        level = asked.get("compatibility", asked.get("compatibilityLevel"))
        if level is None:
            raise faults.invalid_level(level, LEVELS)
        return Answer({"compatibility": await run_in_threadpool(settings.set_level, subject, level)})

    async def delete(request: Request) -> Response:
        return Answer({"compatibilityLevel": await run_in_threadpool(settings.delete_level, scope(request))})

    return [
        Route(path, endpoint, methods=[method])
        for path in ("/config", "/config/{subject}")
        for method, endpoint in (("GET", read), ("PUT", change), ("DELETE", delete))
    ]
