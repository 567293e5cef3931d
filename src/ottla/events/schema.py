"""The Avro schema of an event class."""

from __future__ import annotations

import functools
import json
from typing import Any

from ottla.errors import EventDefinitionError
from ottla.events.declaration import declared_event
from ottla.events.defaults import default_json
from ottla.events.derivation import record_shape
from ottla.events.fields import MISSING
from ottla.events.shapes import (
    Array,
    DecimalNumber,
    Enumeration,
    Logical,
    Map,
    Record,
    RecordField,
    Scalar,
    Shape,
    Union,
    avro_branch,
    logical_type,
)
from ottla.events.upcasting import VERSION


def avro_schema(cls: type) -> dict[str, Any]:
    """The Avro schema derived from a class with fields (dataclass, msgspec.Struct, pydantic v2 model, attrs).

    | Python | Avro |
    |---|---|
    | str, bool, bytes, None | string, boolean, bytes, null |
    | `Annotated[bytes, Fixed(16)]` | fixed, `<Record><Field>` |
    | int, float | long, double |
    | Decimal | bytes, `decimal`: 38 digits, 9 of them after the point (1) |
    | datetime | long, `timestamp-micros`: the instant; it must be aware and comes back in UTC (4) |
    | date, time | int `date`, long `time-micros` (4) |
    | timedelta | long, `timedelta-micros` (2) |
    | UUID | string, `uuid` |
    | Enum | enum (3) |
    | Literal of strings | enum `<Record><Field>` if all are names Avro allows, else string; no other value passes |
    | list, tuple[X, ...], set, frozenset, Sequence | array |
    | dict[str, X] | map |
    | X \\| Y, Optional | union; null first, unless the default belongs to another branch |
    | a class with fields | record, in its parent's namespace unless `@event` gives it one |

    1. Others with `Annotated[Decimal, Digits(12, 2)]`, or pydantic's `max_digits` and `decimal_places`.
    2. Ottla's own logical type: Avro's `duration` knows no negative span and no microsecond.
    3. Its symbols are the members' values if all of them are strings that Avro allows as names, else the members'
       names. `__ottla_default__ = "NAME"` in the class body is the symbol readers take for one they do not know.
    4. In milliseconds with `Annotated[datetime, Millis()]`: `timestamp-millis`, `time-millis`.

    Defaults that are the same for every instance are in the schema; `default_factory=uuid4` is not.

    Raises:
        EventDefinitionError: A field has a type no schema can be derived from.
    """
    copy: dict[str, Any] = json.loads(schema_text(cls))
    return copy


def schema_text(cls: type) -> str:
    """The same as compact JSON text: what is registered."""
    key: Any = cls
    return _rendered(key)


@functools.lru_cache(maxsize=4096)
def _rendered(cls: Any) -> str:
    rendered = _Rendering().render(record_shape(cls), "")
    declared = declared_event(cls)
    if declared and declared.version > 1:
        rendered[VERSION] = declared.version
    return json.dumps(rendered, separators=(",", ":"), ensure_ascii=False)


class _Rendering:
    """One walk over a shape; a named type is spelled out where it comes first and named after that."""

    def __init__(self) -> None:
        self._defined: set[str] = set()

    def render(self, shape: Shape, namespace: str) -> Any:
        match shape:
            case Scalar(size=int()):
                return self._named(shape, namespace)
            case Scalar(kind=kind):
                return kind
            case Logical():
                base, logical = logical_type(shape)
                return {"type": base, "logicalType": logical}
            case DecimalNumber(digits=digits):
                return {
                    "type": "bytes",
                    "logicalType": "decimal",
                    "precision": digits.precision,
                    "scale": digits.scale,
                }
            case Array(item=item):
                return {"type": "array", "items": self.render(item, namespace)}
            case Map(value=value):
                return {"type": "map", "values": self.render(value, namespace)}
            case Union(branches=branches):
                return [self.render(branch, namespace) for branch in branches]
            case Record() | Enumeration():
                return self._named(shape, namespace)

    def _named(self, shape: Record | Enumeration | Scalar, namespace: str) -> Any:
        full_name = avro_branch(shape)
        if full_name in self._defined:
            if namespace and not shape.namespace:
                raise EventDefinitionError(
                    f"{shape.name} has no namespace but is used again inside namespace {namespace!r}, where Avro "
                    "cannot name it. Give it a namespace with @event(..., namespace=...)"
                )
            return shape.name if shape.namespace == namespace else full_name
        self._defined.add(full_name)
        rendered: dict[str, Any] = {
            "type": {Record: "record", Enumeration: "enum", Scalar: "fixed"}[type(shape)],
            "name": shape.name,
        }
        if shape.namespace != namespace:
            rendered["namespace"] = shape.namespace
        if isinstance(shape, Scalar):
            return rendered | {"size": shape.size}
        if isinstance(shape, Record):
            if shape.doc:
                rendered["doc"] = shape.doc
            rendered["fields"] = [self._field(shape, field) for field in shape.fields]
            return rendered
        rendered["symbols"] = list(shape.symbols)
        if shape.default is not None:
            rendered["default"] = shape.default
        return rendered

    def _field(self, record: Record, field: RecordField) -> dict[str, Any]:
        rendered: dict[str, Any] = {"name": field.name, "type": self.render(field.shape, record.namespace)}
        if field.default is not MISSING:
            try:
                rendered["default"] = default_json(field.shape, field.default)
            except (TypeError, ValueError, ArithmeticError) as error:
                raise EventDefinitionError(
                    f"{record.cls.__qualname__}.{field.attribute}: the default {field.default!r} does not fit the "
                    "field's type. Change the default, or add its type to the field's union"
                ) from error
        if field.aliases:
            rendered["aliases"] = list(field.aliases)
        return rendered
