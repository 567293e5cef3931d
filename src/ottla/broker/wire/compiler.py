"""Turns a table into Python source, once per (table, version), and that source into functions.

Generated code beats an interpreter of the table five to forty times: runs of fixed-size fields become one `struct`
call, nothing is looked up by name, and `records` are passed on as slices, never copied or parsed.

A reader takes (buffer, position) and gives (message, position after it). A writer appends to a list of chunks, so that
the records of a Fetch response go to the socket as they are. Both treat nullable and non-null fields as one encoding:
null where it is not allowed reads as the empty value.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

from ottla.broker.wire.primitives import MalformedMessage, overrun, read_uvarint, uvarint
from ottla.broker.wire.schema import Field, Reader, Writer, parse_table

# A message may have as many elements in all its arrays together. Each takes a byte or two of a request and two hundred
# as an object: without this limit the largest request would become gigabytes.
ELEMENTS_MAX = 200_000

_FIXED = {"bool": "?", "int8": "b", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q"}
_FIXED |= {"float64": "d", "uuid": "16s"}
# Error codes other than 0 that writers have written, until whoever counts them takes them out again. Found here, where
# each passes by anyway, and not by a walk through every reply.
ERRORS_WRITTEN: list[int] = []
_ERROR_CODE = "error_code"

_EMPTY = {"string": '""', "bytes": 'b""', "records": 'b""'}


@cache
def reader(table: str, version: int, flexible: bool) -> Reader:
    """The function that reads a message: `(buffer, position) -> (dict, position)`.

    The function raises MalformedMessage, IndexError, struct.error or UnicodeDecodeError on bytes that do not fit.
    """
    source = _ReaderSource(version, flexible)
    source.begin(parse_table(table))
    return source.function("read")  # type: ignore[no-any-return]  # generated code has no types


@cache
def writer(table: str, version: int, flexible: bool) -> Writer:
    """The function that writes a message: `(dict, chunks) -> None`. Keys left out of the dict get their defaults."""
    source = _WriterSource(version, flexible)
    source.begin(parse_table(table))
    return source.function("write")  # type: ignore[no-any-return]  # generated code has no types


class _Source:
    """Lines of a function under construction, its constants, and fresh variable names."""

    def __init__(self, version: int, flexible: bool) -> None:
        self.version = version
        self.flexible = flexible
        self.lines: list[str] = []
        self.depth = 1
        self.names = 0
        self.scope: dict[str, Any] = {
            "uvarint": uvarint,
            "read_uvarint": read_uvarint,
            "overrun": overrun,
            "MalformedMessage": MalformedMessage,
            "ELEMENTS_MAX": ELEMENTS_MAX,
            "note_error": ERRORS_WRITTEN.append,
        }

    def add(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def fresh(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def packing(self, formats: str, method: str) -> str:
        name = f"{method}_{formats.replace('?', 'B_')}"
        self.scope[name] = getattr(struct.Struct(">" + formats), method)
        return name

    def function(self, name: str) -> Any:
        code = compile("\n".join(self.lines), f"<generated {name}, version {self.version}>", "exec")
        exec(code, self.scope)
        return self.scope[name]

    def split(self, fields: list[Field]) -> tuple[list[Field], list[Field]]:
        here = [f for f in fields if f.present(self.version)]
        plain = [f for f in here if f.tag is None]
        tagged = sorted((f for f in here if f.tag is not None), key=lambda f: f.tag or 0)
        return plain, (tagged if self.flexible else [])


class _ReaderSource(_Source):
    def begin(self, fields: list[Field]) -> None:
        self.lines.append("def read(b, p):")
        self.add("end = len(b)")
        self.add(f"left = {ELEMENTS_MAX}")
        self.struct(fields, "result")
        self.add("return result, p")

    def struct(self, fields: list[Field], target: str) -> None:
        plain, tagged = self.split(fields)
        values: dict[str, str] = {}
        run: list[Field] = []
        for item in plain:
            if item.type in _FIXED and not item.array:
                run.append(item)
                continue
            self.fixed(run, values)
            values[item.name] = self.fresh("v")
            self.value(item, values[item.name])
        self.fixed(run, values)
        if self.flexible:
            self.tags(tagged, values)
        entries = [f"{f.name!r}: {values.get(f.name) or self.absent(f)}" for f in fields]
        self.add(f"{target} = {{{', '.join(entries)}}}")

    def absent(self, item: Field) -> str:
        return "[]" if item.array and not item.nullable else repr(item.default)

    def fixed(self, run: list[Field], values: dict[str, str]) -> None:
        if not run:
            return
        formats = "".join(_FIXED[f.type] for f in run)
        for item in run:
            values[item.name] = self.fresh("v")
        targets = "".join(values[f.name] + ", " for f in run)
        self.add(f"{targets}= {self.packing(formats, 'unpack_from')}(b, p)")
        self.add(f"p += {struct.calcsize('>' + formats)}")
        run.clear()

    def size(self, wide: bool) -> str:
        """Reads a length; the variable holds -1 for null."""
        name = self.fresh("n")
        if self.flexible:
            self.add(f"{name} = b[p]; p += 1")
            self.add(f"if {name} > 127: {name}, p = read_uvarint(b, p - 1)")
            self.add(f"{name} -= 1")
        else:
            self.add(f"{name}, = {self.packing('i' if wide else 'h', 'unpack_from')}(b, p); p += {4 if wide else 2}")
        return name

    def value(self, item: Field, target: str) -> None:
        if item.array:
            self.array(item, target)
        elif item.type == "struct":
            self.plain_struct(item, target)
        elif item.type in _FIXED:
            self.add(f"{target}, = {self.packing(_FIXED[item.type], 'unpack_from')}(b, p)")
            self.add(f"p += {struct.calcsize('>' + _FIXED[item.type])}")
        else:
            self.text(item, target)

    def plain_struct(self, item: Field, target: str) -> None:
        if not item.nullable:
            self.struct(item.fields, target)
            return
        self.add("p += 1")
        self.add(f"if b[p - 1] == 255: {target} = None")
        self.add("else:")
        self.depth += 1
        self.struct(item.fields, target)
        self.depth -= 1

    def text(self, item: Field, target: str) -> None:
        size = self.size(wide=item.type != "string")
        stop = self.fresh("e")
        self.add(f"if {size} < 0: {target} = {'None' if item.nullable else _EMPTY[item.type]}")
        self.add("else:")
        self.depth += 1
        self.add(f"{stop} = p + {size}")
        self.add(f"if {stop} > end: raise overrun(p, {size}, end)")
        convert = {"string": "str(b[p:{0}], 'utf-8')", "bytes": "bytes(b[p:{0}])", "records": "b[p:{0}]"}[item.type]
        self.add(f"{target} = {convert.format(stop)}")
        self.add(f"p = {stop}")
        self.depth -= 1

    def array(self, item: Field, target: str) -> None:
        size = self.size(wide=True)
        self.add(f"if {size} < 0: {target} = {'None' if item.nullable else '[]'}")
        self.add("else:")
        self.depth += 1
        # Every element takes at least one byte: a count beyond what is left is a lie, found before any memory is used.
        self.add(f"if {size} > end - p: raise overrun(p, {size}, end)")
        self.add(f"left -= {size}")
        self.add("if left < 0: raise MalformedMessage(f'more than {ELEMENTS_MAX} elements')")
        self.add(f"{target} = []")
        self.add(f"for _ in range({size}):")
        self.depth += 1
        element = self.fresh("x")
        self.value(Field(item.name, item.type, False, False, 0, 0, None, None, item.fields), element)
        self.add(f"{target}.append({element})")
        self.depth -= 2

    def tags(self, tagged: list[Field], values: dict[str, str]) -> None:
        for item in tagged:
            values[item.name] = self.fresh("v")
            self.add(f"{values[item.name]} = {self.absent(item)}")
        count, tag, size, stop = self.fresh("c"), self.fresh("t"), self.fresh("n"), self.fresh("e")
        self.add(f"{count} = b[p]; p += 1")
        self.add(f"if {count}:")
        self.depth += 1
        self.add(f"if {count} > 127: {count}, p = read_uvarint(b, p - 1)")
        self.add(f"for _ in range({count}):")
        self.depth += 1
        self.add(f"{tag}, p = read_uvarint(b, p)")
        self.add(f"{size}, p = read_uvarint(b, p)")
        self.add(f"{stop} = p + {size}")
        self.add(f"if {stop} > end: raise overrun(p, {size}, end)")
        for item in tagged:
            self.add(f"if {tag} == {item.tag}:")
            self.depth += 1
            self.value(item, values[item.name])
            self.depth -= 1
        self.add(f"p = {stop}")
        self.depth -= 2


class _WriterSource(_Source):
    def begin(self, fields: list[Field]) -> None:
        self.lines.append("def write(m, chunks):")
        self.add("o = bytearray()")
        self.struct(fields, "m", "o")
        self.add("if o: chunks.append(o)")

    def get(self, item: Field, message: str) -> str:
        return f"{message}.get({item.name!r}, {'()' if item.array and not item.nullable else repr(item.default)})"

    def struct(self, fields: list[Field], message: str, out: str) -> None:
        plain, tagged = self.split(fields)
        run: list[Field] = []
        for item in plain:
            if item.type in _FIXED and not item.array:
                run.append(item)
                continue
            self.fixed(run, message, out)
            self.value(item, self.get(item, message), out)
        self.fixed(run, message, out)
        if self.flexible:
            self.tags(tagged, message, out)

    def fixed(self, run: list[Field], message: str, out: str) -> None:
        if run:
            formats = "".join(_FIXED[f.type] for f in run)
            errors = {f.name: self.fresh("v") for f in run if f.name == _ERROR_CODE}
            values = ", ".join(
                f"({errors[f.name]} := {self.get(f, message)})" if f.name in errors else self.get(f, message)
                for f in run
            )
            self.add(f"{out} += {self.packing(formats, 'pack')}({values})")
            for name in errors.values():
                self.add(f"if {name}: note_error({name})")
            run.clear()

    def size(self, expression: str, out: str, wide: bool) -> None:
        if self.flexible:
            self.add(f"{out} += uvarint({expression} + 1)")
        else:
            self.add(f"{out} += {self.packing('i' if wide else 'h', 'pack')}({expression})")

    def value(self, item: Field, expression: str, out: str) -> None:
        name = self.fresh("v")
        self.add(f"{name} = {expression}")
        if item.array:
            self.array(item, name, out)
        elif item.type == "struct":
            self.plain_struct(item, name, out)
        elif item.type in _FIXED:
            self.add(f"{out} += {self.packing(_FIXED[item.type], 'pack')}({name})")
        else:
            self.text(item, name, out)

    def plain_struct(self, item: Field, name: str, out: str) -> None:
        if not item.nullable:
            self.add(f"{name} = {name} or {{}}")
            self.struct(item.fields, name, out)
            return
        self.add(f"if {name} is None: {out} += b'\\xff'")
        self.add("else:")
        self.depth += 1
        self.add(f"{out} += b'\\x01'")
        self.struct(item.fields, name, out)
        self.depth -= 1

    def text(self, item: Field, name: str, out: str) -> None:
        self.add(f"if {name} is None:")
        self.depth += 1
        self.size("-1", out, wide=item.type != "string")
        self.depth -= 1
        self.add("else:")
        self.depth += 1
        if item.type == "string":
            self.add(f"{name} = {name}.encode()")
        self.size(f"len({name})", out, wide=item.type != "string")
        if item.type == "records" and out == "o":
            # An empty chunk would make a vectored send spin, so none is ever made.
            self.add(f"if len({name}): chunks.append(o); chunks.append({name}); o = bytearray()")
        else:
            self.add(f"{out} += {name}")
        self.depth -= 1

    def array(self, item: Field, name: str, out: str) -> None:
        self.add(f"if {name} is None:")
        self.depth += 1
        self.size("-1", out, wide=True)
        self.depth -= 1
        self.add("else:")
        self.depth += 1
        self.size(f"len({name})", out, wide=True)
        element = self.fresh("x")
        self.add(f"for {element} in {name}:")
        self.depth += 1
        if item.type == "struct":
            self.struct(item.fields, element, out)
            self.add("pass")
        else:
            self.value(Field(item.name, item.type, False, False, 0, 0, None, None, item.fields), element, out)
        self.depth -= 2

    def tags(self, tagged: list[Field], message: str, out: str) -> None:
        if not tagged:
            self.add(f"{out} += b'\\x00'")
            return
        count, body, value, part = self.fresh("c"), self.fresh("t"), self.fresh("v"), self.fresh("w")
        self.add(f"{count} = 0; {body} = bytearray()")
        for item in tagged:
            self.add(f"{value} = {self.get(item, message)}")
            empty = f"not {value}" if item.array or item.type == "struct" else f"{value} == {item.default!r}"
            self.add(f"if not ({empty}):")
            self.depth += 1
            self.add(f"{count} += 1; {part} = bytearray()")
            self.value(item, value, part)
            self.add(f"{body} += uvarint({item.tag}) + uvarint(len({part})) + {part}")
            self.depth -= 1
        self.add(f"{out} += uvarint({count}) + {body}")
