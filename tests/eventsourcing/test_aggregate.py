"""Aggregates by themselves: what they decide and what their events make of them, without a broker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given as given_by_hypothesis
from hypothesis import settings
from hypothesis import strategies as st

from ottla import event
from ottla.errors import EventDefinitionError, HistoryBroken, Refused, StreamsFailed
from ottla.eventsourcing.aggregate import Aggregate
from ottla.eventsourcing.answers import Decided
from ottla.eventsourcing.states import States
from ottla.streams.event_serde import EventSerde
from ottla.testing import TopologyTestDriver, given
from tests.eventsourcing.accounts import Account, Accounts, TooPoor, accounts

of = accounts()


def test_events_follow_from_a_command() -> None:
    given(of.aggregate).when(of.Open("a", "ann")).then(of.Opened("a", "ann")).then_state(Account("ann"))


def test_a_decision_may_give_several_events_one_or_none() -> None:
    opened = of.Opened("a", "ann")
    given(of.aggregate, opened).when(of.Move("a", [1, 2])).then(of.Paid("a", 1), of.Paid("a", 2))
    given(of.aggregate, opened).when(of.Move("a", [])).then().then_state(Account("ann"))
    given(of.aggregate, opened).when(of.Close("a")).then(of.Closed("a")).then_state(None)


def test_a_refusal_leads_to_nothing_and_says_why() -> None:
    before = (of.Opened("a", "ann"), of.Paid("a", 5))
    outcome = given(of.aggregate, *before).when(of.Draw("a", 6)).then_refused("more than the 5", kind=TooPoor)
    assert (outcome.events, outcome.answers[0].version) == ([], 2)
    outcome.then_state(Account("ann", 5, [5]))
    given(of.aggregate, *before).when(of.Open("a")).then_refused("open already")


def test_a_command_to_what_is_not_there_is_refused_by_itself() -> None:
    given(of.aggregate).when(of.Pay("a", 1)).then_refused("there is no account a")


def test_commands_see_what_those_before_them_have_done() -> None:
    outcome = given(of.aggregate).when(of.Open("a"), of.Pay("a", 5), of.Draw("a", 3), of.Draw("a", 3))
    assert [answer.version for answer in outcome.answers] == [1, 2, 3, 3]
    outcome.then_refused("more than the 2")


def test_a_closed_account_is_opened_anew_and_its_versions_count_on() -> None:
    before = (of.Opened("a", "ann"), of.Closed("a"))
    outcome = given(of.aggregate, *before).when(of.Open("a", "bea"))
    assert outcome.then(of.Opened("a", "bea")).answers[0].version == 3


def test_what_did_not_follow_fails_the_test_and_says_what_did() -> None:
    with pytest.raises(AssertionError, match="there followed"):
        given(of.aggregate).when(of.Open("a")).then()
    with pytest.raises(AssertionError, match="refused: there is no account a"):
        given(of.aggregate).when(of.Pay("a", 1)).then()
    with pytest.raises(AssertionError, match="expected a refusal"):
        given(of.aggregate).when(of.Open("a")).then_refused()
    with pytest.raises(AssertionError, match="expected the state None"):
        given(of.aggregate).when(of.Open("a")).then_state(None)


def test_a_defect_in_a_decider_is_no_refusal() -> None:
    with pytest.raises(StreamsFailed, match="a defect"):
        given(of.aggregate, of.Opened("a", "ann")).when(of.Pay("a", 13))


def test_an_event_that_cannot_come_first_breaks_the_history() -> None:
    with pytest.raises(HistoryBroken, match="cannot be first"):
        of.aggregate.replay([of.Paid("a", 1)])


# --- told twice, told for a version ---


def answers(driver: TopologyTestDriver) -> list[Decided]:
    return [Decided.read(record.value or b"") for record in driver.raw("answers")]


def tell(driver: TopologyTestDriver, command: Any, **headers: bytes) -> None:
    named = {"id": "ce_id", "expected": "ottla-expected-version"}
    given_headers = [(named[name], value) for name, value in headers.items()]
    driver.input(type(command)).pipe(command, headers=[("kafka_replyTopic", b"answers"), *given_headers])


def test_a_command_told_twice_has_its_events_once_and_the_same_answer() -> None:
    with TopologyTestDriver(of.aggregate.build()) as driver:
        tell(driver, of.Open("a"), id=b"1")
        tell(driver, of.Pay("a", 5), id=b"2")
        tell(driver, of.Open("a"), id=b"1")
        tell(driver, of.Pay("b", 5), id=b"2")  # the same id, but told to another account
        assert len(driver.raw(of.aggregate.event_topic)) == 2
        first, paid, again, other = answers(driver)
        assert again == first
        assert (paid.version, other.refusal) == (2, "ottla.errors.Refused")


def test_a_command_is_forgotten_after_the_time_it_is_remembered_for() -> None:
    short = accounts("short", remember=timedelta(minutes=10))
    with TopologyTestDriver(short.aggregate.build()) as driver:
        tell(driver, short.Open("a"), id=b"1")
        driver.advance(timedelta(minutes=9))
        tell(driver, short.Pay("a", 1), id=b"2")
        tell(driver, short.Open("a"), id=b"1")
        driver.advance(timedelta(minutes=30))
        tell(driver, short.Open("a"), id=b"1")
        assert [answer.refusal for answer in answers(driver)] == [None, None, None, "ottla.errors.Refused"]


def test_a_command_for_another_version_is_a_conflict() -> None:
    with TopologyTestDriver(of.aggregate.build()) as driver:
        tell(driver, of.Open("a"), expected=b"0")
        tell(driver, of.Pay("a", 1), expected=b"0")
        tell(driver, of.Pay("a", 1), expected=b"1")
        first, conflict, paid = answers(driver)
    assert (first.version, paid.version) == (1, 2)
    assert str(conflict.error) == "a has version 1 by now, and the command is for version 0"


# --- states ---


def test_a_change_of_the_state_is_noticed_and_a_change_of_its_docstring_is_not() -> None:
    class State(msgspec.Struct):
        """Some words."""

        owner: str

    class Same(msgspec.Struct):
        owner: str

    class Other(msgspec.Struct):
        owner: str
        balance: int = 0

    Same.__name__ = Same.__qualname__ = "State"
    Other.__name__ = Other.__qualname__ = "State"
    before, same, other = (Aggregate("account", cls).form.schema for cls in (State, Same, Other))
    assert before != other
    assert Aggregate("account", State, version=2).form.schema != before
    assert same == before


@dataclass
class Plain:
    owner: str
    balance: int = 0
    payments: list[int] | None = None


def test_states_may_be_dataclasses_and_pydantic_models() -> None:
    import pydantic

    class Model(pydantic.BaseModel):
        owner: str
        balance: int = 0
        payments: list[int] = []

    for state in (Plain, Model):
        aggregate = Aggregate("account", state)
        assert aggregate.form.read(aggregate.form.write(state(owner="ann", balance=3))) == state(owner="ann", balance=3)


def test_what_is_written_rounded_is_round_in_the_state_too() -> None:
    """Times have milliseconds on the wire: a state must not remember more than its replay would give."""

    @event("meter-commands", key="meter")
    class Read(msgspec.Struct):
        meter: str

    @event("meters", key="meter")
    class WasRead(msgspec.Struct):
        meter: str
        at: datetime

    class Meter(msgspec.Struct):
        at: datetime

    meters = Aggregate("meter", Meter)
    moment = datetime(2026, 1, 1, 12, 0, 0, 123456, UTC)

    def was_read(meter: Any, happened: Any) -> Any:
        return Meter(happened.at)

    def read(meter: Any, command: Any) -> Any:
        return WasRead(command.meter, moment)

    was_read.__annotations__ = {"meter": Meter | None, "happened": WasRead}
    read.__annotations__ = {"meter": Meter | None, "command": Read}
    meters.applies(was_read)
    meters.decides(read)
    outcome = given(meters).when(Read("m"))
    outcome.then_state(meters.replay(outcome.events))


# --- against a model ---


COMMANDS = st.one_of(
    st.tuples(st.just("open"), st.just(0)),
    st.tuples(st.just("pay"), st.integers(0, 9)),
    st.tuples(st.just("draw"), st.integers(0, 9)),
    st.tuples(st.just("move"), st.integers(0, 4)),
    st.tuples(st.just("close"), st.just(0)),
)
TOLD = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12), COMMANDS), max_size=40)


class Model:
    """What an account is, without events."""

    def __init__(self) -> None:
        self.open: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self.seen: set[tuple[str, int]] = set()

    def told(self, key: str, number: int, what: str, amount: int) -> None:
        if (key, number) in self.seen:
            return
        self.seen.add((key, number))
        there = key in self.open
        if what == "open" and not there:
            self.open[key] = 0
        elif what == "pay" and there:
            self.open[key] += amount
        elif what == "draw" and there and self.open[key] >= amount:
            self.open[key] -= amount
        elif what == "move" and there:
            self.open[key] += sum(range(amount))
            self.versions[key] += amount - 1
        elif what == "close" and there:
            del self.open[key]
        else:
            return
        self.versions[key] = self.versions.get(key, 0) + 1


def command(of: Accounts, key: str, what: str, amount: int) -> Any:
    made = {"open": of.Open, "close": of.Close}
    if what in made:
        return made[what](key)
    return of.Move(key, list(range(amount))) if what == "move" else {"pay": of.Pay, "draw": of.Draw}[what](key, amount)


@settings(max_examples=30, deadline=None)
@given_by_hypothesis(told=TOLD, every=st.sampled_from([1, 2, 5]))
def test_states_are_those_of_a_model_and_of_a_replay(told: list[Any], every: int) -> None:
    of = accounts(snapshot_every=every)
    model = Model()
    with TopologyTestDriver(of.aggregate.build()) as driver:
        for key, number, (what, amount) in told:
            tell(driver, command(of, key, what, amount), id=b"%d" % number)
            model.told(key, number, what, amount)
        serde: Any = EventSerde(*of.aggregate.events).bind(driver.codecs)
        events: dict[str, list[Any]] = {}
        for record in driver.raw(of.aggregate.event_topic):
            happened = events.setdefault((record.key or b"").decode(), [])
            happened.append(serde.decode(record.value, of.aggregate.event_topic))
            assert dict(record.headers)["ottla-version"] == b"%d" % len(happened)
        tail = driver.store("account-tail") if every > 1 else None
        states: States[Any] = States(of.aggregate, driver.store("account"), tail)
        for key in "abc":
            held = states.load(key)
            assert held.version == model.versions.get(key, 0) == len(events.get(key, []))
            assert held.state == of.aggregate.replay(events.get(key, []))
            assert (held.state.balance if held.state else None) == model.open.get(key)
        if tail is not None:
            assert len(list(tail.all())) < every * 3


# --- declarations ---


def test_declarations_that_cannot_work_are_refused_and_say_why() -> None:
    aggregate = Aggregate("account", Account)

    def unannotated(account, happened): ...  # type: ignore[no-untyped-def]
    def of_another_state(account: str, happened: of.Opened) -> str: ...  # type: ignore[name-defined, empty-body]

    of_another_state.__annotations__ = {"account": str, "happened": of.Opened}
    for function, reason in ((unannotated, "two parameters"), (of_another_state, "first parameter is Account")):
        with pytest.raises(EventDefinitionError, match=reason):
            aggregate.applies(function)  # type: ignore[arg-type]
    with pytest.raises(EventDefinitionError, match="no events"):
        aggregate.build()
    with pytest.raises(EventDefinitionError, match="at least 1"):
        Aggregate("account", Account, snapshot_every=0)


def test_a_decision_about_something_else_is_a_defect() -> None:
    other = accounts("mixed")

    def elsewhere(account: Any, command: Any) -> Any:
        return other.Paid("b", 1)

    @event("mixed-commands", key="account")
    class Stray(msgspec.Struct):
        account: str

    elsewhere.__annotations__ = {"account": Account, "command": Stray}
    other.aggregate.decides(elsewhere)
    with pytest.raises(EventDefinitionError, match="a decision is about one account"):
        other.aggregate.decide(Account("ann"), Stray("a"))
    with pytest.raises(Refused):
        other.aggregate.decide(None, Stray("a"))
