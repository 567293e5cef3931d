"""The C extension against Python's codec: the same values, the same bytes, the same errors, and nothing left behind."""

from __future__ import annotations

import dataclasses
import gc
import json
import resource
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottla.errors import DecodeError, EncodeError
from ottla.events.derivation import record_shape
from ottla.events.schema import schema_text
from ottla.serde.avro import active_codec, decoder, encoder, generic_decoder
from ottla.serde.avro.construction import attributes_set
from ottla.serde.avro.engine import using
from ottla.serde.avro.nodes import parse_schema
from ottla.serde.avro.programs import read_program, write_program
from ottla.serde.avro.resolution import resolve
from tests.serde.conftest import BUILT
from tests.serde.samples import (
    EVERY_KIND,
    WIDE,
    AttrsOrder,
    FrozenAttrsOrder,
    FrozenOrder,
    Node,
    OrderCreated,
    PlainOrder,
    PrivateOrder,
    Wide,
)
from tests.serde.strategies import instances

pytestmark = pytest.mark.skipif(not BUILT, reason="the C extension was not built")

_fuzz = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
_slow = settings(_fuzz, max_examples=60)


@pytest.fixture(autouse=True, scope="module")
def engine() -> None:
    """These tests take both codecs themselves."""


@dataclasses.dataclass
class Checked:
    n: int
    seen: list[int] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError("negative")
        self.seen.append(self.n)


@dataclasses.dataclass
class Doubling:
    n: int

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value * 2 if isinstance(value, int) else value)


@dataclasses.dataclass(init=False)
class OwnInit:
    n: int

    def __init__(self, n: int) -> None:
        self.n = n + 1


@attrs.define
class Validated:
    n: int = attrs.field(validator=attrs.validators.ge(0), converter=abs)


@attrs.frozen
class Frozen:
    n: int
    twice: list[int] = attrs.field(factory=list)


class Model(pydantic.BaseModel):
    n: pydantic.PositiveInt


class Posted(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        self.n += 1


class Counting(type):
    calls = 0

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        Counting.calls += 1
        return super().__call__(*args, **kwargs)


@dataclasses.dataclass
class Counted(metaclass=Counting):
    n: int


def never(*arguments: object) -> Any:
    raise AssertionError("Python's codec was asked")


def alone(cls: type) -> tuple[Callable[[Any], bytes], Callable[[bytes, int], Any]]:
    """Encoder and decoder of a class that have no Python behind them."""
    from ottla.serde.avro import _codec

    shape = record_shape(cls)
    plan = resolve(parse_schema(schema_text(cls)), shape)
    write = _codec.Encoder(write_program(_codec, shape), never)
    return write, _codec.Decoder(read_program(_codec, plan), never)


def both(make: Callable[[], Any]) -> list[Any]:
    """What is made with the extension, and with Python's codec."""
    made = []
    with using("extension"):
        made.append(make())
    with using("pure"):
        made.append(make())
    return made


def outcome(call: Callable[[], Any]) -> Any:
    """A value, or what is told of a failure."""
    try:
        return call()
    except (DecodeError, EncodeError) as error:
        return type(error), str(error), getattr(error, "position", None)


def same(read: Any, expected: Any) -> bool:
    """Equal, and of the same types; NaN equals itself."""
    return type(read) is type(expected) and (read == expected or repr(read) == repr(expected))


@pytest.mark.parametrize("cls", [Wide, OrderCreated, Node, *EVERY_KIND], ids=lambda cls: cls.__name__)
def test_the_extension_reads_and_writes_usual_events_by_itself(cls: type) -> None:
    write, read = alone(cls)
    values = {
        Wide: WIDE,
        OrderCreated: OrderCreated("o", "c", WIDE.money, WIDE.at, []),
        Node: WIDE.tree,
    }
    value = values.get(cls) or cls(order_id="1", items=["a", "b"])
    assert read(write(value), 0) == value


@pytest.mark.parametrize(
    "cls", [PlainOrder, FrozenOrder, AttrsOrder, FrozenAttrsOrder, PrivateOrder, Node, Checked, Frozen]
)
def test_constructors_that_only_set_attributes_are_known(cls: type) -> None:
    assert attributes_set(record_shape(cls)) is not None


@pytest.mark.parametrize("cls", [Doubling, OwnInit, Validated, Counted, Model, Posted])
def test_constructors_that_do_anything_else_are_called(cls: type) -> None:
    assert attributes_set(record_shape(cls)) is None


def test_both_codecs_say_which_they_are() -> None:
    assert both(active_codec) == ["extension", "pure"]
    assert [type(each).__name__ for each in both(lambda: encoder(Wide))] == ["Encoder", "function"]


@_fuzz
@given(st.binary(max_size=200), st.sampled_from([Wide, OrderCreated, Node, *EVERY_KIND]))
def test_random_bytes_mean_the_same_to_both(data: bytes, cls: type) -> None:
    fast, slow = both(lambda: decoder(schema_text(cls), cls))
    assert same(outcome(lambda: fast(data, 0)), outcome(lambda: slow(data, 0)))


@_fuzz
@given(st.data())
def test_mutated_events_mean_the_same_to_both(data: st.DataObject) -> None:
    event = encoder(Wide)(WIDE)
    mutated = bytearray(event)
    for _ in range(data.draw(st.integers(1, 3))):
        mutated[data.draw(st.integers(0, len(event) - 1))] = data.draw(st.integers(0, 255))
    payload = bytes(mutated)
    for make in (lambda: decoder(schema_text(Wide), Wide), lambda: generic_decoder(schema_text(Wide))):
        fast, slow = both(make)
        assert same(outcome(lambda: fast(payload, 0)), outcome(lambda: slow(payload, 0)))  # noqa: B023 - called at once


@_slow
@given(instances())
def test_any_class_is_written_and_read_alike_by_both(value: Any) -> None:
    cls = type(value)
    fast_write, slow_write = both(lambda: encoder(cls))
    data = fast_write(value)
    assert data == slow_write(value)
    assert fast_write(value, b"prefix") == slow_write(value, b"prefix") == b"prefix" + data
    fast, slow = both(lambda: decoder(schema_text(cls), cls))
    assert same(fast(data, 0), slow(data, 0))
    for end in range(0, len(data), max(1, len(data) // 8)):
        assert outcome(lambda: fast(data[:end], 0)) == outcome(lambda: slow(data[:end], 0))  # noqa: B023 - called at once


def test_amounts_are_what_they_were_when_they_come_again_whatever_came_between() -> None:
    def reader(scale: int) -> list[Any]:
        text = json.dumps({"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": scale})
        return both(lambda: generic_decoder('{"type":"record","name":"R","fields":[{"name":"n","type":' + text + "}]}"))

    numbers = [n + sign * 2**bits for bits in range(72) for sign in (1, -1) for n in range(-2, 3)]
    numbers += range(-3000, 3000)  # more than are kept
    data = [n.to_bytes(size, "big", signed=True) for n in numbers for size in (2, 8, 10) if fits(n, size)]
    readers = [reader(scale) for scale in (0, 2, 7)]
    for payload in [bytes([len(one) * 2]) + one for one in data] * 2:
        for fast, slow in readers:
            assert str(fast(payload, 0)["n"]) == str(slow(payload, 0)["n"])


def fits(number: int, size: int) -> bool:
    return -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1


@pytest.mark.parametrize("cls", [Checked, Doubling, OwnInit, Validated, Frozen, Model, Posted, Counted])
@pytest.mark.parametrize("n", [5, -5])
def test_a_constructor_means_the_same_to_both(cls: type, n: int) -> None:
    data = b"\x0a" if n == 5 else b"\x09"
    writer = '{"type":"record","name":"R","fields":[{"name":"n","type":"long"}]}'
    fast, slow = both(lambda: decoder(writer, cls))
    read, expected = outcome(lambda: fast(data, 0)), outcome(lambda: slow(data, 0))
    assert same(read, expected)
    if not isinstance(read, tuple):
        assert vars_of(read) == vars_of(expected)


def vars_of(value: Any) -> dict[str, Any]:
    names = getattr(type(value), "__slots__", None) or vars(value)
    return {name: getattr(value, name) for name in names if name != "__weakref__"}


def test_a_metaclass_is_called() -> None:
    before = Counting.calls
    with using("extension"):
        assert decoder(schema_text(Counted), Counted)(b"\x02", 0) == Counted(1)
    assert Counting.calls == before + 2


def test_every_instance_gets_a_default_of_its_own() -> None:
    writer = '{"type":"record","name":"R","fields":[{"name":"n","type":"long"}]}'
    with using("extension"):
        read = decoder(writer, Frozen)
    first, second = read(b"\x02", 0), read(b"\x02", 0)
    assert first == second
    assert first.twice is not second.twice


def test_a_list_that_changes_while_it_is_written_does_no_harm() -> None:
    class Shrinking:
        def __init__(self, others: list[Any]) -> None:
            self.others = others

        @property
        def value(self) -> int:
            del self.others[1:]
            return 1

        next = None
        children: tuple[Any, ...] = ()

    children: list[Any] = []
    children += [Shrinking(children) for _ in range(1000)]
    with using("extension"):
        encode = encoder(Node)
    tree = Node(0, None, children)
    assert encode(tree) == encode(Node(0, None, [Node(1)]))


def test_nothing_is_left_behind() -> None:
    """A leak of one object per call would show as several megabytes."""
    with using("extension"):
        write, read, generic = encoder(Wide), decoder(schema_text(Wide), Wide), generic_decoder(schema_text(Wide))
    data = write(WIDE)

    def work() -> None:
        for _ in range(3000):
            write(WIDE)
            read(data, 0)
            generic(data, 0)
            write_many(write)
        for end in range(len(data)):
            outcome(lambda: read(data[:end], 0))  # noqa: B023 - called at once

    work()
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    gc.collect()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2_000


def write_many(write: Any) -> None:
    write.many([WIDE], b"prefix")


@pytest.mark.parametrize(
    "program",
    [
        (),
        ((),),
        ((0,),),
        ((99,),),
        (("x",),),
        ((9, 5, 0, 0),),
        ((10, 0, 7, int, 1, ((0, 0),)),),
        ((10, 0, 2, int, 1, ((0, 5),), 1, ()),),
        ((10, 0, 2, int, 2, (), 1, ()),),
        ((10, 0, 3, 5, 0, (), (), 0),),
        (7,),
        [1],
    ],
)
def test_a_program_that_is_none_is_refused(program: Any) -> None:
    from ottla.serde.avro import _codec

    with pytest.raises((ValueError, TypeError)):
        _codec.Decoder(program, never)
