"""/compatibility: would this schema be accepted, without registering it."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ....errors import RegistryRejected
from ..http import Answer, body, flag, path, subject_of
from ..registry import Registry, explain
from ..requests import SchemaRequest


def routes(registry: Registry) -> list[BaseRoute]:
    async def check(request: Request) -> Response:
        subject, asked, verbose = subject_of(request), await body(request, SchemaRequest), flag(request, "verbose")
        version = path(request, "version") if "version" in request.path_params else None
        try:
            level, violations = await run_in_threadpool(
                registry.violations, subject, asked, version, normalize=flag(request, "normalize")
            )
        except RegistryRejected as error:
            if error.code != 42201 or not verbose:
                raise
            return Answer({"is_compatible": False, "messages": [str(error)]})
        answer: dict[str, Any] = {"is_compatible": not violations}
        if verbose:
            earlier = registry.versions(subject, deleted=True) if violations else []
            answer["messages"] = explain(level, violations, earlier) if violations else []
        return Answer(answer)

    return [
        Route("/compatibility/subjects/{subject}/versions", check, methods=["POST"]),
        Route("/compatibility/subjects/{subject}/versions/{version}", check, methods=["POST"]),
    ]
