"""Encoders: for each class, Python source that writes its instances as Avro, generated once and compiled.

A message is a tuple of byte strings joined at the end: that is the fastest way to bytes in pure Python. Fields that
need no statement (scalars, logical types, nested records of them) become one long tuple expression; loops and
branches cut it, and what was gathered so far is added to a list `w`.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Any

from ottla.events.derivation import record_shape
from ottla.events.shapes import (
    Array,
    DecimalNumber,
    Enumeration,
    Logical,
    Map,
    Record,
    Scalar,
    Shape,
    Union,
)
from ottla.serde.avro import conversions
from ottla.serde.avro.branches import branch_picker, exact_branches, optional_branch
from ottla.serde.avro.checks import as_bytes, as_fixed, as_items, as_map
from ottla.serde.avro.explain import encode_fault
from ottla.serde.avro.faults import DEPTH_MAX
from ottla.serde.avro.source import Source
from ottla.serde.avro.varint import ANY_SIZE, LONG, SIZE, encode_long

Encoder = Callable[..., bytes]
"""From an object, and perhaps bytes to put in front of its payload, to bytes. Raises EncodeError."""

_TRUTH = {False: b"\0", True: b"\1"}
_NULL = {None: b""}
_INLINE_DEPTH_MAX = 4

_LOGICAL_WRITERS: dict[str, Callable[[Any], bytes]] = {
    "datetime": conversions.write_datetime,
    "datetime_millis": conversions.write_datetime_millis,
    "time": conversions.write_time,
    "time_millis": conversions.write_time_millis,
    "timedelta": conversions.write_timedelta,
}


def build_encoder(shape: Record) -> Encoder:
    """Compiles the encoder of a class."""
    return _EncoderSource(shape).build()


def encoder_source(cls: type) -> str:
    """The generated source, for a reader who wants to see it."""
    generator = _EncoderSource(record_shape(cls))
    generator.build()
    return generator.source.text()


class _EncoderSource:
    """One run of the generator."""

    def __init__(self, root: Record, usual_sizes: bool = True) -> None:
        self.root = root
        self.source = Source(f"encoder of {root.full_name}")
        self._functions: dict[int, str] = {}
        self._waiting: list[Record] = []
        self._pending: list[str] = []
        self._started = False
        self._depth = 0
        self._callee_depth = "0"
        bind = self.source.bind
        bind("join", b"".join)
        bind("LONG", LONG)
        bind("SIZE", SIZE if usual_sizes else ANY_SIZE)
        bind("fault", self._fault)
        bind("again", self._again)
        self._usual_sizes = usual_sizes
        self._patient: Encoder | None = None

    def build(self) -> Encoder:
        self._entry()
        while self._waiting:
            self._function(self._waiting.pop())
        encode: Encoder = self.source.compile()["encode"]
        return encode

    def _again(self, value: Any, prefix: bytes) -> bytes:
        """Writes what was longer than anything before, or finds out what else is not in a table."""
        if self._patient is None:
            self._patient = _EncoderSource(self.root, usual_sizes=False).build()
        return self._patient(value, prefix)

    def _fault(self, error: Exception, value: Any) -> Exception:
        return encode_fault(self.root, error, value)

    def _entry(self) -> None:
        source = self.source
        with source.block("def encode(o, prefix=b''):"):
            with source.block("try:"):
                self._begin(depth="0")
                self._pending = ["prefix"]
                self._write(self.root, "o")
                if self._started:
                    self._flush()
                    source.line("return join(w)")
                else:
                    source.line(f"return join({_tuple(self._pending)})")
            with source.block("except MemoryError:"):
                source.line("raise")
            if self._usual_sizes:
                with source.block("except KeyError:"):
                    source.line("return again(o, prefix)")
            with source.block("except Exception as error:"):
                source.line("raise fault(error, o) from error")

    def _function(self, record: Record) -> None:
        source = self.source
        with source.block(f"def {self._functions[id(record)]}(o, w, depth):"):
            # Only what contains itself counts: other records are functions for the sake of the source's size.
            if record.recursive:
                with source.block(f"if depth > {DEPTH_MAX}:"):
                    source.line("raise RecursionError")
            self._begin(depth="depth + 1" if record.recursive else "depth")
            self._fields(record, "o")
            self._flush()

    def _begin(self, depth: str) -> None:
        """Begins a function; only the entry (depth 0) makes its own list, and only if it needs one."""
        self._pending = []
        self._started = depth != "0"
        self._callee_depth = depth
        self._depth = 0

    def _flush(self) -> None:
        if self._pending or not self._started:
            if not self._started:
                self.source.line(f"w = [{', '.join(self._pending)}]")
            elif len(self._pending) == 1:
                self.source.line(f"w.append({self._pending[0]})")
            else:
                self.source.line(f"w += {_tuple(self._pending)}")
        self._pending = []
        self._started = True

    # -- statements ------------------------------------------------------------------------------------------------

    def _write(self, shape: Shape, value: str) -> None:
        """Writes a value given by an expression that is evaluated once."""
        parts = self._parts(shape, value)
        if parts is not None:
            self._pending += parts
            return
        match shape:
            case Record():
                self._record(shape, value)
            case Array():
                self._array(shape, value)
            case Map():
                self._map(shape, value)
            case Union():
                self._union(shape, value)

    def _record(self, record: Record, value: str) -> None:
        if record.recursive or self._depth >= _INLINE_DEPTH_MAX:
            name = self._functions.get(id(record))
            if name is None:
                name = self._functions[id(record)] = self.source.fresh("write_")
                self._waiting.append(record)
            self._flush()
            self.source.line(f"{name}({value}, w, {self._callee_depth})")
        else:
            self._fields(record, self._local(value))

    def _local(self, value: str) -> str:
        """A local variable with the value. Evaluated ahead of what is pending, which has no effects to be late for."""
        if value.isidentifier():
            return value
        name = self.source.fresh("v")
        self.source.line(f"{name} = {value}")
        return name

    def _fields(self, record: Record, value: str) -> None:
        self._depth += 1
        for field in record.fields:
            self._write(field.shape, f"{value}.{field.attribute}")
        self._depth -= 1

    def _array(self, array: Array, value: str) -> None:
        items = self._local(value)
        accepted = self.source.bind("as_items", as_items)
        with self.source.block(f"if {items}.__class__ is not {array.build.__name__}:"):
            self.source.line(f"{items} = {accepted}({items})")
        self._pending.append(f"SIZE[len({items})]")
        item = self.source.fresh("v")
        self._flush()
        if isinstance(array.item, Scalar) and array.item.kind == "double":
            self.source.line(f"w.append({self.source.bind('pack', struct.pack)}('<%dd' % len({items}), *{items}))")
        else:
            with self.source.block(f"for {item} in {items}:"):
                self._depth += 1
                self._write(array.item, item)
                self._flush()
                self._depth -= 1
        self._pending.append(f"b'\\0' if {items} else b''")

    def _map(self, mapping: Map, value: str) -> None:
        entries = self._local(value)
        accepted = self.source.bind("as_map", as_map)
        with self.source.block(f"if {entries}.__class__ is not dict:"):
            self.source.line(f"{entries} = {accepted}({entries})")
        self._pending.append(f"SIZE[len({entries})]")
        self._flush()
        key, item = self.source.fresh("k"), self.source.fresh("v")
        with self.source.block(f"for {key}, {item} in {entries}.items():"):
            self._depth += 1
            self._pending += self._parts(Scalar("string"), key) or []
            self._write(mapping.value, item)
            self._flush()
            self._depth -= 1
        self._pending.append(f"b'\\0' if {entries} else b''")

    def _union(self, union: Union, value: str) -> None:
        chosen = self._local(value)
        self._flush()
        optional = _optional(union)
        if optional is not None:
            null, other, shape = optional
            with self.source.block(f"if {chosen} is None:"):
                self.source.line(f"w.append({null})")
            with self.source.block("else:"):
                self._branch(other, shape, chosen)
            return
        exact = self.source.bind("exact", exact_branches(union))
        pick = self.source.bind("pick", branch_picker(union))
        index = self.source.fresh("i")
        self.source.line(f"{index} = {exact}.get({chosen}.__class__)")
        with self.source.block(f"if {index} is None:"):
            self.source.line(f"{index} = {pick}({chosen})")
        for i, shape in enumerate(union.branches):
            with self.source.block(f"{'elif' if i else 'if'} {index} == {i}:"):
                self._branch(repr(encode_long(i)), shape, chosen)

    def _branch(self, index: str, shape: Shape, value: str) -> None:
        self._depth += 1
        self._pending.append(index)
        self._write(shape, value)
        self._flush()
        self._depth -= 1

    # -- expressions -----------------------------------------------------------------------------------------------

    def _parts(self, shape: Shape, value: str) -> list[str] | None:
        """Expressions whose bytes in a row are the value; None if that takes statements."""
        bind, fresh = self.source.bind, self.source.fresh
        match shape:
            case Scalar():
                return self._scalar(shape, value)
            case Logical(kind="uuid"):
                text = fresh("s")
                return [f"b'H'+({text} := {bind('uuid_text', conversions.uuid_text)}({value}))"]
            case Logical(kind="date"):
                return [f"{bind('DATE_BYTES', conversions.DATE_BYTES)}[{value}]"]
            case Logical(kind=kind, millis=millis):
                name = f"{kind}_millis" if millis else kind
                return [f"{bind('write_' + name, _LOGICAL_WRITERS[name])}({value})"]
            case DecimalNumber(digits=digits):
                text = fresh("s")
                write = bind("decimal", _decimal_writer(digits.precision, digits.scale))
                return [f"SIZE[len({text} := {write}({value}))]", text]
            case Enumeration():
                return [self._enum(shape, value)]
            case Union():
                optional = _optional(shape)
                if optional is None:
                    return None
                null, other, inner = optional
                local = fresh("v")
                parts = self._parts(inner, local)
                return parts and [f"({null} if ({local} := {value}) is None else {_joined([other, *parts])})"]
        return None

    def _scalar(self, shape: Scalar, value: str) -> list[str]:
        bind, fresh = self.source.bind, self.source.fresh
        if shape.allowed is not None:
            value = f"{bind('allowed', {v: v for v in shape.allowed})}[{value}]"
        if shape.size is not None:
            return [f"{bind('as_fixed', functools.partial(as_fixed, shape.size))}({value})"]
        match shape.kind:
            case "null":
                return [f"{bind('NULL', _NULL)}[{value}]"]
            case "boolean":
                return [f"{bind('TRUTH', _TRUTH)}[{value}]"]
            case "long":
                return [f"LONG[{value}]"]
            case "double":
                return [f"{bind('double', struct.Struct('<d').pack)}({value})"]
            case "string":
                text = fresh("s")
                return [f"SIZE[len({text} := {value}.encode())]", text]
            case "bytes":
                text = fresh("s")
                checked = f"{text} if ({text} := {value}).__class__ is bytes else {bind('as_bytes', as_bytes)}({text})"
                return [f"SIZE[len({text} := ({checked}))]", text]

    def _enum(self, shape: Enumeration, value: str) -> str:
        if shape.cls is None:
            table: dict[Any, bytes] = {v: LONG[i] for i, v in enumerate(shape.values)}
            return f"{self.source.bind('symbols', table)}[{value}]"
        # By identity: members live as long as their class, and Enum's own __hash__ is a Python function.
        table = {id(v): LONG[i] for i, v in enumerate(shape.values)}
        return f"{self.source.bind('symbols', table)}[id({value})]"


def _optional(union: Union) -> tuple[str, str, Shape] | None:
    """For `X | None`: the bytes of None's branch, those of the other, and the other's shape."""
    found = optional_branch(union)
    if found is None:
        return None
    null, other = found
    return repr(encode_long(null)), repr(encode_long(1 - null)), other


def _tuple(parts: list[str]) -> str:
    return f"({', '.join(parts)},)" if parts else "()"


def _joined(parts: list[str]) -> str:
    return " + ".join(f"({part})" if " if " in part else part for part in parts)


@functools.cache
def _decimal_writer(precision: int, scale: int) -> Callable[[Any], bytes]:
    return conversions.decimal_writer(precision, scale)
