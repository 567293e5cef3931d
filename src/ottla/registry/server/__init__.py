"""A schema registry: Confluent's REST API, stored in the compacted topic `_schemas` in Confluent's own record format.

Reading path: `records` (the topic's format), `store` (the state built from it), `log` (the port to the topic) and
`kafka_log`, `registry` (what may be done), `app` and `resources/` (HTTP), `run` (the process).

Importing this loads neither Starlette nor librdkafka: `serve` and `create_app` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import RegistryConfig

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .registry import Registry

__all__ = ["RegistryConfig", "create_app", "serve"]


def serve(config: RegistryConfig) -> None:
    """Runs a registry until SIGTERM or SIGINT; see `run.serve`."""
    from .run import serve as run

    run(config)


def create_app(registry: Registry) -> ASGIApp:
    """The ASGI application for a registry; see `app.create_app`."""
    from .app import create_app as create

    return create(registry)
