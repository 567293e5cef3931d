"""What a proxy must know of a frame: which API and version it is, and how to read and write its message.

A request starts with api key (2 bytes), version (2), correlation id (4) and the client's id; its answer starts with the
correlation id. Both have tagged fields after that in flexible versions (KIP-482), but for the answer to ApiVersions.
"""

from __future__ import annotations

import importlib
import pkgutil
import struct
from functools import cache
from typing import NamedTuple

from ottla.broker.wire import messages
from ottla.broker.wire.compiler import ERRORS_WRITTEN, reader, writer
from ottla.broker.wire.primitives import read_uvarint
from ottla.broker.wire.schema import Api, Message

_HEADER = struct.Struct(">hhi")
_SHORT = struct.Struct(">h")
API_VERSIONS = 18
PRODUCE = 0
INIT_PRODUCER_ID = 22


class Header(NamedTuple):
    """The start of a request: what it asks for, and which answer is its own."""

    key: int
    version: int
    correlation_id: int


@cache
def apis() -> dict[int, Api]:
    """Every API whose messages can be read, by its key."""
    modules = (
        importlib.import_module(f"{messages.__name__}.{one.name}") for one in pkgutil.iter_modules(messages.__path__)
    )
    found = (value for module in modules for value in vars(module).values() if isinstance(value, Api))
    return {api.key: api for api in found}


@cache
def key_of(name: str) -> int:
    """The key of an API. Raises ValueError if there is none of that name."""
    keys = {api.name: api.key for api in apis().values()}
    if name not in keys:
        raise ValueError(f"there is no API {name!r}; there are {', '.join(sorted(keys))}")
    return keys[name]


def read_header(frame: bytes) -> Header:
    """The header of a request, given without the length in front."""
    return Header(*_HEADER.unpack_from(frame))


def read_request(frame: bytes) -> Message:
    """The message of a request whose version is known."""
    header = read_header(frame)
    api = apis()[header.key]
    flexible = api.is_flexible(header.version)
    (length,) = _SHORT.unpack_from(frame, _HEADER.size)
    at = _HEADER.size + _SHORT.size + max(length, 0)
    if flexible:
        at = _past_tags(frame, at)
    return reader(api.request, header.version, flexible)(memoryview(frame), at)[0]


def read_answer(header: Header, frame: bytes) -> Message:
    """The message of the answer to `header`."""
    api = apis()[header.key]
    flexible = api.is_flexible(header.version)
    at = 4
    if flexible and header.key != API_VERSIONS:
        at = _past_tags(frame, at)
    return reader(api.response, header.version, flexible)(memoryview(frame), at)[0]


def write_answer(header: Header, message: Message) -> bytes:
    """An answer to `header`, without the length in front."""
    api = apis()[header.key]
    flexible = api.is_flexible(header.version)
    chunks: list[bytes | bytearray | memoryview] = []
    writer(api.response, header.version, flexible)(message, chunks)
    ERRORS_WRITTEN.clear()  # the broker's count of what it refuses; here nobody counts
    tags = b"\0" if flexible and header.key != API_VERSIONS else b""
    return struct.pack(">i", header.correlation_id) + tags + b"".join(chunks)


def _past_tags(frame: bytes, at: int) -> int:
    count, at = read_uvarint(memoryview(frame), at)
    for _ in range(count):
        _, at = read_uvarint(memoryview(frame), at)
        size, at = read_uvarint(memoryview(frame), at)
        at += size
    return at
