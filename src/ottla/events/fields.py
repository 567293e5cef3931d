"""The fields of a user's class, whichever library made it: dataclass, msgspec.Struct, pydantic v2 model or attrs.

pydantic and attrs are never imported here: a class of theirs brings its library along.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from ottla.errors import EventDefinitionError

MISSING: Any = dataclasses.MISSING

_STATIC_FACTORIES: tuple[object, ...] = (list, dict, set, frozenset, tuple)


@dataclasses.dataclass(frozen=True, slots=True)
class ClassField:
    """One field of a class.

    Attributes:
        name: The attribute on an instance.
        wire_name: The name in the schema: msgspec's `rename`, pydantic's alias, else the attribute's name.
        annotation: The resolved type hint, `Annotated` extras included.
        default: A default that is the same for every instance, or MISSING.
        optional: Whether the constructor can do without it (there is a default or a default factory).
        init_name: The constructor's name for it.
        keyword_only: Whether the constructor refuses it by position.
    """

    name: str
    wire_name: str
    annotation: Any
    default: Any
    optional: bool
    init_name: str
    keyword_only: bool


def is_record_class(cls: object) -> bool:
    """Whether a class is one whose fields Ottla can read."""
    if not isinstance(cls, type):
        return False
    return (
        issubclass(cls, msgspec.Struct)
        or dataclasses.is_dataclass(cls)
        or is_pydantic(cls)
        or hasattr(cls, "__attrs_attrs__")
    )


def is_pydantic(cls: type) -> bool:
    """Whether a class is a pydantic v2 model."""
    return hasattr(cls, "__pydantic_validator__") and hasattr(cls, "model_fields")


def class_fields(cls: type) -> tuple[ClassField, ...]:
    """The fields of a class in the order of its constructor. Fields the constructor does not take are left out.

    Raises:
        EventDefinitionError: The class is of no known kind, or a type hint names something that does not exist.
    """
    if issubclass(cls, msgspec.Struct):
        return _struct_fields(cls)
    if is_pydantic(cls):
        return _pydantic_fields(cls)
    if hasattr(cls, "__attrs_attrs__"):
        return _attrs_fields(cls)
    if dataclasses.is_dataclass(cls):
        return _dataclass_fields(cls)
    raise EventDefinitionError(
        f"{cls.__qualname__} is not a dataclass, msgspec.Struct, pydantic model or attrs class, so it has no fields "
        "to build a schema from. Put @dataclass on it (below @event), or derive it from msgspec.Struct"
    )


def field_names(cls: type) -> tuple[str, ...]:
    """Attribute names of a class's fields. Resolves no type hints, so it works while a module is still loading."""
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    if is_pydantic(cls):
        return tuple(cls.model_fields)  # type: ignore[attr-defined]  # pydantic is optional
    if hasattr(cls, "__attrs_attrs__"):
        return tuple(a.name for a in cls.__attrs_attrs__)
    return tuple(f.name for f in dataclasses.fields(cls))  # type: ignore[arg-type]  # asked before


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, localns={cls.__name__: cls}, include_extras=True)
    except NameError as error:
        raise EventDefinitionError(
            f"{cls.__qualname__}: a type hint names {error.name!r}, which is not defined at the top level of module "
            f"{cls.__module__}. Define or import it there (not inside a function or under TYPE_CHECKING)"
        ) from error
    except (TypeError, SyntaxError) as error:
        raise EventDefinitionError(f"{cls.__qualname__}: a type hint cannot be evaluated: {error}") from error


def _static(factory: Callable[[], Any]) -> Any:
    """An empty list or dict is the same every time, so it can be a schema's default; `uuid4` cannot."""
    return factory() if factory in _STATIC_FACTORIES else MISSING


def _struct_fields(cls: type[msgspec.Struct]) -> tuple[ClassField, ...]:
    hints = _hints(cls)
    positional = cls.__match_args__
    found = []
    for field in msgspec.structs.fields(cls):
        default = MISSING if field.default is msgspec.NODEFAULT else field.default
        if default is MISSING and field.default_factory is not msgspec.NODEFAULT:
            default = _static(field.default_factory)
        found.append(
            ClassField(
                name=field.name,
                wire_name=field.encode_name,
                annotation=hints[field.name],
                default=default,
                optional=not field.required,
                init_name=field.name,
                keyword_only=field.name not in positional,
            )
        )
    return tuple(found)


def _dataclass_fields(cls: Any) -> tuple[ClassField, ...]:
    hints = _hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        default: Any = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = _static(field.default_factory)  # type: ignore[arg-type]  # not MISSING: asked above
        found.append(
            ClassField(
                name=field.name,
                wire_name=field.name,
                annotation=hints[field.name],
                default=default,
                optional=field.default is not MISSING or field.default_factory is not MISSING,
                init_name=field.name,
                keyword_only=field.kw_only is True,
            )
        )
    if _has_init_vars(cls):
        raise EventDefinitionError(
            f"{cls.__qualname__} has an InitVar: its value is not kept, so an event read back could not be built. "
            "Make it a field, or take it in a class method"
        )
    return tuple(found)


def _has_init_vars(cls: Any) -> bool:
    fields: Mapping[str, Any] = cls.__dataclass_fields__
    init_var = dataclasses._FIELD_INITVAR  # type: ignore[attr-defined]  # there is no public way to ask
    return any(getattr(f, "_field_type", None) is init_var for f in fields.values())


def _pydantic_fields(cls: Any) -> tuple[ClassField, ...]:
    undefined = sys.modules["pydantic_core"].PydanticUndefined
    if not cls.__pydantic_complete__ and cls.model_rebuild(raise_errors=False) is False:
        raise EventDefinitionError(
            f"{cls.__qualname__}: pydantic cannot complete the model because a type hint names something undefined. "
            "Define or import it at the top level of the module"
        )
    found = []
    for name, field in cls.model_fields.items():
        default = MISSING if field.default is undefined else field.default
        if default is MISSING and field.default_factory is not None:
            default = _static(field.default_factory)
        annotation = field.annotation
        if field.metadata:
            annotation = Annotated[(annotation, *field.metadata)]
        found.append(
            ClassField(
                name=name,
                wire_name=field.serialization_alias or field.alias or name,
                annotation=annotation,
                default=default,
                optional=not field.is_required(),
                init_name=_validation_name(cls, name, field),
                keyword_only=True,
            )
        )
    return tuple(found)


def _validation_name(cls: type, name: str, field: Any) -> str:
    """The key under which pydantic's validator looks for a field."""
    alias = field.validation_alias
    if alias is None:
        return name
    if isinstance(alias, str):
        return alias
    for choice in getattr(alias, "choices", ()):
        if isinstance(choice, str):
            return choice
    raise EventDefinitionError(
        f"{cls.__qualname__}.{name}: an AliasPath has no counterpart in an event. Use a plain alias"
    )


def _attrs_fields(cls: Any) -> tuple[ClassField, ...]:
    attr = sys.modules["attr"]
    hints = _hints(cls)
    found = []
    for field in cls.__attrs_attrs__:
        if not field.init:
            continue
        default = MISSING if field.default is attr.NOTHING else field.default
        if isinstance(default, attr.Factory):
            default = MISSING if default.takes_self else _static(default.factory)
        if field.name not in hints:
            raise EventDefinitionError(f"{cls.__qualname__}.{field.name} has no type hint. Give it one")
        found.append(
            ClassField(
                name=field.name,
                wire_name=field.name,
                annotation=hints[field.name],
                default=default,
                optional=field.default is not attr.NOTHING,
                init_name=field.alias,
                keyword_only=field.kw_only,
            )
        )
    return tuple(found)
