"""/schemas: by id, across subjects."""

from __future__ import annotations

from importlib.util import find_spec

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..http import Answer, PlainText, context_subject, flag, number, page, path
from ..names import ANY
from ..registry import Registry
from .subjects import full


def routes(registry: Registry) -> list[BaseRoute]:
    def form(request: Request) -> str:
        return request.query_params.get("format", "")

    async def by_id(request: Request) -> Response:
        subject = context_subject(request)
        found = registry.by_id(number(request, "id"), subject)
        stored = full(found) | {"schema": registry.formatted(found, form(request))}
        # An id belongs to a schema, not to one subject's version.
        answer = {name: value for name, value in stored.items() if name not in ("id", "subject", "version", "deleted")}
        if flag(request, "fetchMaxId"):
            answer["maxId"] = registry.highest_id(subject)
        return Answer(answer)

    async def text(request: Request) -> Response:
        found = registry.by_id(number(request, "id"), context_subject(request))
        return PlainText(registry.formatted(found, form(request)))

    async def subjects(request: Request) -> Response:
        deleted = flag(request, "deleted")
        found = registry.holders(number(request, "id"), subject=context_subject(request), deleted=deleted)
        return Answer(page(request, sorted({stored.subject for stored in found})))

    async def versions(request: Request) -> Response:
        deleted = flag(request, "deleted")
        found = registry.holders(number(request, "id"), subject=context_subject(request), deleted=deleted)
        return Answer(page(request, [{"subject": stored.subject, "version": stored.version} for stored in found]))

    async def by_guid(request: Request) -> Response:
        found = registry.by_guid(path(request, "guid"))
        stored = full(found) | {"schema": registry.formatted(found, form(request))}
        return Answer({name: value for name, value in stored.items() if name not in ("subject", "version", "deleted")})

    async def ids_of_guid(request: Request) -> Response:
        found = registry.ids_of_guid(path(request, "guid"))
        return Answer([{"context": context, "id": schema_id} for context, schema_id in found])

    async def every(request: Request) -> Response:
        prefix = request.query_params.get("subjectPrefix", ANY)
        found = registry.every(prefix=prefix, deleted=flag(request, "deleted"), latest=flag(request, "latestOnly"))
        return Answer([full(stored) for stored in page(request, found)])

    async def types(_request: Request) -> Response:
        # In the order of Confluent's registry.
        modules = {"JSON": "jsonschema", "PROTOBUF": "google.protobuf"}
        return Answer([*(kind for kind, module in modules.items() if _installed(module)), "AVRO"])

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


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False
