"""/contexts and the root: the default context is the only one yet."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..http import Answer, page
from ..registry import Registry


def routes(_registry: Registry) -> list[BaseRoute]:
    async def contexts(request: Request) -> Response:
        return Answer(page(request, ["."]))

    async def root(_request: Request) -> Response:
        return Answer({})

    return [Route("/contexts", contexts), Route("/", root)]
