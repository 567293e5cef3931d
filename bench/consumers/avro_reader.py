"""How peers read the orders: fastavro, schemaless, behind Confluent's five bytes. Needs fastavro."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from fastavro import parse_schema, schemaless_reader

PREFIX_BYTES = 5


def reader(schema: str) -> Callable[[bytes], dict[str, Any]]:
    """A function from a record's value to a dict."""
    parsed = parse_schema(json.loads(schema))

    def read(value: bytes) -> dict[str, Any]:
        order: Any = schemaless_reader(io.BytesIO(value[PREFIX_BYTES:]), parsed, None)
        return order  # type: ignore[no-any-return]

    return read
