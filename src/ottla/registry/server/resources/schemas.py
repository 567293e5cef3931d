"""/schemas: by id, across subjects."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..http import Answer, PlainText, flag, number, page, path
from ..registry import Registry
from .subjects import full


def routes(registry: Registry) -> list[BaseRoute]:
    async def by_id(request: Request) -> Response:
        stored = full(registry.by_id(number(request, "id")))
        # An id belongs to a schema, not to one subject's version.
        answer = {name: value for name, value in stored.items() if name not in ("id", "subject", "version", "deleted")}
        if flag(request, "fetchMaxId"):
            answer["maxId"] = registry.highest_id()
        return Answer(answer)

    async def text(request: Request) -> Response:
        return PlainText(registry.by_id(number(request, "id")).schema)

    async def subjects(request: Request) -> Response:
        found = registry.holders(number(request, "id"), deleted=flag(request, "deleted"))
        return Answer(page(request, sorted({stored.subject for stored in found})))

    async def versions(request: Request) -> Response:
        found = registry.holders(number(request, "id"), deleted=flag(request, "deleted"))
        return Answer(page(request, [{"subject": stored.subject, "version": stored.version} for stored in found]))

    async def by_guid(request: Request) -> Response:
        stored = full(registry.by_guid(path(request, "guid")))
        return Answer({name: value for name, value in stored.items() if name not in ("subject", "version", "deleted")})

    async def ids_of_guid(request: Request) -> Response:
        return Answer([{"context": ".", "id": registry.by_guid(path(request, "guid")).id}])

    async def every(request: Request) -> Response:
        prefix = request.query_params.get("subjectPrefix", "").removeprefix(":*:").removeprefix(":.:")
        found = registry.every(prefix=prefix, deleted=flag(request, "deleted"), latest=flag(request, "latestOnly"))
        return Answer([full(stored) for stored in page(request, found)])

    async def types(_request: Request) -> Response:
        return Answer(["AVRO"])

    return [
        Route("/schemas", every),
        Route("/schemas/types", types),
        Route("/schemas/ids/{id}", by_id),
        Route("/schemas/ids/{id}/schema", text),
        Route("/schemas/ids/{id}/subjects", subjects),
        Route("/schemas/ids/{id}/versions", versions),
        Route("/schemas/guids/{guid}", by_guid),
        Route("/schemas/guids/{guid}/ids", ids_of_guid),
    ]
