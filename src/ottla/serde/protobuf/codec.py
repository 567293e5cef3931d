"""Between events and Protobuf messages, for one class."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from google.protobuf.message import DecodeError as ProtobufDecodeError
from google.protobuf.message import EncodeError as ProtobufEncodeError

from ottla.errors import DecodeError, EncodeError
from ottla.events.derivation import record_shape
from ottla.events.shapes import Array, DecimalNumber, Enumeration, Logical, Map, Record, Scalar, Shape
from ottla.serde.plain import Misfit, built, decimal_of_text, is_of, kind_of, str_of_decimal

from .files import ProtoFile, load
from .indexes import FIRST, read_indexes
from .mapping import Mapping, Member
from .printer import print_file

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)

Convert = Callable[[Any], Any]


class Codec:
    """Writes and reads one class.

    Attributes:
        text: Its .proto file.
    """

    prefix = FIRST

    def __init__(self, cls: type) -> None:
        self._shape = record_shape(cls)
        self._mapping = Mapping(self._shape)
        self.text = print_file(self._mapping.file)
        self._file: ProtoFile = load(self.text)
        self._message = self._file.message_class(self._shape.full_name)
        self._name = cls.__qualname__

    def encode(self, obj: Any, prefix: bytes = b"") -> bytes:
        """The payload of an event, behind `prefix`. Raises EncodeError."""
        message = self._message()
        try:
            self._write(self._shape, message, obj)
            return prefix + message.SerializeToString(deterministic=True)  # type: ignore[no-any-return]
        except Misfit as misfit:
            raise EncodeError(f"{self._name}.{misfit}") from misfit
        except (TypeError, ValueError, RecursionError, ProtobufEncodeError, OverflowError) as error:
            raise EncodeError(f"{self._name} cannot be written as Protobuf: {error}") from error

    def decode(self, value: bytes, position: int) -> Any:
        """The event in a value, message indexes in front. Raises DecodeError."""
        _indexes, position = read_indexes(value, position)
        try:
            message = self._message.FromString(value[position:])
        except (ProtobufDecodeError, RecursionError) as error:
            raise DecodeError(f"the payload is no Protobuf message: {error}", position=position) from error
        try:
            return self._read(self._shape, message)
        except Misfit as misfit:
            raise DecodeError(f"the message does not fit {self._name}: {misfit}", position=position) from misfit
        except RecursionError as error:
            raise DecodeError("the messages are nested too deeply", position=position) from error

    # ------------------------------------------------------------------ writing

    def _write(self, record: Record, message: Any, obj: Any) -> None:
        if not isinstance(obj, record.cls):
            raise Misfit(f"{obj!r:.60} is no {record.cls.__qualname__}")
        for member in self._mapping.members[id(record)]:
            try:
                self._write_member(member, message, getattr(obj, member.field.attribute))
            except Misfit as misfit:
                misfit.path.append(member.field.name)
                raise

    def _write_member(self, member: Member, message: Any, value: Any) -> None:
        if value is None and member.nullable:
            return
        name, shape = member.field.name, member.shape
        if member.branches:
            for name, branch in member.branches:
                if is_of(branch, value):
                    self._set(branch, message, name, value)
                    return
            raise Misfit(f"{value!r:.60} is of none of the field's types")
        match shape:
            case Array(item=item):
                if not isinstance(value, list | tuple | set | frozenset):
                    raise Misfit(f"{value!r:.60} is no list")
                target = getattr(message, name)
                ordered = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
                for one in ordered:
                    self._append(item, target, one)
            case Map(value=inner):
                if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
                    raise Misfit(f"{value!r:.60} is no dict with strings as keys")
                target = getattr(message, name)
                for key, one in value.items():
                    if _in_message(inner):
                        self._fill(inner, target[key], one)
                    else:
                        target[key] = self._plain(inner, one)
            case _:
                self._set(shape, message, name, value)

    def _set(self, shape: Shape, message: Any, name: str, value: Any) -> None:
        if _in_message(shape):
            part = getattr(message, name)
            part.SetInParent()
            self._fill(shape, part, value)
        else:
            setattr(message, name, self._plain(shape, value))

    def _append(self, shape: Shape, target: Any, value: Any) -> None:
        if _in_message(shape):
            self._fill(shape, target.add(), value)
        else:
            target.append(self._plain(shape, value))

    def _fill(self, shape: Shape, message: Any, value: Any) -> None:
        if isinstance(shape, Record):
            self._write(shape, message, value)
            return
        if not is_of(shape, value):
            raise Misfit(f"{value!r:.60} is no {kind_of(shape)}")
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise Misfit("a datetime without a zone: nobody could tell which instant it means")
            micros = (value - _EPOCH) // _MICRO
            message.seconds, message.nanos = micros // 1_000_000, micros % 1_000_000 * 1000
        else:
            micros = value // _MICRO
            # Both parts of a Duration have the same sign.
            seconds = abs(micros) // 1_000_000 * (1 if micros >= 0 else -1)
            message.seconds, message.nanos = seconds, (micros - seconds * 1_000_000) * 1000

    def _plain(self, shape: Shape, value: Any) -> Any:
        if isinstance(shape, DecimalNumber):
            return str_of_decimal(value)
        if not is_of(shape, value):
            raise Misfit(f"{value!r:.60} is no {kind_of(shape)}")
        match shape:
            case Scalar(kind="bytes"):
                return bytes(value)
            case Scalar(kind=kind, allowed=allowed):
                if allowed is not None and value not in allowed:
                    raise Misfit(f"{value!r} is none of {', '.join(map(repr, allowed))}")
                return float(value) if kind == "double" else value
            case Logical(kind="uuid"):
                return str(value)
            case Logical():
                if isinstance(value, time) and value.tzinfo is not None:
                    raise Misfit("only a time without a zone can be written")
                return value.isoformat()
            case Enumeration(values=values):
                return next(at for at, one in enumerate(values, 1) if one is value or one == value)
        raise Misfit(f"{kind_of(shape)} has no form in Protobuf")

    # ------------------------------------------------------------------ reading

    def _read(self, record: Record, message: Any) -> Any:
        given = {}
        for member in self._mapping.members[id(record)]:
            try:
                found, value = self._read_member(member, message)
            except Misfit as misfit:
                misfit.path.append(member.field.name)
                raise
            if found:
                given[member.field.init_name] = value
        return built(record, given)

    def _read_member(self, member: Member, message: Any) -> tuple[bool, Any]:
        """Whether the message has the attribute, and its value."""
        name, shape, field = member.field.name, member.shape, member.field
        if member.branches:
            chosen = message.WhichOneof(name)
            if chosen is not None:
                return True, self._value(dict(member.branches)[chosen], getattr(message, chosen))
            return self._absent(member)
        if isinstance(shape, Array):
            items = [self._value(shape.item, one) for one in getattr(message, name)]
            return True, items if shape.build is list else shape.build(items)
        if isinstance(shape, Map):
            return True, {key: self._value(shape.value, one) for key, one in getattr(message, name).items()}
        if (member.presence or _in_message(shape)) and not message.HasField(name):
            return self._absent(member)
        value = getattr(message, name)
        if value == "" and not isinstance(shape, Scalar) and not field.optional:
            raise Misfit("it is missing")
        return True, self._value(shape, value)

    def _absent(self, member: Member) -> tuple[bool, Any]:
        if member.field.optional and not member.nullable:
            return False, None
        if member.nullable:
            # None was written as nothing; so was nothing by an older class, for which the default stands.
            default = member.field.default
            return (True, None) if not member.field.optional or default is None else (False, None)
        raise Misfit("it is missing")

    def _value(self, shape: Shape, value: Any) -> Any:
        match shape:
            case Record():
                return self._read(shape, value)
            case Logical(kind="datetime"):
                return _instant(value)
            case Logical(kind="timedelta"):
                return timedelta(seconds=value.seconds, microseconds=value.nanos / 1000)
            case Logical(kind=kind):
                return _of_text(kind, value)
            case DecimalNumber():
                return decimal_of_text(value)
            case Enumeration(values=values, symbols=symbols, default=default):
                if 1 <= value <= len(values):
                    return values[value - 1]
                if default is not None:
                    return values[symbols.index(default)]
                raise Misfit(f"{value} is none of the numbers of {', '.join(symbols)}")
            case Scalar(size=int() as size) if len(value) != size:
                raise Misfit(f"{len(value)} bytes instead of {size}")
            case Scalar(allowed=allowed) if allowed is not None and value not in allowed:
                raise Misfit(f"{value!r} is none of {', '.join(map(repr, allowed))}")
        return value


def _in_message(shape: Shape) -> bool:
    return isinstance(shape, Record) or (isinstance(shape, Logical) and shape.kind in ("datetime", "timedelta"))


def _instant(value: Any) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
    except OverflowError:
        raise Misfit(f"{value.seconds} seconds since 1970 lie beyond the years 1 to 9999") from None


_TEXT: dict[str, Callable[[str], Any]] = {"date": date.fromisoformat, "time": time.fromisoformat, "uuid": UUID}


def _of_text(kind: str, text: str) -> Any:
    try:
        return _TEXT[kind](text)
    except ValueError:
        raise Misfit(f"{text[:50]!r} is no {kind}") from None
