"""Options of .proto files: the ones Protobuf defines are set, all others are kept as they were written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from .tokens import InvalidProto

_FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        parts: The name's parts, and whether each is an extension (`(acme.size).max` is two parts).
        kind: What the value was written as: string, name, number or aggregate.
        value: The value's text.
    """

    parts: tuple[tuple[str, bool], ...]
    kind: str
    value: Any
    line: int = 0

    @property
    def name(self) -> str:
        return ".".join(f"({name})" if extension else name for name, extension in self.parts)


def set_options(target: Any, options: Iterable[Option]) -> None:
    """Sets options on an options message.

    Raises:
        InvalidProto: Protobuf defines the option, and the value does not fit it.
    """
    for option in options:
        name, extension = option.parts[0]
        known = None if extension or len(option.parts) > 1 else target.DESCRIPTOR.fields_by_name.get(name)
        if known is None or option.kind == "aggregate":
            _keep(target, option)
            continue
        try:
            value = _value(known, option)
            if known.is_repeated:
                getattr(target, name).append(value)
            else:
                setattr(target, name, value)
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidProto(
                f"line {option.line}: option {name}: {option.value!r} is not allowed ({error})"
            ) from None


def _value(field: FieldDescriptor, option: Option) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_name[option.value].number
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"true": True, "false": False}[option.value]
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if option.kind != "string":
            raise ValueError("a string is wanted")
        return option.value.encode() if field.type == FieldDescriptor.TYPE_BYTES else option.value
    return float(option.value) if field.cpp_type in _FLOATS else int(option.value, 0)


def _keep(target: Any, option: Option) -> None:
    kept = target.uninterpreted_option.add()
    for name, extension in option.parts:
        kept.name.add(name_part=name, is_extension=extension)
    match option.kind:
        case "string":
            kept.string_value = option.value.encode("utf-8", "surrogateescape")
        case "name":
            kept.identifier_value = option.value
        case "aggregate":
            kept.aggregate_value = option.value
        case _:
            _keep_number(kept, option.value)


def _keep_number(kept: Any, text: str) -> None:
    try:
        number = int(text, 0)
    except ValueError:
        kept.double_value = float(text)
        return
    if number < 0:
        kept.negative_int_value = number
    else:
        kept.positive_int_value = number
