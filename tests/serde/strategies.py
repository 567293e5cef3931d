"""Hypothesis strategies: values of any shape, and whole event classes with values."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Union
from uuid import UUID

import attrs
import msgspec
import pydantic
from hypothesis import strategies as st

from ottla.events import Digits, Fixed, Millis, shapes
from ottla.events.derivation import record_shape
from tests.serde.samples import Carrier, Color, Size

LONGS = st.integers(-(2**63), 2**63 - 1)
DOUBLES = st.floats(allow_nan=False)
_EPOCH_SAFE = datetime(1, 1, 2), datetime(9999, 12, 30)


def values(shape: shapes.Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a shape."""
    match shape:
        case shapes.Scalar(allowed=tuple(allowed)):
            return st.sampled_from(allowed)
        case shapes.Scalar(size=int(size)):
            return st.binary(min_size=size, max_size=size)
        case shapes.Scalar(kind=kind):
            return _SCALARS[kind]
        case shapes.Logical(kind=kind, millis=millis):
            return _LOGICAL[kind].map(_whole_millis) if millis else _LOGICAL[kind]
        case shapes.DecimalNumber(digits=digits):
            most = 10**digits.precision - 1
            return st.integers(-most, most).map(lambda n: Decimal((n < 0, _digits(n), -digits.scale)))
        case shapes.Enumeration(values=members):
            return st.sampled_from(members)
        case shapes.Array(item=item, build=build):
            return st.lists(values(item, depth + 1), max_size=0 if depth > 3 else 5).map(build)
        case shapes.Map(value=value):
            return st.dictionaries(_SCALARS["string"], values(value, depth + 1), max_size=0 if depth > 3 else 4)
        case shapes.Union(branches=branches):
            if depth > 3:
                return values(branches[0], depth + 1)
            return st.one_of([values(branch, depth + 1) for branch in branches])
        case shapes.Record():
            return objects(shape, depth)


def objects(shape: shapes.Record, depth: int = 0) -> st.SearchStrategy[Any]:
    """Instances of a record's class."""
    fields = {f.init_name: st.deferred(lambda s=f.shape: values(s, depth + 1)) for f in shape.fields}  # type: ignore[misc]
    return st.fixed_dictionaries(fields).map(lambda arguments: shape.cls(**arguments))


def _whole_millis(value: Any) -> Any:
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def _digits(n: int) -> tuple[int, ...]:
    return tuple(map(int, str(abs(n))))


_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "long": LONGS | st.integers(-200, 200),
    "double": DOUBLES,
    "string": st.text(max_size=90),
    "bytes": st.binary(max_size=90),
}
_LOGICAL: dict[str, st.SearchStrategy[Any]] = {
    "datetime": st.datetimes(*_EPOCH_SAFE, timezones=st.just(UTC)),
    "date": st.dates(),
    "time": st.times(),
    "timedelta": st.timedeltas(timedelta(days=-100_000_000), timedelta(days=100_000_000)),
    "uuid": st.uuids(),
}

# Hints that are told apart in a union, one group each; two of a group are the same type in Avro, or are told apart by
# Ottla but not by fastavro, which chooses by trying (and tries to parse any text as a date, hence no date).
_UNION_GROUPS: list[list[Any]] = [
    [int, datetime],
    [str, Color, Literal["a", "b"], UUID],
    [bytes, Decimal],
    [bool],
]
_LEAVES = st.sampled_from(
    [
        str,
        int,
        float,
        bool,
        bytes,
        Decimal,
        datetime,
        date,
        time,
        timedelta,
        UUID,
        Color,
        Size,
        Carrier,
        Literal["new", "used"],
        Literal["not a name", "x"],
        Literal[1, 5],
        Annotated[bytes, Fixed(3)],
        Annotated[Decimal, Digits(20, 4)],
        Annotated[datetime, Millis()],
        Annotated[time, Millis()],
        set[str],
        frozenset[int],
        set[Color],
    ]
)
_serial = itertools.count()


@st.composite
def _unions(draw: st.DrawFn, records: st.SearchStrategy[type]) -> Any:
    groups = draw(st.lists(st.sampled_from(range(len(_UNION_GROUPS))), min_size=1, max_size=3, unique=True))
    members = [draw(st.sampled_from(_UNION_GROUPS[g])) for g in groups]
    members += draw(st.lists(records, max_size=2, unique=True))
    if draw(st.booleans()):
        members.append(None)
    return Union[tuple(members)]  # noqa: UP007 - built from a list


def _make(name: str, fields: list[tuple[str, Any]], kind: int) -> type:
    match kind:
        case 0:
            return msgspec.defstruct(name, fields)
        case 1:
            return dataclasses.make_dataclass(name, fields)
        case 2:
            return attrs.make_class(name, {n: attrs.field(type=t) for n, t in fields})
        case _:
            arguments: dict[str, Any] = {n: (t, ...) for n, t in fields}
            config = pydantic.ConfigDict(arbitrary_types_allowed=True)
            model: type = pydantic.create_model(name, __config__=config, **arguments)
            return model


@st.composite
def classes(draw: st.DrawFn, depth: int = 0) -> type:
    """Classes of every kind with up to six fields of any type."""
    nested = st.deferred(lambda: classes(depth + 1))
    hints: st.SearchStrategy[Any] = _LEAVES
    if depth < 2:
        hints = _LEAVES | nested | _unions(nested)
    hints = st.recursive(
        hints,
        lambda inner: st.one_of(
            inner.map(lambda t: list[t]),  # type: ignore[valid-type]
            inner.map(lambda t: tuple[t, ...]),  # type: ignore[valid-type]
            inner.map(lambda t: dict[str, t]),  # type: ignore[valid-type]
        ),
        max_leaves=2,
    )
    drawn = draw(st.lists(hints, min_size=1, max_size=6))
    fields = [(f"f{i}", hint) for i, hint in enumerate(drawn)]
    return _make(f"Record{next(_serial)}", fields, draw(st.integers(0, 3)))


@st.composite
def instances(draw: st.DrawFn) -> Any:
    """An instance of a class made up on the spot."""
    return draw(objects(record_shape(draw(classes()))))
