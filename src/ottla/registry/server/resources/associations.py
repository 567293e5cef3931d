"""/associations: subjects bound to topics, a feature of newer registries that this one does not have.

New clients ask for a topic's associations before they serialise anything. An empty list sends them to their ordinary
subject name strategy; any error but a 404 would make them give up. To make one is refused in words.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .. import faults
from ..http import Answer
from ..registry import Registry


def routes(_registry: Registry) -> list[BaseRoute]:
    async def none(_request: Request) -> Response:
        return Answer([])

    async def refused(_request: Request) -> Response:
        raise faults.fault(42212, "This registry keeps no associations: subjects follow the clients' name strategy")

    async def nothing_to_delete(_request: Request) -> Response:
        return Response(status_code=204)

    return [
        Route("/associations", refused, methods=["POST", "PUT"]),
        Route("/associations/resources/{namespace}/{name}", none),
        Route("/associations/resources/{id}", none),
        Route("/associations/resources/{id}", nothing_to_delete, methods=["DELETE"]),
        Route("/associations/subjects/{subject}", none),
    ]
