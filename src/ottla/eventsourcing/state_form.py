"""How states are written: JSON, under a fingerprint of their class that tells which code can read them."""

from __future__ import annotations

import hashlib
from typing import Any, Generic, TypeVar

import msgspec

from ottla.errors import EventDefinitionError, HistoryBroken

S = TypeVar("S")

DIGITS = 16


class StateForm(Generic[S]):
    """Writes and reads states of one class.

    Not the registry's form: a state is nobody's business but its aggregate's, and where its class changes it is not
    converted but made anew from the events.

    Attributes:
        schema: Changes when the class's fields do (names, types, defaults; nested ones too), or `version`.

    Raises:
        EventDefinitionError: The class cannot be written as JSON.
    """

    def __init__(self, cls: type[S], version: int) -> None:
        self._cls = cls
        self._pydantic = hasattr(cls, "model_validate_json")
        try:
            schema = _pydantic_schema(cls) if self._pydantic else msgspec.json.schema(cls)
            if not self._pydantic:
                self._decoder = msgspec.json.Decoder(cls)
        except Exception as error:
            raise EventDefinitionError(f"{cls.__qualname__} cannot be an aggregate's state: {error}") from error
        text = msgspec.json.encode([version, _essence(schema)], order="sorted")
        self.schema = hashlib.sha256(text).hexdigest()[:DIGITS]

    def write(self, state: S) -> bytes:
        """Raises EventDefinitionError where the state holds what its class does not say."""
        try:
            if self._pydantic:
                dumped: str = state.model_dump_json()  # type: ignore[attr-defined]
                return dumped.encode()
            return msgspec.json.encode(state)
        except (TypeError, ValueError) as error:
            raise EventDefinitionError(f"a state {state!r} cannot be written as JSON: {error}") from error

    def read(self, data: bytes) -> S:
        """Raises HistoryBroken: they are not what `write` gave for this class."""
        try:
            if self._pydantic:
                read: S = self._cls.model_validate_json(data)  # type: ignore[attr-defined]
                return read
            return self._decoder.decode(data)
        except (msgspec.MsgspecError, ValueError) as error:
            raise HistoryBroken(f"{data[:80]!r} is no {self._cls.__qualname__}: {error}") from error


def _pydantic_schema(cls: Any) -> Any:
    return cls.model_json_schema()


def _essence(schema: Any) -> Any:
    """Without docstrings: they may change."""
    if isinstance(schema, dict):
        return {
            name: _essence(value)
            for name, value in schema.items()
            if not (name in ("description", "title") and isinstance(value, str))
        }
    return [_essence(one) for one in schema] if isinstance(schema, list) else schema
