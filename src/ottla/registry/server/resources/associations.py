"""/associations: subjects bound to topics, a feature of newer registries that this one does not have.

New clients ask for a topic's associations before they serialise anything. An empty list sends them to their ordinary
subject name strategy; any error but a 404 would make them give up.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..http import Answer
from ..registry import Registry


def routes(_registry: Registry) -> list[BaseRoute]:
    async def none(_request: Request) -> Response:
        return Answer([])

    return [
        Route("/associations/resources/{namespace}/{name}", none),
        Route("/associations/resources/{id}", none),
        Route("/associations/subjects/{subject}", none),
    ]
