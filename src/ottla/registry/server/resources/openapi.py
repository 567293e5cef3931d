"""/openapi.json and /docs: what this registry answers, in OpenAPI 3.1 and on a page that loads nothing else."""

from __future__ import annotations

import html
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ..http import CONTENT_TYPE
from ..registry import Registry

_SCHEMA = "SchemaRequest"
_FLAG = "boolean"

# (method, path): summary, query parameters, body
OPERATIONS: dict[tuple[str, str], tuple[str, dict[str, str], str | None]] = {
    ("get", "/subjects"): (
        "List subjects",
        {"subjectPrefix": "string", "deleted": _FLAG, "deletedOnly": _FLAG, "offset": "integer", "limit": "integer"},
        None,
    ),
    ("post", "/subjects/{subject}"): (
        "Look a schema up under a subject",
        {"normalize": _FLAG, "deleted": _FLAG, "format": "string"},
        _SCHEMA,
    ),
    ("delete", "/subjects/{subject}"): ("Delete a subject, softly or for good", {"permanent": _FLAG}, None),
    ("get", "/subjects/{subject}/metadata"): (
        "The latest version whose metadata has these properties",
        {"key": "string", "value": "string", "deleted": _FLAG},
        None,
    ),
    ("get", "/subjects/{subject}/versions"): (
        "List a subject's versions",
        {"deleted": _FLAG, "deletedOnly": _FLAG, "offset": "integer", "limit": "integer"},
        None,
    ),
    ("post", "/subjects/{subject}/versions"): (
        "Register a schema under a subject",
        {"normalize": _FLAG, "format": "string"},
        _SCHEMA,
    ),
    ("get", "/subjects/{subject}/versions/{version}"): (
        "One version, by number or `latest`",
        {"deleted": _FLAG, "format": "string"},
        None,
    ),
    ("delete", "/subjects/{subject}/versions/{version}"): ("Delete a version", {"permanent": _FLAG}, None),
    ("get", "/subjects/{subject}/versions/{version}/schema"): ("A version's bare text", {"format": "string"}, None),
    ("get", "/subjects/{subject}/versions/{version}/referencedby"): (
        "Ids of the schemas that refer to a version",
        {"deleted": _FLAG},
        None,
    ),
    ("get", "/schemas"): (
        "List schemas",
        {"subjectPrefix": "string", "deleted": _FLAG, "latestOnly": _FLAG, "offset": "integer", "limit": "integer"},
        None,
    ),
    ("get", "/schemas/types"): ("The schema types served", {}, None),
    ("get", "/schemas/ids/{id}"): (
        "The schema with an id",
        {"subject": "string", "format": "string", "fetchMaxId": _FLAG},
        None,
    ),
    ("get", "/schemas/ids/{id}/schema"): (
        "The bare text of the schema",
        {"subject": "string", "format": "string"},
        None,
    ),
    ("get", "/schemas/ids/{id}/subjects"): ("The subjects that have it", {"subject": "string", "deleted": _FLAG}, None),
    ("get", "/schemas/ids/{id}/versions"): ("The versions that have it", {"subject": "string", "deleted": _FLAG}, None),
    ("get", "/schemas/guids/{guid}"): ("The schema with a globally unique id", {"format": "string"}, None),
    ("get", "/schemas/guids/{guid}/ids"): ("Its ids in all contexts", {}, None),
    ("post", "/compatibility/subjects/{subject}/versions"): (
        "Would a registration be accepted?",
        {"verbose": _FLAG, "normalize": _FLAG},
        _SCHEMA,
    ),
    ("post", "/compatibility/subjects/{subject}/versions/{version}"): (
        "Is a schema compatible with one version?",
        {"verbose": _FLAG, "normalize": _FLAG},
        _SCHEMA,
    ),
    ("get", "/config"): ("The config for all subjects", {"defaultToGlobal": _FLAG}, None),
    ("put", "/config"): ("Change it", {}, "Config"),
    ("delete", "/config"): ("Go back to the default", {}, None),
    ("get", "/config/{subject}"): ("The config of a subject or a context", {"defaultToGlobal": _FLAG}, None),
    ("put", "/config/{subject}"): ("Change it", {}, "Config"),
    ("delete", "/config/{subject}"): ("Remove it", {}, None),
    ("get", "/mode"): ("The mode for all subjects", {"defaultToGlobal": _FLAG}, None),
    ("put", "/mode"): ("Change it", {"force": _FLAG}, "Mode"),
    ("delete", "/mode"): ("Go back to the default", {"recursive": _FLAG}, None),
    ("get", "/mode/{subject}"): ("The mode of a subject or a context", {"defaultToGlobal": _FLAG}, None),
    ("put", "/mode/{subject}"): ("Change it", {"force": _FLAG}, "Mode"),
    ("delete", "/mode/{subject}"): ("Remove it", {"recursive": _FLAG}, None),
    ("get", "/contexts"): ("List contexts", {"offset": "integer", "limit": "integer"}, None),
    ("delete", "/contexts/{context}"): ("Check that a context is empty", {}, None),
    ("get", "/associations/resources/{namespace}/{name}"): ("None: an empty list", {}, None),
    ("get", "/associations/subjects/{subject}"): ("None: an empty list", {}, None),
    ("get", "/health/live"): ("Is the process alive?", {}, None),
    ("get", "/health/ready"): ("Can it answer?", {}, None),
}

_OBJECT = {"type": "object"}
_BODIES: dict[str, Any] = {
    _SCHEMA: {
        "type": "object",
        "required": ["schema"],
        "properties": {
            "schema": {"type": "string", "description": "The schema's text"},
            "schemaType": {"enum": ["AVRO", "JSON", "PROTOBUF"], "default": "AVRO"},
            "references": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "subject"],
                    "properties": {
                        "name": {"type": "string"},
                        "subject": {"type": "string"},
                        "version": {"type": "integer"},
                    },
                },
            },
            "metadata": _OBJECT,
            "ruleSet": _OBJECT,
            "id": {"type": "integer", "description": "Only in mode IMPORT"},
            "version": {"type": "integer", "description": "Only in mode IMPORT"},
        },
    },
    "Config": {
        "type": "object",
        "properties": {
            "compatibility": {
                "enum": ["NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL",
                         "FULL_TRANSITIVE"]
            },
            "compatibilityPolicy": {"enum": ["STRICT", "LENIENT"]},
            "compatibilityGroup": {"type": "string"},
            "normalize": {"type": "boolean"},
            "alias": {"type": "string"},
            "defaultMetadata": _OBJECT,
            "overrideMetadata": _OBJECT,
            "defaultRuleSet": _OBJECT,
            "overrideRuleSet": _OBJECT,
        },
    },
    "Mode": {
        "type": "object",
        "required": ["mode"],
        "properties": {"mode": {"enum": ["READWRITE", "READONLY", "READONLY_OVERRIDE", "IMPORT", "FORWARD"]}},
    },
    "Error": {
        "type": "object",
        "properties": {"error_code": {"type": "integer"}, "message": {"type": "string"}},
    },
}  # fmt: skip


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), (summary, query, body) in OPERATIONS.items():
        operation: dict[str, Any] = {
            "summary": summary,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in re.findall(r"{(\w+)}", path)
            ]
            + [{"name": name, "in": "query", "schema": {"type": kind}} for name, kind in query.items()],
            "responses": {
                "200": {"description": "The answer", "content": {CONTENT_TYPE: {}}},
                "default": {
                    "description": "A refusal",
                    "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Error"}}},
                },
            },
        }
        if body is not None:
            schema = {"$ref": f"#/components/schemas/{body}"}
            operation["requestBody"] = {"required": True, "content": {CONTENT_TYPE: {"schema": schema}}}
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ottla schema registry", "version": "1", "description": "Confluent's REST API."},
        "paths": paths,
        "components": {"schemas": _BODIES},
    }


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{font:13px ui-monospace,monospace}td{padding:.25rem .75rem .25rem 0;vertical-align:top}"
    "b{display:inline-block;min-width:4rem;text-transform:uppercase}pre{background:#8881;padding:1rem;overflow:auto}"
)


def page() -> str:
    """The page."""
    rows = []
    for (method, path), (summary, query, body) in OPERATIONS.items():
        more = ", ".join([*query, *([f"body: {body}"] if body else [])])
        rows.append(
            f"<tr><td><b>{method}</b><code>{html.escape(path)}</code></td><td>{html.escape(summary)}</td>"
            f"<td><code>{html.escape(more)}</code></td></tr>"
        )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Schema registry</title><style>{_STYLE}</style>'
        "<h1>Schema registry</h1><p>Confluent&rsquo;s REST API. The machine-readable form is "
        f'<a href="openapi.json">openapi.json</a>; bodies are <code>{CONTENT_TYPE}</code>.</p>'
        f"<table>{''.join(rows)}</table></html>"
    )


def routes(_registry: Registry) -> list[BaseRoute]:
    async def openapi(_request: Request) -> Response:
        return JSONResponse(document())

    async def docs(_request: Request) -> Response:
        return HTMLResponse(page())

    return [Route("/openapi.json", openapi), Route("/docs", docs)]
