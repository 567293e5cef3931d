"""Decoders: for each plan, Python source that reads its bytes, generated once and compiled.

Generated code reads from `b` at position `p`. Whole numbers and lengths of one byte are looked up in a table; None in
it sends the rare rest to a function. A length is not compared with the end before slicing: a slice never takes more
than there is, and a position beyond the end makes the next read, or the final check, fail.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ottla.errors import DecodeError
from ottla.serde.avro import conversions, spans, varint
from ottla.serde.avro.faults import DEPTH_MAX, Malformed, decode_fault, leftover
from ottla.serde.avro.nodes import Node
from ottla.serde.avro.plan import (
    UNKNOWN,
    Plan,
    ReadArray,
    ReadEnum,
    ReadMap,
    ReadPrimitive,
    ReadRecord,
    ReadUnion,
    Refuse,
    Step,
)
from ottla.serde.avro.skipping import Skipping
from ottla.serde.avro.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

Decoder = Callable[[bytes, int], Any]
"""From a value and the position of its payload to the object. Raises DecodeError; refuses bytes left over."""

_SPANS = {
    conversions.timedelta_of_micros: ("read_timedelta", spans.read_timedelta),
    conversions.time_of_micros: ("read_time", spans.read_time),
}

# Python refuses more than 20 nested loops in one function; an array takes two.
_INLINE_DEPTH_MAX = 5
# A record used in many places is not spelled out in all of them.
_INLINE_LINES_MAX = 1500


def build_decoder(plan: Plan, title: str) -> Decoder:
    """Compiles a plan.

    Args:
        plan: What to read.
        title: What it is called in errors (`"shop.OrderCreated"`).
    """
    return _DecoderSource(plan, title).build()


def decoder_source(plan: Plan, title: str) -> str:
    """The generated source, for a reader who wants to see it."""
    generator = _DecoderSource(plan, title)
    generator.build()
    return generator.source.text()


class _DecoderSource:
    """One run of the generator. `_read` writes statements and gives an expression, to be evaluated at once."""

    def __init__(self, root: Plan, title: str) -> None:
        self.root = root
        self.title = title
        self.source = Source(f"decoder of {title}")
        self.skipping = Skipping(self.source)
        self._functions: dict[int, str] = {}
        self._waiting: list[Plan] = []
        self._depth = 0
        bind = self.source.bind
        for name in (
            "SMALL",
            "COUNT",
            "read_long",
            "read_big_long",
            "read_length",
            "read_branch",
            "read_symbol",
            "read_count",
            "read_count_of_empty",
        ):
            bind(name, getattr(varint, name))
        bind("DecodeError", DecodeError)
        bind("Malformed", Malformed)
        bind("fault", self._fault)
        bind("leftover", self._leftover)

    def build(self) -> Decoder:
        source = self.source
        with source.block("def decode(b, p):"):
            with source.block("try:"):
                source.line(f"value = {self._read(self.root, depth='0')}")
            self._handlers()
            with source.block("if p != len(b):"):
                source.line("raise leftover(b, p)")
            source.line("return value")
        while self._waiting:
            self._function(self._waiting.pop())
        self.skipping.finish()
        decode: Decoder = source.compile()["decode"]
        return decode

    def _fault(self, error: Exception, b: bytes, p: int) -> DecodeError:
        return decode_fault(error, b, p, self.title, self.source.fields)

    def _leftover(self, b: bytes, p: int) -> DecodeError:
        return leftover(b, p, self.title)

    def _handlers(self) -> None:
        # Memory that runs out says nothing about the record.
        with self.source.block("except (DecodeError, MemoryError):"):
            self.source.line("raise")
        with self.source.block("except Exception as error:"):
            self.source.line("raise fault(error, b, p) from error")

    def _function(self, plan: Plan) -> None:
        source = self.source
        self._depth = 0
        # Only what contains itself counts: other plans are functions for the sake of the source's size.
        itself = isinstance(plan, ReadRecord) and plan.recursive
        with source.block(f"def {self._functions[id(plan)]}(b, p, depth):"):
            with source.block("try:"):
                if itself:
                    with source.block(f"if depth > {DEPTH_MAX}:"):
                        source.line(f"raise Malformed('it contains itself more than {DEPTH_MAX} deep')")
                source.line(f"value = {self._read(plan, depth='depth + 1' if itself else 'depth', inline=True)}")
            self._handlers()
            source.line("return value, p")

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, plan: Plan, depth: str, inline: bool = False) -> str:
        """Statements that read a plan's value; gives the expression that completes it."""
        if not inline and self._wants_function(plan):
            return self._call(plan, depth)
        match plan:
            case ReadPrimitive():
                return self._primitive(plan)
            case ReadEnum():
                return self._enum(plan)
            case Refuse(reason=reason):
                self.source.line(f"raise Malformed({self.source.bind('reason', reason)})")
                return "None"
            case _:
                with self._deeper():
                    match plan:
                        case ReadArray():
                            return self._array(plan, depth)
                        case ReadMap():
                            return self._map(plan, depth)
                        case ReadUnion():
                            return self._union(plan, depth)
                        case ReadRecord():
                            return self._record(plan, depth)

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        yield
        self._depth -= 1

    def _wants_function(self, plan: Plan) -> bool:
        if isinstance(plan, ReadPrimitive | ReadEnum | Refuse):
            return False
        if isinstance(plan, ReadRecord) and (plan.recursive or len(self.source.lines) > _INLINE_LINES_MAX):
            return True
        return self._depth >= _INLINE_DEPTH_MAX

    def _call(self, plan: Plan, depth: str) -> str:
        name = self._functions.get(id(plan))
        if name is None:
            name = self._functions[id(plan)] = self.source.fresh("read_")
            self._waiting.append(plan)
        value = self.source.fresh("v")
        self.source.line(f"{value}, p = {name}(b, p, {depth})")
        return value

    def _number(self, prefix: str, table: str, rest: str) -> str:
        """A whole number of one byte by table, or of more by function."""
        n = self.source.fresh(prefix)
        self.source.line(f"{n} = {table}[b[p]]")
        self.source.line("p += 1")
        with self.source.block(f"if {n} is None:"):
            self.source.line(f"{n}, p = {rest}(b, p - 1)")
        return n

    def _primitive(self, plan: ReadPrimitive) -> str:
        if plan.convert is None:
            return self._plain(plan)
        if plan.kind in ("int", "long"):
            return self._of_number(plan)
        return f"{self.source.bind(plan.convert_name, plan.convert)}({self._plain(plan)})"

    def _of_number(self, plan: ReadPrimitive) -> str:
        """What a whole number stands for."""
        source, convert = self.source, plan.convert
        if convert is conversions.datetime_of_micros:
            return self._instant()
        value = source.fresh("v")
        if convert in _SPANS:
            name, read = _SPANS[convert]
            source.line(f"{value}, p = {source.bind(name, read)}(b, p)")
            return value
        reader = "read_big_long" if plan.convert_name == "to_datetime" else "read_long"
        source.line(f"{value}, p = {reader}(b, p)")
        if convert is conversions.date_of_days:
            return f"{source.bind('DATES', conversions.DATES)}[{value}]"
        return f"{source.bind(plan.convert_name, convert)}({value})"

    def _instant(self) -> str:
        """By the tables of `spans`, whose `read_datetime` is for what is not in them."""
        source, bind, value = self.source, self.source.bind, self.source.fresh("v")
        tables = [bind(name, getattr(spans, name)) for name in ("HIGHEST", "HIGHER", "LOWER", "LOWEST")]
        pairs = [source.fresh("h") for _ in tables]
        with source.block("try:"):
            source.line(f"{', '.join(reversed(pairs))} = {bind('FOUR_PAIRS', spans.FOUR_PAIRS)}(b, p)")
            terms = (f"{table}[{pair}]" for table, pair in zip(tables, pairs, strict=True))
            source.line(f"{value} = {' + '.join(terms)}")
            source.line("p += 8")
        with source.block(f"except (KeyError, {bind('StructError', struct.error)}):"):
            source.line(f"{value}, p = {bind('read_datetime', spans.read_datetime)}(b, p)")
        return value

    def _plain(self, plan: ReadPrimitive) -> str:
        source = self.source
        if plan.size is not None:
            with source.block(f"if len(b) - p < {plan.size}:"):
                source.line("raise IndexError")
            return f"b[p:(p := p + {plan.size})]"
        match plan.kind:
            case "null":
                return "None"
            case "int" | "long":
                return self._number("v", "SMALL", "read_long")
            case "string":
                n = self._number("n", "COUNT", "read_length")
                return f"b[p:(p := p + {n})].decode()"
            case "bytes":
                n = self._number("n", "COUNT", "read_length")
                return f"b[p:(p := p + {n})]"
            case "boolean":
                value = source.fresh("v")
                source.line(f"{value} = {source.bind('TRUTH', (False, True))}[b[p]]")
                source.line("p += 1")
                return value
            case "double" | "float":
                unpack = struct.Struct("<d" if plan.kind == "double" else "<f")
                value = source.fresh("v")
                source.line(f"{value} = {source.bind(plan.kind, unpack.unpack_from)}(b, p)[0]")
                source.line(f"p += {unpack.size}")
                return value

    def _enum(self, plan: ReadEnum) -> str:
        bind, value = self.source.bind, self.source.fresh("v")
        # What a symbol's one byte stands for; None sends what is rare or wrong to a function.
        by_byte: list[Any] = [None] * 256
        for i, known in enumerate(plan.values[:64]):
            by_byte[i << 1] = None if known is UNKNOWN else known
        self.source.line(f"{value} = {bind('by_byte', tuple(by_byte))}[b[p]]")
        self.source.line("p += 1")
        with self.source.block(f"if {value} is None:"):
            rest = f"{bind('symbols', plan.symbols)}, {bind('values', plan.values)}, {bind('enum_title', plan.title)}"
            self.source.line(f"{value}, p = read_symbol(b, p - 1, {rest})")
        return value

    def _array(self, plan: ReadArray, depth: str) -> str:
        source = self.source
        items, n = source.fresh("v"), source.fresh("n")
        source.line(f"{items} = []")
        with source.block("while True:"):
            self._block_count(n, plan.empty_items)
            if plan.empty_items:
                with source.block(f"if len({items}) + {n} > {varint.EMPTY_ITEMS_MAX}:"):
                    source.line("raise Malformed('too many items that take no byte')")
            if isinstance(plan.item, ReadPrimitive) and plan.item.kind == "double" and plan.item.convert is None:
                source.line(f"{items} += {source.bind('unpack', struct.unpack_from)}('<%dd' % {n}, b, p)")
                source.line(f"p += 8 * {n}")
            else:
                with source.block(f"for _ in range({n}):"):
                    source.line(f"{items}.append({self._read(plan.item, depth)})")
        return items if plan.build is list else f"{plan.build.__name__}({items})"

    def _block_count(self, n: str, empty_items: bool) -> None:
        source = self.source
        source.line(f"{n} = COUNT[b[p]]")
        source.line("p += 1")
        with source.block(f"if not {n}:"):
            with source.block(f"if {n} == 0:"):
                source.line("break")
            source.line(f"{n}, p = {'read_count_of_empty' if empty_items else 'read_count'}(b, p - 1)")
            with source.block(f"if {n} == 0:"):
                source.line("break")

    def _map(self, plan: ReadMap, depth: str) -> str:
        source = self.source
        entries, n, key = source.fresh("v"), source.fresh("n"), source.fresh("k")
        source.line(f"{entries} = {{}}")
        with source.block("while True:"):
            self._block_count(n, False)
            with source.block(f"for _ in range({n}):"):
                source.line(f"{key} = {self._plain(ReadPrimitive('string'))}")
                source.line(f"{entries}[{key}] = {self._read(plan.value, depth)}")
        return entries

    def _union(self, plan: ReadUnion, depth: str) -> str:
        source = self.source
        value, n = source.fresh("v"), source.fresh("n")
        # Branches are told apart by the byte of their index, which is twice as much.
        count = len(plan.branches)
        source.line(f"{n} = b[p]")
        source.line("p += 1")
        with source.block(f"if {n} > {min(126, 2 * count - 2)}:"):
            source.line(f"{n}, p = read_branch(b, p - 1, {count})")
        for i, branch in enumerate(plan.branches):
            with source.block(f"{'elif' if i else 'if'} {n} == {2 * i}:"):
                source.line(f"{value} = {self._read(branch, depth)}")
        with source.block("else:"):
            source.line(f"read_branch(b, p - 1, {count})")
        return value

    # -- records ---------------------------------------------------------------------------------------------------

    def _record(self, plan: ReadRecord, depth: str) -> str:
        values: dict[str, str] = {}
        for step in plan.steps:
            with self.source.field(step.name):
                if step.into is not None:
                    values[step.into] = self._step(step, depth)
                elif step.skip is not None:
                    self._skip(step.skip, depth)
        if plan.as_mapping:
            mapping = ", ".join(f"{name!r}: {values[name]}" for name in (*plan.positional, *plan.keyword))
            return f"{self.source.bind('build', plan.build)}({{{mapping}}})" if plan.build else f"{{{mapping}}}"
        arguments = [values[name] for name in plan.positional]
        arguments += [f"{name}={values[name]}" for name in plan.keyword]
        assert plan.build is not None
        return f"{self.source.bind(plan.build.__name__, plan.build)}({', '.join(arguments)})"

    def _step(self, step: Step, depth: str) -> str:
        assert step.plan is not None
        value = self._read(step.plan, depth)
        if value.isidentifier():
            return value
        name = self.source.fresh("v")
        self.source.line(f"{name} = {value}")
        return name

    def _skip(self, node: Node, depth: str) -> None:
        self.skipping.skip(node, depth, self._depth)
