"""The HTTP pages of queries: /state, and below it each store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ottla.errors import OttlaError, SerdeError, StateUnavailable, TopologyError
from ottla.streams.runtime.access import refusal
from ottla.streams.runtime.queries import Queries, StoreReader
from ottla.streams.runtime.views import answer
from ottla.streams.serdes import Serde

MAX = 1_000


def query_routes(queries: Callable[[], Queries], token: Callable[[], str | None]) -> list[Route]:
    """Routes for any Starlette application.

        GET /state                                the tasks here and the application's stores
        GET /state/STORE/key/KEY                  one value (a window store: ?start_ms=, or ?from_ms=&to_ms=)
        GET /state/STORE?low=&high=&prefix=&limit=  many
        GET /state/STORE/bytes?partition=...      what instances ask one another (msgpack)

    `?max_staleness_s=` lets standby copies answer, `?local=1` asks no other instance. 404 where there is no such store
    or key, 503 where nobody can answer now, 401 and 403 where `access.refusal` says so.

    Args:
        queries: What answers.
        token: `streams.query_token`.
    """

    async def answered(request: Request, work: Callable[[], Any]) -> Response:
        if (why := refusal(request, token())) is not None:
            return JSONResponse({"error": why}, 403 if token() is None else 401)
        return await _answered(work)

    async def overview(request: Request) -> Response:
        return await answered(request, lambda: _overview(queries()))

    async def one(request: Request) -> Response:
        return await answered(request, lambda: _one(_reader(queries(), request), request))

    async def many(request: Request) -> Response:
        return await answered(request, lambda: _many(_reader(queries(), request), request))

    async def raw(request: Request) -> Response:
        return await answered(request, lambda: _raw(queries(), request))

    return [
        Route("/state", overview, include_in_schema=False),
        Route("/state/{store}", many, include_in_schema=False),
        Route("/state/{store}/bytes", raw, include_in_schema=False),
        Route("/state/{store}/key/{key:path}", one, include_in_schema=False),
    ]


async def _answered(work: Callable[[], Any]) -> Response:
    """On a thread: stores and other instances are asked blockingly."""
    try:
        found = await asyncio.to_thread(work)
    except StateUnavailable as error:
        return JSONResponse({"error": str(error)}, 503)
    except TopologyError as error:
        return JSONResponse({"error": str(error)}, 404)
    except (ValueError, TypeError, AttributeError, SerdeError, msgspec.MsgspecError) as error:
        return JSONResponse({"error": f"this store cannot be asked that: {error}"}, 400)
    except OttlaError as error:
        return JSONResponse({"error": str(error)}, 503)
    if found is None:
        return JSONResponse({"error": "there is no such key"}, 404)
    if isinstance(found, bytes):
        return Response(found, media_type="application/msgpack")
    return Response(msgspec.json.encode(found, enc_hook=str), media_type="application/json")


def _overview(queries: Queries) -> Any:
    instance = queries.instance()
    return {
        "application": queries.topology.application_id,
        "stores": {
            spec.name: {"kind": spec.kind, "key": spec.key.name, "value": spec.value.name}
            for spec in queries.topology.stores.values()
        },
        "tasks": [
            {"task": one.task, "state": one.state, "processed": one.processed, "lag": one.lag}
            for one in instance.status()
        ],
        "standbys": [
            {"task": one.task, "changelog": one.topic, "behind_s": one.behind_s}
            for one in instance.progress()
            if one.standby
        ],
    }


def _reader(queries: Queries, request: Request) -> StoreReader:
    asked = request.query_params
    staleness = asked.get("max_staleness_s")
    return queries.store(
        request.path_params["store"],
        max_staleness_s=None if staleness is None else float(staleness),
        timeout_s=float(asked.get("timeout_s", 5.0)),
        local_only="local" in asked,
    )


def _one(reader: StoreReader, request: Request) -> Any:
    asked, kind = request.query_params, reader.spec.kind
    key = parsed(reader.spec.key, request.path_params["key"])
    if kind == "window":
        if "start_ms" in asked:
            found = reader.fetch(key, int(asked["start_ms"]))
            return None if found is None else {"key": key, "start_ms": int(asked["start_ms"]), **shown(found)}
        windows = reader.fetch_range(key, int(asked.get("from_ms", 0)), int(asked.get("to_ms", 2**62)))
        return {"key": key, "windows": [{"start_ms": start, **shown(one)} for start, one in windows[:MAX]]}
    if kind == "session":
        return {"key": key, "sessions": [shown(one) for one in reader.fetch(key)[:MAX]]}
    found = reader.get(key)
    return None if found is None else {"key": key, **shown(found)}


def _many(reader: StoreReader, request: Request) -> Any:
    asked, serde = request.query_params, reader.spec.key
    limit = max(1, min(int(asked.get("limit", 100)), MAX))
    if "prefix" in asked:
        pairs = reader.prefix(asked["prefix"].encode(), limit=limit)
    elif reader.spec.kind in ("key-value", "timestamped"):
        low, high = asked.get("low"), asked.get("high")
        pairs = reader.range(
            None if low is None else parsed(serde, low), None if high is None else parsed(serde, high), limit=limit
        )
    else:
        pairs = reader.all(limit=limit)
    return {"store": reader.spec.name, "entries": [_entry(reader, key, value) for key, value in pairs]}


def _entry(reader: StoreReader, key: Any, value: Any) -> Any:
    if reader.spec.kind == "window":
        return {"key": key[0], "start_ms": key[1], **shown(value)}
    return {"key": key, **shown(value)}


def _raw(queries: Queries, request: Request) -> bytes:
    spec = queries.store(request.path_params["store"]).spec
    partition = int(request.query_params["partition"])
    here = queries.local(spec, partition)
    if here is None:
        raise StateUnavailable(f"this instance does not have partition {partition} of {spec.name}")
    return answer(here[0], here[1], dict(request.query_params))


def shown(found: Any) -> dict[str, Any]:
    """A value, and what its kind of store knows besides (its time, its session's bounds)."""
    return dict(found._asdict()) if hasattr(found, "_asdict") else {"value": found}


def parsed(serde: Serde[Any], text: str) -> Any:
    """A key as it stands in a URL or on a command line. Raises ValueError."""
    match serde.name:
        case "text":
            return text
        case "long":
            return int(text)
        case "double":
            return float(text)
        case "bytes":
            return text.encode()
        case _:
            return serde.decode(text.encode(), "")
