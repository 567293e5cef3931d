"""The HTTP pages operators' tools ask for: /health/live, /health/ready, /metrics."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ottla.observability.health import Health
from ottla.observability.metrics import CONTENT_TYPE, Metrics


def routes(health: Health, metrics: Metrics) -> list[Route]:
    """Routes for any Starlette (or FastAPI) application. Orchestrators restart a service that is not live, and send
    no traffic to one that is not ready."""

    async def live(_: Request) -> Response:
        dead = health.dead()
        return JSONResponse({"status": "dead", "reasons": dead} if dead else {"status": "live"}, 503 if dead else 200)

    async def ready(_: Request) -> Response:
        wrong = health.wrong()
        if not wrong:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "unhealthy" if health.started else "starting", "reasons": wrong}, 503)

    async def page(_: Request) -> Response:
        return Response(metrics.page(), media_type=CONTENT_TYPE)

    return [
        Route("/health/live", live, include_in_schema=False),
        Route("/health/ready", ready, include_in_schema=False),
        Route("/metrics", page, include_in_schema=False),
    ]
