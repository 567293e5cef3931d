"""What a type hint alone cannot say about a field, said with `Annotated`."""

from __future__ import annotations

from dataclasses import dataclass

from ottla.errors import EventDefinitionError
from ottla.events.names import check_avro_name


@dataclass(frozen=True, slots=True)
class Digits:
    """How many digits a Decimal field may have: `total: Annotated[Decimal, Digits(12, 2)]`.

    Attributes:
        precision: Digits in all, before and after the point; at least 1.
        scale: Digits after the point; 0 to `precision`.
    """

    precision: int
    scale: int

    def __post_init__(self) -> None:
        if not (1 <= self.precision <= 1000 and 0 <= self.scale <= self.precision):
            raise EventDefinitionError(
                f"Digits({self.precision}, {self.scale}): precision must be 1 to 1000 and scale 0 to precision"
            )


# Wide enough for any amount of money in any currency, prices per unit included; BigQuery's NUMERIC is the same.
DEFAULT_DIGITS = Digits(38, 9)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Bytes of a fixed number, written without a length: `digest: Annotated[bytes, Fixed(32)]` is an Avro fixed."""

    size: int

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 2**31 - 1:
            raise EventDefinitionError(f"Fixed({self.size}): the size must be 1 to {2**31 - 1} bytes")


@dataclass(frozen=True, slots=True)
class Millis:
    """A datetime or time kept in milliseconds: `at: Annotated[datetime, Millis()]` is an Avro timestamp-millis.

    For readers that know no other unit. What is finer is cut off when it is written.
    """


@dataclass(frozen=True, slots=True)
class FormerNames:
    """Names a field had before: `sku: Annotated[str, FormerNames("stock_code")]` still reads older events.

    They become the field's Avro `aliases`.
    """

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        for name in names:
            check_avro_name(name, "FormerNames:")
        object.__setattr__(self, "names", names)


@dataclass(frozen=True, slots=True)
class FieldNumber:
    """The number of a field in Protobuf: `Annotated[str, FieldNumber(7)]`. Other formats take no notice.

    Without it fields are numbered in their order, which is fine until one is removed or moved. For a union the numbers
    from this one on belong to its types.
    """

    number: int

    def __post_init__(self) -> None:
        if not 1 <= self.number < 2**29 or 19000 <= self.number <= 19999:
            raise EventDefinitionError(
                f"FieldNumber({self.number}): Protobuf's numbers go from 1 to {2**29 - 1}, without 19000 to 19999"
            )
