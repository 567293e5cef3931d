"""What all resources share: reading requests, writing answers in Confluent's form."""

from __future__ import annotations

import traceback
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from ...errors import RegistryRejected
from . import faults, names
from .leadership import Elsewhere
from .store import complain

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
BODY_BYTES_MAX = 4 * 1024 * 1024

T = TypeVar("T")


class Answer(Response):
    """A JSON answer."""

    media_type = CONTENT_TYPE

    def __init__(self, content: Any, status: int = 200) -> None:
        super().__init__(msgspec.json.encode(content), status)


class PlainText(PlainTextResponse):
    """A schema's bare text, for the paths that end in `/schema`."""

    media_type = CONTENT_TYPE
    charset = "utf-8"


def subject_of(request: Request, *, setting: bool = False) -> str:
    """The subject in the path, spelled in one way.

    Args:
        request: The request.
        setting: Whether a context alone will do (`:.c:`), as for configs and modes.

    Raises:
        RegistryRejected: 42208: it is none.
    """
    given = unquote(request.path_params["subject"])
    subject = names.normal(given)
    context, plain = names.split(subject)
    if any(ord(character) < 32 for character in given) or plain in ("__GLOBAL", "__EMPTY"):
        raise faults.invalid_subject(given, "it has control characters, or a name kept for the registry itself")
    if not setting and (not plain or subject.startswith(names.GLOBAL)):
        raise faults.invalid_subject(given, "it names no subject within the context")
    if context != names.DEFAULT and (len(context) < 2 or given.startswith(names.ANY)):
        raise faults.invalid_subject(given, "its context has no name")
    return subject


def scope_of(request: Request) -> str | None:
    """What a config or a mode is for: a subject, a context; None for the default context as a whole."""
    if "subject" not in request.path_params:
        return None
    return subject_of(request, setting=True) or None


def context_subject(request: Request) -> str:
    """The `subject` parameter of reads by id: a subject, or a context alone."""
    return names.normal(request.query_params.get("subject", ""))


def path(request: Request, name: str) -> str:
    """A part of the path."""
    return unquote(request.path_params[name])


def number(request: Request, name: str) -> int:
    """A number in the path; a 404 as Confluent's registry gives it where it is none."""
    try:
        return int(path(request, name))
    except ValueError:
        raise HTTPException(404) from None


def flag(request: Request, name: str) -> bool:
    """A query parameter that is true or not; Python clients write `True`."""
    return request.query_params.get(name, "").lower() == "true"


def page(request: Request, found: list[T]) -> list[T]:
    """The part of a list that `offset` and `limit` ask for."""
    try:
        offset = int(request.query_params.get("offset", 0))
        limit = int(request.query_params.get("limit", -1))
    except ValueError:
        raise HTTPException(400, "offset and limit must be numbers") from None
    return found[max(0, offset) :][: limit if limit >= 0 else None]


async def body(request: Request, kind: type[T]) -> T:
    """The request's JSON body as `kind`.

    Raises:
        HTTPException: 400 not JSON, 413 too large, 422 not of this form.
    """
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > BODY_BYTES_MAX:
            raise HTTPException(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(chunks, type=kind)
    except msgspec.ValidationError as error:
        raise HTTPException(422, f"the body is not as expected: {error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from error


async def rejected(request: Request, error: Exception) -> Response:
    assert isinstance(error, RegistryRejected)
    if error.status == 404 and "ottla.exchange" in request.scope:
        request.scope["ottla.exchange"].missing = True
    return Answer({"error_code": error.code, "message": str(error)}, error.status)


async def elsewhere(request: Request, error: Exception) -> Response:
    """Another instance decides: `Forwarding` sends the request there instead of this answer."""
    assert isinstance(error, Elsewhere)
    if "ottla.exchange" in request.scope:
        request.scope["ottla.exchange"].elsewhere = error
    return Answer({"error_code": 50004, "message": f"No instance decides here: {error}"}, 500)


async def http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Answer({"error_code": error.status_code, "message": error.detail}, error.status_code)


async def failed(request: Request, error: Exception) -> Response:
    """A bug of ours: the client sees that it was one, the operator sees where."""
    complain(f"{request.method} {request.url.path} failed:\n{''.join(traceback.format_exception(error))}")
    return Answer({"error_code": 500, "message": f"The registry failed inside: {type(error).__name__}: {error}"}, 500)
