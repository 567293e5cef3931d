"""/contexts, the root, and what the server is."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..http import Answer, page, path
from ..registry import Registry

VERSION = "ottla"


def routes(registry: Registry) -> list[BaseRoute]:
    async def contexts(request: Request) -> Response:
        return Answer(page(request, registry.contexts()))

    async def root(_request: Request) -> Response:
        return Answer({})

    async def delete(request: Request) -> Response:
        context = path(request, "context")
        await run_in_threadpool(registry.delete_context, context)
        return Response(status_code=204)

    async def cluster(_request: Request) -> Response:
        return Answer({"scope": {"path": [], "clusters": {"schema-registry-cluster": "ottla"}}, "id": ""})

    async def version(_request: Request) -> Response:
        return Answer({"version": VERSION, "commitId": ""})

    return [
        Route("/contexts", contexts),
        Route("/contexts/{context}", delete, methods=["DELETE"]),
        Route("/v1/metadata/id", cluster),
        Route("/v1/metadata/version", version),
        Route("/", root),
    ]
