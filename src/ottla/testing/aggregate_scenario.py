"""`given`: aggregates tested as sentences, without a broker.

given(orders, OrderPlaced("o-1")).when(ShipOrder("o-1")).then(OrderShipped("o-1"))
given(orders).when(ShipOrder("o-1")).then_refused("there is no order o-1")
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from ottla.errors import Refused
from ottla.eventsourcing.aggregate import Aggregate, key_text
from ottla.eventsourcing.answers import Decided
from ottla.eventsourcing.states import NOTHING, Held, States, store_names
from ottla.listeners.replies import REPLY_TOPIC
from ottla.testing.topology_driver import TopologyTestDriver

S = TypeVar("S")

ANSWERS = "answers-to-the-test"


def given(aggregate: Aggregate[S], *events: Any) -> Scenario[S]:
    """Begins with what has happened, in that order; events of several things may be among them."""
    return Scenario(aggregate, events)


class Scenario(Generic[S]):
    """What has happened before. Each `when` begins with it anew."""

    def __init__(self, aggregate: Aggregate[S], events: Sequence[Any]) -> None:
        self._aggregate = aggregate
        self._events = events

    def when(self, *commands: Any) -> Outcome[S]:
        """Tells commands, one after the other, the way they go in an application: written and read as on their topics,
        decided against the stores, the state written and read in between.

        Raises:
            StreamsFailed: A decider or an applier raised what is no refusal.
        """
        aggregate = self._aggregate
        snapshots, _, tail = store_names(aggregate)
        with TopologyTestDriver(aggregate.build()) as driver:
            since = driver.store(tail) if aggregate.snapshot_every > 1 else None
            states = States(aggregate, driver.store(snapshots), since)
            for event in self._events:
                key = key_text(event)
                before = states.load(key)
                state = aggregate.apply(before.state, event)
                states.save(key, before, [event], Held(before.version + 1, state, 0, before.written))
            for command in commands:
                driver.input(type(command)).pipe(command, headers=[(REPLY_TOPIC, ANSWERS.encode())])
            happened = _events_of(driver, aggregate)
            answers = [Decided.read(record.value or b"") for record in driver.raw(ANSWERS)]
            keys = dict.fromkeys(key_text(one) for one in (*self._events, *commands))
            held = {key: states.load(key) for key in keys}
        return Outcome(happened, answers, {key: one for key, one in held.items() if one != NOTHING})


def _events_of(driver: TopologyTestDriver, aggregate: Aggregate[Any]) -> list[Any]:
    from ottla.streams.event_serde import EventSerde

    serde: Any = EventSerde(*aggregate.events).bind(driver.codecs)
    topic = aggregate.event_topic
    return [serde.decode(record.value, topic) for record in driver.raw(topic) if record.value is not None]


class Outcome(Generic[S]):
    """What followed. The methods that begin with `then` fail the test where it did not follow.

    Attributes:
        events: All events, in their order.
        answers: One for each command.
    """

    def __init__(self, events: list[Any], answers: list[Decided], held: dict[str, Held[S]]) -> None:
        self.events = events
        self.answers = answers
        self._held = held

    def then(self, *events: Any) -> Outcome[S]:
        """Exactly these events followed, in this order; without any: none, and nothing was refused."""
        refused = [answer.message for answer in self.answers if answer.refusal is not None]
        said = f"; refused: {'; '.join(refused)}" if refused else ""
        assert self.events == list(events), f"expected {list(events)}, and there followed {self.events}{said}"
        assert events or not refused, f"expected no refusal{said}"
        return self

    def then_refused(self, message: str = "", *, kind: type[Refused] = Refused) -> Outcome[S]:
        """The last command was refused, and led to nothing.

        Args:
            message: A regular expression that is found in the refusal's message.
            kind: The class it was raised as; Refused stands for all.
        """
        last = self.answers[-1]
        assert last.refusal is not None, f"expected a refusal, and there followed {self.events}"
        assert re.search(message, last.message), f"expected a refusal with {message!r}, and it says {last.message!r}"
        name = f"{kind.__module__}.{kind.__qualname__}"
        assert kind is Refused or last.refusal == name, f"expected {name}, and it is {last.refusal}"
        return self

    def then_state(self, state: S | None, *, key: str | None = None) -> Outcome[S]:
        """The aggregate's state is this one now.

        Args:
            key: Which one, where there are several.
        """
        assert key is not None or len(self._held) < 2, f"which one? key= is one of {', '.join(self._held)}"
        there = self._held.get(key) if key is not None else next(iter(self._held.values()), None)
        found = there.state if there is not None else None
        assert found == state, f"expected the state {state}, and it is {found}"
        return self
