"""Events whose key is a record with a schema of its own, through an App, on both brokers."""

from __future__ import annotations

import dataclasses
import uuid

import msgspec
import pytest

from ottla import App, event
from ottla.cli.presentation import Presenter
from ottla.errors import EventDefinitionError
from ottla.events import event_type
from ottla.kafka.record import Record
from ottla.registry import RegistryClient
from ottla.registry.checking import wanted_of
from ottla.serde import Deserializer, Serializer
from ottla.serde.serializer import key_class
from tests.listeners.harness import World, eventually
from tests.serde.memory_registry import MemoryRegistry


@dataclasses.dataclass(frozen=True)
class Account:
    bank: str
    number: int


class Person(msgspec.Struct):
    name: str


TOPIC = f"payments-{uuid.uuid4().hex[:10]}"
AUDITS = f"audits-{uuid.uuid4().hex[:10]}"


@event(TOPIC, key="account", namespace="bank")
@dataclasses.dataclass
class Paid:
    account: Account
    amount: int


@event(AUDITS, key="by", namespace="bank")
@dataclasses.dataclass
class Audited:
    by: Account | None
    amount: int


async def test_an_events_key_is_written_with_a_schema_of_its_own(world: World) -> None:
    app = App(f"bank-{world.group}", settings=world.settings)
    seen: list[Paid] = []

    @app.listen(Paid)
    async def audit(paid: Paid) -> Audited:
        seen.append(paid)
        return Audited(paid.account, paid.amount)

    paid = [Paid(Account("b", n % 2), n) for n in range(6)]
    async with app.running():
        for one in paid:
            await app.publish(one)
        await eventually(lambda: len(seen) == 6)
        await eventually(lambda: len(world.records(AUDITS)) == 6)
        await app.publish_tombstone(Paid, Account("b", 0))
        with pytest.raises(EventDefinitionError, match="the keys of Paid are Account, not str"):
            await app.publish_tombstone(Paid, "b")
    *_, deleted = [record for record in world.records(TOPIC) if record.value is None]
    registry = RegistryClient(world.registry.url)
    deserializer = Deserializer(registry)
    events: tuple[tuple[str, type[Paid] | type[Audited]], ...] = ((TOPIC, Paid), (AUDITS, Audited))
    for topic, cls in events:
        found = [record for record in world.records(topic) if record.value is not None]
        keys = [deserializer.decode(record.key or b"", Account) for record in found]
        assert sorted(keys, key=str) == sorted((one.account for one in paid), key=str)
        assert len({record.key for record in found}) == 2  # equal keys are equal bytes: they stay in order
        assert {deserializer.decode(record.value or b"", cls).amount for record in found} == set(range(6))
    text = Serializer(registry).schema_text(Account)
    assert registry.lookup(f"{TOPIC}-key", text) == registry.lookup(f"{AUDITS}-key", text)
    assert deserializer.decode(deleted.key or b"", Account) == Account("b", 0)
    assert seen == paid


@event("t", key="by")
@dataclasses.dataclass
class Either:
    by: Person | Account


@event("t", key="by")
@dataclasses.dataclass
class OrText:
    by: Account | str


def test_a_keys_schema_is_registered_before_the_first_event_and_a_key_may_be_none() -> None:
    registry = MemoryRegistry()
    assert key_class(Audited) is Account
    key = Serializer(registry).key_writer(Audited, "t")
    assert registry.subjects == {"t-key": [1]}
    assert Deserializer(registry).decode(key(Audited(Account("b", 2), 1)) or b"", Account) == Account("b", 2)
    assert key(Audited(None, 1)) is None
    assert [call for call, _ in registry.calls] == ["register", "schema"]


@pytest.mark.parametrize("cls", [Either, OrText])
def test_a_key_of_several_types_is_refused(cls: type) -> None:
    with pytest.raises(EventDefinitionError, match="a topic has keys of one type"):
        Serializer(MemoryRegistry()).key_writer(cls, "t")


def test_without_a_serializer_such_a_key_is_refused_in_words() -> None:
    with pytest.raises(EventDefinitionError, match=r"the key of bank\.Paid, Account, has a schema of its own"):
        event_type(Paid).key_of(Paid(Account("b", 1), 1))


def test_the_schemas_of_keys_are_checked_with_those_of_events() -> None:
    assert [wanted.subject for wanted in wanted_of([Paid, Audited], ["t", "u"], "avro")] == [
        "t-bank.Paid",
        "t-key",
        "u-bank.Audited",
        "u-key",
    ]


def test_keys_with_a_schema_are_shown_decoded() -> None:
    registry = MemoryRegistry()
    serializer = Serializer(registry)
    data = serializer.encode_key(Account("b", 1), "t")
    deserializer = Deserializer(registry)
    presenter = Presenter(lambda value: (1, deserializer.decode_to_dict(value)))
    record = Record("t", 0, 5, -1, data, None, [])
    shown = presenter.document(record)
    assert (shown["key"], shown["key_format"]) == ({"bank": "b", "number": 1}, "avro")
    assert '{"bank":"b","number":1}' in presenter.line(record, headers=False)
