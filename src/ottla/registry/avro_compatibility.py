"""May a reader with this schema read what was written with that one: Avro's schema resolution, checked beforehand.

Source: the Avro specification 1.12, "Schema Resolution" and "Aliases". Where the specification leaves room, this does
what Java's `SchemaCompatibility` does (types match by their unqualified names or by an alias of the reader), since
that is what Confluent's registry answers. It is stricter in one point, as the specification says: two decimals match
only if precision and scale are the same. Java overlooks that, and a reader would silently see 12.34 as 1.234.
"""

from __future__ import annotations

from collections.abc import Iterator

from .avro_schema import Array, AvroSchema, Enum, Field, Fixed, Map, Record, Union, decimal_of, describe
from .incompatibility import Incompatibility

PROMOTIONS = {
    "long": {"int"},
    "float": {"int", "long"},
    "double": {"int", "long", "float"},
    "string": {"bytes"},
    "bytes": {"string"},
}
"""What a reader's type accepts from a writer besides its own."""


def incompatibilities(reader: AvroSchema, writer: AvroSchema) -> list[Incompatibility]:
    """Every reason why `reader` cannot read what `writer` wrote; empty if it can."""
    return list(_Check().compare(reader, writer, ""))


class _Check:
    """One comparison. A pair met again is taken as fine: so recursion ends, and its faults are found only once."""

    def __init__(self) -> None:
        self.met: set[tuple[int, int]] = set()

    def compare(self, reader: AvroSchema, writer: AvroSchema, path: str) -> Iterator[Incompatibility]:
        if isinstance(writer, Union):
            yield from self.from_union(reader, writer, path)
        elif isinstance(reader, Union):
            if not self.some_branch_reads(reader, writer):
                yield _missing_branch(reader, writer, path)
        elif isinstance(reader, Record) and isinstance(writer, Record):
            yield from self.record(reader, writer, path)
        elif isinstance(reader, Array) and isinstance(writer, Array):
            yield from self.compare(reader.items, writer.items, f"{path}/items")
        elif isinstance(reader, Map) and isinstance(writer, Map):
            yield from self.compare(reader.values, writer.values, f"{path}/values")
        elif isinstance(reader, Enum) and isinstance(writer, Enum):
            yield from _enum(reader, writer, path)
        elif isinstance(reader, Fixed) and isinstance(writer, Fixed):
            yield from _fixed(reader, writer, path)
        elif reader.kind != writer.kind and writer.kind not in PROMOTIONS.get(reader.kind, ()):
            yield _fault(
                "TYPE_MISMATCH", path, reader, writer,
                f"the type at '{path or '/'}' is {describe(reader)} in {{reader}} but {describe(writer)} in "
                f"{{writer}}: {reader.kind} cannot read {writer.kind}",
                f"reader type: {reader.kind.upper()} not compatible with writer type: {writer.kind.upper()}",
            )  # fmt: skip
        else:
            yield from _decimal(reader, writer, path)

    def from_union(self, reader: AvroSchema, writer: Union, path: str) -> Iterator[Incompatibility]:
        """The writer may have chosen any of its branches: the reader must read each."""
        for index, branch in enumerate(writer.branches):
            if isinstance(reader, Union):
                if not self.some_branch_reads(reader, branch):
                    yield _missing_branch(reader, branch, f"{path}/{index}")
            else:
                yield from self.compare(reader, branch, path)

    def some_branch_reads(self, reader: Union, writer: AvroSchema) -> bool:
        for branch in reader.branches:
            attempt = _Check()  # what a failed attempt assumed must not count for the next
            attempt.met = set(self.met)
            if next(attempt.compare(branch, writer, ""), None) is None:
                self.met = attempt.met  # found fine once is enough: without this, shared types cost exponential time
                return True
        return False

    def record(self, reader: Record, writer: Record, path: str) -> Iterator[Incompatibility]:
        pair = (id(reader), id(writer))
        if pair in self.met:
            return
        self.met.add(pair)
        if not _same_name(reader, writer):
            yield _name_mismatch(reader, writer, path)
        for index, field in enumerate(reader.fields):
            source = _writer_field(field, writer)
            if source is not None:
                yield from self.compare(field.schema, source.schema, f"{path}/fields/{index}/type")
            elif not field.has_default:
                yield Incompatibility(
                    "READER_FIELD_MISSING_DEFAULT_VALUE",
                    f"{path}/fields/{index}",
                    f"field {field.name} of {describe(field.schema)} without default",
                    "no such field",
                    f"the field '{field.name}' at '{path}/fields/{index}' is in {{reader}} but not in {{writer}} and "
                    f"has no default value: give it one",
                    field.name,
                )


def _writer_field(field: Field, writer: Record) -> Field | None:
    for name in (field.name, *field.aliases):
        found = writer.field(name)
        if found is not None:
            return found
    return None


def _enum(reader: Enum, writer: Enum, path: str) -> Iterator[Incompatibility]:
    if not _same_name(reader, writer):
        yield _name_mismatch(reader, writer, path)
    missing = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
    if missing and reader.default is None:
        yield _fault(
            "MISSING_ENUM_SYMBOLS", f"{path}/symbols", reader, writer,
            f"the enum {reader.name} at '{path}/symbols' lacks {', '.join(missing)} in {{reader}}, which {{writer}} "
            f"has: keep the symbols, or give the enum a default",
            f"[{', '.join(missing)}]",
        )  # fmt: skip


def _fixed(reader: Fixed, writer: Fixed, path: str) -> Iterator[Incompatibility]:
    if not _same_name(reader, writer):
        yield _name_mismatch(reader, writer, path)
    if reader.size != writer.size:
        yield _fault(
            "FIXED_SIZE_MISMATCH", f"{path}/size", reader, writer,
            f"the fixed type {reader.name} at '{path}/size' has {reader.size} bytes in {{reader}} but {writer.size} in "
            f"{{writer}}",
            f"expected: {writer.size}, found: {reader.size}",
        )  # fmt: skip
    else:
        yield from _decimal(reader, writer, path)


def _decimal(reader: AvroSchema, writer: AvroSchema, path: str) -> Iterator[Incompatibility]:
    mine, theirs = decimal_of(reader), decimal_of(writer)
    if mine is not None and theirs is not None and mine != theirs:
        yield _fault(
            "DECIMAL_MISMATCH", path, reader, writer,
            f"the decimal at '{path or '/'}' has precision {mine[0]} and scale {mine[1]} in {{reader}} but precision "
            f"{theirs[0]} and scale {theirs[1]} in {{writer}}: add a new field instead of changing it",
            f"expected: {theirs}, found: {mine}",
        )  # fmt: skip


def _same_name(reader: Enum | Fixed | Record, writer: Enum | Fixed | Record) -> bool:
    return reader.simple_name == writer.simple_name or writer.name in reader.aliases


def _name_mismatch(reader: Enum | Fixed | Record, writer: Enum | Fixed | Record, path: str) -> Incompatibility:
    return _fault(
        "NAME_MISMATCH", f"{path}/name", reader, writer,
        f"the {reader.kind} at '{path}/name' is called {reader.name} in {{reader}} but {writer.name} in {{writer}}: "
        f"keep the name, or make the other one an alias",
        f"expected: {writer.name}",
    )  # fmt: skip


def _missing_branch(reader: Union, writer: AvroSchema, path: str) -> Incompatibility:
    return _fault(
        "MISSING_UNION_BRANCH", path, reader, writer,
        f"the union at '{path or '/'}' has no type in {{reader}} that reads {describe(writer)} of {{writer}}",
        f"reader union lacking writer type: {writer.kind.upper()}",
    )  # fmt: skip


def _fault(kind: str, path: str, reader: AvroSchema, writer: AvroSchema, text: str, detail: str) -> Incompatibility:
    return Incompatibility(kind, path or "/", describe(reader), describe(writer), text, detail)
