"""/subjects: list, register, look up, read, delete."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..http import Answer, PlainText, body, flag, page, path, subject_of
from ..names import ANY
from ..records import StoredSchema
from ..registry import Registry
from ..requests import SchemaRequest
from ..store import guid_of


def routes(registry: Registry) -> list[BaseRoute]:
    def shown(request: Request, stored: StoredSchema) -> dict[str, Any]:
        return full(stored) | {"schema": registry.formatted(stored, request.query_params.get("format", ""))}

    async def subjects(request: Request) -> Response:
        found = registry.subjects(
            prefix=request.query_params.get("subjectPrefix", ANY),
            deleted=flag(request, "deleted"),
            deleted_only=flag(request, "deletedOnly"),
        )
        return Answer(page(request, found))

    async def lookup(request: Request) -> Response:
        subject, asked, deleted = subject_of(request), await body(request, SchemaRequest), flag(request, "deleted")
        normalize = flag(request, "normalize")
        found = await run_in_threadpool(registry.lookup, subject, asked, deleted=deleted, normalize=normalize)
        return Answer(shown(request, found))

    async def register(request: Request) -> Response:
        subject, asked = subject_of(request), await body(request, SchemaRequest)
        found = await run_in_threadpool(registry.register, subject, asked, normalize=flag(request, "normalize"))
        stored = shown(request, found)
        del stored["subject"]  # Confluent's answer to a registration has none
        return Answer(stored)

    async def versions(request: Request) -> Response:
        found = registry.versions(
            subject_of(request), deleted=flag(request, "deleted"), deleted_only=flag(request, "deletedOnly")
        )
        return Answer(page(request, [stored.version for stored in found]))

    async def version(request: Request) -> Response:
        return Answer(shown(request, _version(request)))

    async def text(request: Request) -> Response:
        return PlainText(registry.formatted(_version(request), request.query_params.get("format", "")))

    def _version(request: Request) -> StoredSchema:
        return registry.version(subject_of(request), path(request, "version"), deleted=flag(request, "deleted"))

    async def referenced_by(request: Request) -> Response:
        subject, version, deleted = subject_of(request), path(request, "version"), flag(request, "deleted")
        found = registry.referenced_by(subject, version, deleted=deleted)
        return Answer(page(request, found))

    async def metadata(request: Request) -> Response:
        keys, values = request.query_params.getlist("key"), request.query_params.getlist("value")
        wanted = dict(zip(keys, values, strict=False))
        found = registry.latest_with(subject_of(request), wanted, deleted=flag(request, "deleted"))
        return Answer(shown(request, found))

    async def delete_subject(request: Request) -> Response:
        permanent = flag(request, "permanent")
        return Answer(await run_in_threadpool(registry.delete_subject, subject_of(request), permanent=permanent))

    async def delete_version(request: Request) -> Response:
        subject, wanted, permanent = subject_of(request), path(request, "version"), flag(request, "permanent")
        return Answer(await run_in_threadpool(registry.delete_version, subject, wanted, permanent=permanent))

    return [
        Route("/subjects", subjects),
        Route("/subjects/{subject}", lookup, methods=["POST"]),
        Route("/subjects/{subject}", delete_subject, methods=["DELETE"]),
        Route("/subjects/{subject}/metadata", metadata),
        Route("/subjects/{subject}/versions", versions),
        Route("/subjects/{subject}/versions", register, methods=["POST"]),
        Route("/subjects/{subject}/versions/{version}", version),
        Route("/subjects/{subject}/versions/{version}", delete_version, methods=["DELETE"]),
        Route("/subjects/{subject}/versions/{version}/schema", text),
        Route("/subjects/{subject}/versions/{version}/referencedby", referenced_by),
    ]


def full(stored: StoredSchema) -> dict[str, Any]:
    """A version as clients see it."""
    answer: dict[str, Any] = {
        "subject": stored.subject,
        "version": stored.version,
        "id": stored.id,
        "guid": guid_of(stored),
        "schemaType": stored.schema_type,
        "schema": stored.schema,
    }
    answer.update({name: stored.raw[name] for name in ("references", "metadata", "ruleSet") if stored.raw.get(name)})
    if stored.deleted:
        answer["deleted"] = True
    return answer
