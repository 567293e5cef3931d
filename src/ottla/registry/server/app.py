"""The ASGI application: every resource, Confluent's error shape, one way of reading paths."""

from __future__ import annotations

import ssl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import RegistryRejected
from . import http
from .access import Access, Accounts
from .forwarding import Forwarding
from .leadership import Elsewhere
from .registry import Registry
from .resources import associations, compatibility, config, contexts, health, mode, openapi, schemas, subjects

RESOURCES = (subjects, schemas, config, mode, compatibility, associations, contexts, openapi, health)


def create_app(
    registry: Registry, *, accounts: Accounts | None = None, verify: ssl.SSLContext | bool = True
) -> ASGIApp:
    """The application for a registry whose log the caller starts and closes.

    Args:
        registry: The registry.
        accounts: Who may use it; None: everyone.
        verify: What to trust, and to show, when other instances are asked over TLS; True: the system's certificates.
    """
    app = Starlette(
        routes=[route for resource in RESOURCES for route in resource.routes(registry)],
        exception_handlers={
            RegistryRejected: http.rejected,
            Elsewhere: http.elsewhere,
            HTTPException: http.http_error,
            Exception: http.failed,
        },
    )
    app.router.redirect_slashes = False
    made: ASGIApp = Forwarding(_EncodedPaths(app), registry.state, verify)
    return made if accounts is None else Access(made, accounts)


class _EncodedPaths:
    """Routes by the path as it was sent, still percent-encoded: a subject may hold a slash, sent as %2F."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            sent: str = scope.get("raw_path", scope["path"].encode()).decode("ascii", "replace").partition("?")[0]
            scope = {**scope, "path": sent.rstrip("/") or "/"}
        await self._app(scope, receive, send)
