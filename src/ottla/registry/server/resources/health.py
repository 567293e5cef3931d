"""/health: is the process alive, and can it answer. The same paths and shapes as a service's."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ..registry import Registry


def routes(registry: Registry) -> list[BaseRoute]:
    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_request: Request) -> Response:
        problem = registry.state.problem()
        if problem is None:
            return JSONResponse({"status": "ready"})
        status = "unhealthy" if registry.state.loaded else "starting"
        return JSONResponse({"status": status, "reasons": [problem]}, 503)

    return [Route("/health/live", live), Route("/health/ready", ready)]
