"""From the model to Python."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..schema_error import InvalidSchema
from .model import Class, EnumClass, Field, Module, Style

_IMPORTS = {
    "datetime": ["date", "datetime", "time", "timedelta"],
    "decimal": ["Decimal"],
    "enum": ["Enum"],
    "typing": ["Annotated", "Any", "Literal"],
    "uuid": ["UUID"],
}


def render(module: Module, style: Style) -> str:
    """The module's source."""
    if style.kind not in ("struct", "dataclass"):
        raise InvalidSchema(f"style {style.kind!r} is neither struct nor dataclass")
    body = "\n\n\n".join("\n".join(_declaration(one, module, style)) for one in module.declarations)
    head = f'"""Events of {module.full_name}."""'
    if style.origin:
        head = f'"""Written by `ottla schema codegen` from {style.origin}: change the schema, not this file."""'
    return f"{head}\n\nfrom __future__ import annotations\n\n{_imports(body, style)}\n\n\n{body}\n"


def _imports(body: str, style: Style) -> str:
    code = re.sub(r'"(?:[^"\\]|\\.)*"', "", body)
    lines = []
    for package, names in _IMPORTS.items():
        used = [name for name in names if re.search(rf"(?<![\w.]){name}\b", code)]
        if used:
            lines.append(f"from {package} import {', '.join(used)}")
    if style.kind == "dataclass":
        lines.append("from dataclasses import dataclass" + (", field" if " field(" in code else ""))
    lines.sort(key=lambda line: line.split()[1])
    third = ["import msgspec"] if style.kind == "struct" else []
    ours = []
    annotations = [name for name in ("Digits", "FieldNumber") if re.search(rf"\b{name}\(", code)]
    if annotations:
        ours.append(f"from ottla.events.annotations import {', '.join(annotations)}")
    if style.topic:
        ours.insert(0, "from ottla import event")
    return "\n\n".join("\n".join(group) for group in (lines, third + ours) if group)


def _declaration(one: Class | EnumClass, module: Module, style: Style) -> Iterator[str]:
    if isinstance(one, EnumClass):
        yield f"class {one.name}(Enum):"
        yield from _doc(one.doc)
        yield from (f"    {name} = {value}" for name, value in one.members)
        if one.default is not None:
            yield ""
            yield f"    __ottla_default__ = {one.default}"
        return
    if style.topic and one.name == module.main:
        yield _event(one, module, style)
    yield from _head(one, style)
    yield from _doc(one.doc)
    # Those with a default come last: so both kinds of class want it.
    fields = sorted(one.fields, key=lambda found: found.default is not None)
    if not fields:
        yield "    pass"
    for found in fields:
        yield f"    {found.name}: {found.type}{_default(found, style)}"


def _event(one: Class, module: Module, style: Style) -> str:
    namespace, _dot, name = one.full_name.rpartition(".")
    parts = [_quoted(style.topic or "")]
    if style.key:
        parts.append(f"key={_quoted(style.key)}")
    if name != one.name:
        parts.append(f"name={_quoted(name)}")
    if namespace:
        parts.append(f"namespace={_quoted(namespace)}")
    if module.format != "avro":
        parts.append(f"format={_quoted(module.format)}")
    return f"@event({', '.join(parts)})"


def _head(one: Class, style: Style) -> Iterator[str]:
    renamed = {found.name: found.wire_name for found in one.fields if found.name != found.wire_name}
    if style.kind == "struct":
        names = ", ".join(f"{_quoted(name)}: {_quoted(wire)}" for name, wire in renamed.items())
        yield f"class {one.name}(msgspec.Struct{f', rename={{{names}}}' if renamed else ''}):"
        return
    if renamed:
        raise InvalidSchema(
            f"{one.full_name}: {', '.join(renamed.values())} cannot be names in Python, and a dataclass cannot rename "
            f"them: use --style struct"
        )
    yield "@dataclass"
    yield f"class {one.name}:"


def _default(found: Field, style: Style) -> str:
    if found.default is None:
        return ""
    if found.default in ("[]", "{}") and style.kind == "dataclass":
        return f" = field(default_factory={'list' if found.default == '[]' else 'dict'})"
    return f" = {found.default}"


def _doc(text: str | None) -> Iterator[str]:
    if text:
        words = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
        yield f'    """{words}"""'
        yield ""


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)
