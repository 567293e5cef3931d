"""`Aggregate`: what a thing's events make of it, and what it decides when it is told something.

    orders = Aggregate("order", Order)

    @orders.applies
    def placed(order: Order | None, event: OrderPlaced) -> Order: ...

    @orders.decides
    def ship(order: Order, command: ShipOrder) -> OrderShipped: ...

Nothing in here knows Kafka: appliers and deciders are plain functions, and can be called as such.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import UnionType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ottla.errors import EventDefinitionError, HistoryBroken, Refused
from ottla.events.declaration import EventType, event_type
from ottla.eventsourcing.state_form import StateForm
from ottla.serde.serializer import key_class

if TYPE_CHECKING:
    from ottla.streams.topology.topology import Topology

S = TypeVar("S")
E = TypeVar("E")
C = TypeVar("C")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Step:
    """A registered function.

    Attributes:
        from_nothing: Whether it takes None for a thing that is not there yet.
    """

    function: Callable[[Any, Any], Any]
    from_nothing: bool


class Aggregate(Generic[S]):
    """A kind of thing whose truth is its events.

    Its state is None until its first event. Events of one thing are numbered from 1; the number of the last is the
    thing's version.

    Args:
        name: What a thing is called in messages, and the name of the store that holds the states.
        state: The state's class: a dataclass, msgspec.Struct, attrs class or pydantic model.
        version: Count it up when appliers change what they make of old events and the state's class stays as it is:
            states are then made anew from the events, as they are when the class changes.
        snapshot_every: A state is written every so many events; in between the events themselves are kept beside it.
            1 suits states of a few hundred bytes; more is for large states with small events.
        remember: For so long a command that comes a second time is known, and gets the answer of the first.

    Raises:
        EventDefinitionError: The state's class cannot be written as JSON.
    """

    def __init__(
        self,
        name: str,
        state: type[S],
        *,
        version: int = 1,
        snapshot_every: int = 1,
        remember: timedelta = timedelta(days=7),
    ) -> None:
        if snapshot_every < 1:
            raise EventDefinitionError(f"aggregate {name!r}: snapshot_every is at least 1, not {snapshot_every}")
        self.name = name
        self.state = state
        self.snapshot_every = snapshot_every
        self.remember = remember
        self.form: StateForm[S] = StateForm(state, version)
        self._appliers: dict[type, _Step] = {}
        self._deciders: dict[type, _Step] = {}

    # -- declaring -------------------------------------------------------------------------------------------------

    @overload
    def applies(self, function: Callable[[S | None, E], S]) -> Callable[[S | None, E], S]: ...
    @overload
    def applies(self, function: Callable[[S, E], S | None]) -> Callable[[S, E], S | None]: ...
    def applies(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Declares what an event makes of the state: a function of state and event that gives the new state, and does
        nothing else. It may change the state it is given.

        The event's class is the annotation of the second parameter. `Order | None` as the first takes events that may
        come first; with `Order` alone, such an event in front of all others is a fault of the history.

        Raises:
            EventDefinitionError: The annotations do not say what it is for, or the event has an applier already.
        """
        self._register(function, self._appliers, "applies")
        return function

    @overload
    def decides(self, function: Callable[[S | None, C], R]) -> Callable[[S | None, C], R]: ...
    @overload
    def decides(self, function: Callable[[S, C], R]) -> Callable[[S, C], R]: ...
    def decides(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Declares what follows from a command: a function of state and command that gives an event, several (a list,
        or by `yield`), or None, and raises `Refused` where the answer is no. It must not change the state, and do
        nothing else: what it gives is all that happens.

        The command's class is the annotation of the second parameter, an `@event` class like the events. With `Order`
        and not `Order | None` as the first, commands to a thing that is not there are refused by themselves.

        Raises:
            EventDefinitionError: As `applies`.
        """
        self._register(function, self._deciders, "decides")
        return function

    def _register(self, function: Callable[[Any, Any], Any], steps: dict[type, _Step], what: str) -> None:
        where = f"aggregate {self.name!r}: {what} {getattr(function, '__qualname__', function)}"
        try:
            hints = typing.get_type_hints(function)
        except NameError as error:
            raise EventDefinitionError(f"{where}: {error}; its annotations must be known where it stands") from None
        names = list(inspect.signature(function).parameters)
        if len(names) != 2 or any(name not in hints for name in names):
            raise EventDefinitionError(f"{where}: it takes two parameters with annotations, the state and the event")
        taken, classes = _alternatives(hints[names[0]]), _alternatives(hints[names[1]])
        if self.state not in taken or taken - {self.state, type(None)}:
            raise EventDefinitionError(
                f"{where}: its first parameter is {self.state.__qualname__} or {self.state.__qualname__} | None"
            )
        for cls in sorted(classes, key=lambda one: one.__qualname__):
            declared = event_type(cls)
            if declared.key is None or key_class(cls) is not None:
                raise EventDefinitionError(f"{where}: {declared.name} needs a key that is text, a number or bytes")
            if cls in steps:
                raise EventDefinitionError(f"{where}: {declared.name} has a function already")
            steps[cls] = _Step(function, type(None) in taken)

    # -- what it is made of ----------------------------------------------------------------------------------------

    @property
    def events(self) -> tuple[type, ...]:
        """The classes of its events."""
        return tuple(self._appliers)

    @property
    def commands(self) -> tuple[type, ...]:
        """The classes of its commands."""
        return tuple(self._deciders)

    @property
    def event_topic(self) -> str:
        """The topic of its events. Raises EventDefinitionError where they have none, or several."""
        return self._topic(self._appliers, "event", "applies")

    @property
    def command_topic(self) -> str:
        """The topic of its commands. Raises EventDefinitionError where they have none, or several."""
        return self._topic(self._deciders, "command", "decides")

    def _topic(self, steps: Mapping[type, _Step], what: str, how: str) -> str:
        topics = {declared.topic for declared in map(event_type, steps)}
        if len(topics) != 1:
            found = f"{what}s on several topics ({', '.join(sorted(topics))})" if topics else f"no {what}s (@{how})"
            raise EventDefinitionError(f"aggregate {self.name!r} has {found}; it needs all of them on one")
        return topics.pop()

    def build(self) -> Topology:
        """The topology that decides its commands, for a `TopologyTestDriver` and for descriptions; `AggregateApp`
        runs it.

        Raises:
            EventDefinitionError: Its commands or its events are on no topic, or on several.
        """
        from ottla.eventsourcing.topology import add_aggregate
        from ottla.streams.builder import StreamsBuilder

        builder = StreamsBuilder()
        add_aggregate(builder, self)
        return builder.build()

    # -- what it does ----------------------------------------------------------------------------------------------

    def apply(self, state: S | None, event: Any) -> S | None:
        """The state after an event.

        Raises:
            HistoryBroken: It has no applier, or cannot come first.
        """
        step = self._appliers.get(type(event))
        if step is None:
            raise HistoryBroken(f"aggregate {self.name!r} has no function that applies {type(event).__qualname__}")
        if state is None and not step.from_nothing:
            raise HistoryBroken(f"{type(event).__qualname__} comes where there is no {self.name}: it cannot be first")
        after: S | None = step.function(state, event)
        return after

    def replay(self, events: Iterable[Any], state: S | None = None) -> S | None:
        """The state after many events. Raises HistoryBroken as `apply`."""
        for event in events:
            state = self.apply(state, event)
        return state

    def decide(self, state: S | None, command: Any) -> list[Any]:
        """The events that follow from a command.

        Raises:
            Refused: The answer is no.
            EventDefinitionError: The command has no decider, or what it gave is no event of this aggregate about the
                same thing.
        """
        step = self._deciders.get(type(command))
        if step is None:
            raise EventDefinitionError(f"aggregate {self.name!r} decides no {type(command).__qualname__}")
        key = key_text(command)
        if state is None and not step.from_nothing:
            raise Refused(f"there is no {self.name} {key}")
        events = _listed(step.function(state, command))
        for event in events:
            declared = self._declared(event, command)
            if key_text(event, declared) != key:
                raise EventDefinitionError(
                    f"{type(command).__qualname__} is told to {self.name} {key}, and gave a {declared.name} of "
                    f"{key_text(event, declared)}: a decision is about one {self.name}"
                )
        return events

    def _declared(self, event: Any, command: Any) -> EventType:
        if type(event) not in self._appliers:
            raise EventDefinitionError(
                f"{type(command).__qualname__} gave a {type(event).__qualname__}, which {self.name!r} does not apply"
            )
        return event_type(event)


def key_text(event: Any, declared: EventType | None = None) -> str:
    """Which thing an event or a command is about, as the text its record's key is."""
    return ((declared or event_type(event)).key_of(event) or b"").decode("utf-8", "replace")


def _alternatives(hint: Any) -> set[Any]:
    if typing.get_origin(hint) in (typing.Union, UnionType):
        return set(typing.get_args(hint))
    return {hint}


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple | Iterator) else [given]
