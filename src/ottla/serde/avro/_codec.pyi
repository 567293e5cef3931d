"""The C extension (native/avro). Not there where no compiler was; see `engine`."""

from collections.abc import Callable, Sequence
from typing import Any, final

Program = tuple[tuple[Any, ...], ...]

@final
class Decoder:
    def __init__(self, program: Program, python: Callable[[bytes, int], Any]) -> None: ...
    def __call__(self, payload: bytes, position: int, /) -> Any: ...
    def many(self, payloads: Sequence[bytes], position: int = 0, /) -> list[Any]: ...
    def leading(self, payloads: list[Any], position: int, /) -> list[Any]: ...

@final
class Encoder:
    def __init__(self, program: Program, python: Callable[..., bytes]) -> None: ...
    def __call__(self, obj: Any, prefix: bytes = b"", /) -> bytes: ...
    def many(self, objects: Sequence[Any], prefix: bytes = b"", /) -> list[bytes]: ...

@final
class ColumnReader:
    def __init__(self, program: Program, columns: int) -> None: ...
    def __call__(
        self, payloads: Sequence[bytes], position: int = 0, /
    ) -> list[tuple[bytearray, list[Any] | None, bytearray]] | None: ...

COLUMN_LONG: int
COLUMN_DOUBLE: int
COLUMN_FLOAT: int
COLUMN_BOOLEAN: int
COLUMN_TEXT: int
COLUMN_BYTES: int
COLUMN_FIXED: int
NULL: int
BOOLEAN: int
LONG: int
DOUBLE: int
STRING: int
BYTES: int
ARRAY: int
MAP: int
UNION: int
RECORD: int
ENUM: int
DATE: int
TIME: int
TIMEDELTA: int
TIMESTAMP: int
UUID: int
DECIMAL: int
FLOAT: int
FIXED: int
LONG_AS_DOUBLE: int
UUID_FIXED: int
CONVERT: int
REFUSE: int
SKIP_BYTES: int
SKIP_LONG: int
SKIP_STRING: int
SKIP_ARRAY: int
SKIP_MAP: int
SKIP_UNION: int
SKIP_RECORD: int
SYMBOL: int
ALLOWED: int
OPTIONAL: int
COLUMN: int
MAKE_DICT: int
MAKE_FROM_DICT: int
MAKE_BY_CALL: int
MAKE_DIRECTLY: int
MICROS: int
MILLIS: int
NANOS: int
