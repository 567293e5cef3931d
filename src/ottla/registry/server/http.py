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
from . import faults
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


def subject_of(request: Request) -> str:
    """The subject in the path, without the mark of the default context.

    Raises:
        RegistryRejected: 42208: empty, or in a context of its own.
    """
    subject = unquote(request.path_params["subject"])
    plain = subject.removeprefix(":.:")
    if plain.startswith(":."):
        raise faults.invalid_subject(subject, "this registry serves only the default context yet")
    if not plain or any(ord(character) < 32 for character in plain):
        raise faults.invalid_subject(subject, "it is empty or has control characters")
    return plain


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


async def rejected(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RegistryRejected)
    return Answer({"error_code": error.code, "message": str(error)}, error.status)


async def http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Answer({"error_code": error.status_code, "message": error.detail}, error.status_code)


async def failed(request: Request, error: Exception) -> Response:
    """A bug of ours: the client sees that it was one, the operator sees where."""
    complain(f"{request.method} {request.url.path} failed:\n{''.join(traceback.format_exception(error))}")
    return Answer({"error_code": 500, "message": f"The registry failed inside: {type(error).__name__}: {error}"}, 500)
