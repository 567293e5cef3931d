"""What `@app.listen` records about a handler: its events, its parameters, its policies."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ottla.errors import ConfigurationError
from ottla.events import EventType, event_type
from ottla.events.declaration import declared_event
from ottla.listeners.acknowledgement import Ack, check_ack
from ottla.listeners.context import Context
from ottla.listeners.injection import Injector, Overrides, wants_injection
from ottla.listeners.order import Order, per_partition
from ottla.listeners.retry import Retry

Handler = Callable[..., Any]
Filter = Callable[..., Any]


@dataclass(frozen=True)
class Listener:
    """A handler and how it is to be fed.

    Attributes:
        name: For logs, metrics, dead letters and the ids of the events it returns. It must not change while records
            are in flight: a redelivered record would publish under new ids.
        call: The handler, taking (event, context) whatever parameters the user's function has; with `batch` above 1,
            (events, contexts).
        events: The event types it handles.
        is_async: Whether `call` gives an awaitable (or an async iterator).
        retry: What happens when it raises.
        batch: The most records it takes at once; 1 for a handler of single events.
        order: In what order, and how many at once, the records of a partition are handled.
        exactly_once: Whether what it returns and the offsets are committed in one Kafka transaction.
        ack: When a record counts as handled.
        filter: Given event and context; records for which it says no are passed over.
        of_event: The user's function itself, where it takes the event and nothing else and nothing is around it.
    """

    name: str
    call: Handler
    events: tuple[EventType, ...]
    is_async: bool
    retry: Retry
    batch: int = 1
    order: Order = per_partition
    exactly_once: bool = False
    ack: Ack = "auto"
    filter: Filter | None = None
    of_event: Handler | None = None

    @property
    def plain(self) -> bool:
        """Whether a record needs nothing but one call: no batch, no acknowledgement of its own, no filter."""
        return self.batch == 1 and self.ack == "auto" and self.filter is None

    @property
    def topics(self) -> frozenset[str]:
        return frozenset(event.topic for event in self.events)


def declare(
    function: Handler,
    types: tuple[type, ...],
    *,
    name: str | None,
    retry: Retry,
    batch: int = 1,
    order: Order = per_partition,
    exactly_once: bool = False,
    ack: Ack = "auto",
    filter: Filter | None = None,
    overrides: Overrides | None = None,
) -> Listener:
    """Reads a handler's signature once.

    Args:
        function: `f(event)` or `f(event, ctx)`, plain or async; it may return or yield events. With `batch` above 1,
            `f(events)` or `f(events, contexts)`, which returns None or a list with one entry per event.
        types: The event classes; empty takes them from the annotation of the first parameter.
        name: None takes the function's own name.
        retry: What happens when it raises.
        batch: The most records to hand over at once.
        order: In what order, and how many at once.
        exactly_once: Whether outputs and offsets are committed in one Kafka transaction.
        ack: When a record counts as handled.
        filter: `f(event)` or `f(event, ctx)`, plain.
        overrides: What stands in for dependencies; asked at each call.

    Raises:
        ConfigurationError: The signature cannot be served; the message says which parameter.
        EventDefinitionError: A class is not an event.
    """
    label = str(getattr(function, "__qualname__", repr(function)))
    _check(label, batch, order, ack, exactly_once)
    parameters = list(inspect.signature(function).parameters.values())
    hints = _hints(function, label)
    if not parameters:
        raise ConfigurationError(f"handler {label} takes no parameter: it needs one for the event")
    first, *rest = parameters
    wanted = _wanted(types, first.name, hints.get(first.name), label)
    of_event = None
    if wants_injection(function, label):
        given = {} if overrides is None else overrides
        injector = Injector(function, f"handler {label}", tuple(wanted), batch > 1, given)
        call, is_async = (injector.call_async if injector.is_async else injector.call), injector.is_async
    else:
        of_event = None if rest else function
        call = _simple_call(function, label, rest, hints, list[Context] if batch > 1 else Context)
        is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    return Listener(
        name=name or str(getattr(function, "__name__", label)),
        call=call,
        events=tuple(event_type(cls) for cls in wanted),
        is_async=is_async,
        retry=retry,
        batch=batch,
        order=order,
        exactly_once=exactly_once,
        ack=ack,
        filter=None if filter is None else _filter(filter, label),
        of_event=of_event,
    )


def _check(label: str, batch: int, order: Order, ack: Ack, exactly_once: bool) -> None:
    """Raises ConfigurationError where policies do not go together."""
    if batch < 1:
        raise ConfigurationError(f"handler {label}: batch={batch}; a batch holds at least one record")
    if batch > 1 and order.parallel > 1:
        raise ConfigurationError(
            f"handler {label}: batch={batch} with order={order}; a batch is records of a partition in their order. "
            f"Leave one of the two out."
        )
    check_ack(ack, label, batch=batch, exactly_once=exactly_once)


def _wanted(types: tuple[type, ...], parameter: str, annotation: Any, label: str) -> tuple[type, ...]:
    """The event classes: those that are named, else those of the first parameter's annotation."""
    members = _members(annotation)
    wanted = types or members
    if not wanted:
        raise ConfigurationError(
            f"handler {label} does not say which events it handles: annotate {parameter!r} with an event class, "
            f"or name the classes in listen(...)"
        )
    declared = tuple(member for member in members if declared_event(member) is not None)
    for cls in types:
        if declared and not issubclass(cls, declared):
            raise ConfigurationError(
                f"handler {label} listens to {cls.__qualname__}, but its parameter {parameter!r} is annotated with "
                f"{' | '.join(member.__qualname__ for member in declared)}"
            )
    return wanted


def _simple_call(
    function: Handler, label: str, rest: list[inspect.Parameter], hints: dict[str, Any], context_type: Any
) -> Handler:
    """The call of a handler that takes the event and at most its Context: the usual case, and the quick one."""
    context: inspect.Parameter | None = None
    # A parameter that says it is the context leaves nothing for another that does not say what it is.
    said = any(hints.get(parameter.name) == context_type for parameter in rest)
    for parameter in rest:
        if parameter.default is not inspect.Parameter.empty:
            continue
        if context or (hints.get(parameter.name) != context_type and (said or parameter.name in hints)):
            raise ConfigurationError(
                f"handler {label}: nothing can be given for parameter {parameter.name!r}; "
                f"a handler takes the event and, if it likes, a Context (a batch handler, lists of them), and what is "
                f"Annotated with Key(), Header(name) or Depends(function)"
            )
        context = parameter
    positional = context is not None and context is rest[0] and context.kind is not inspect.Parameter.KEYWORD_ONLY
    return _adapt(function, context.name if context else None, positional)


def _filter(function: Filter, label: str) -> Filter:
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"handler {label}: its filter is async; it is asked for each record and must be plain")
    takes = len(inspect.signature(function).parameters)
    return function if takes > 1 else lambda event, _context: function(event)


def _adapt(function: Handler, context_name: str | None, positional: bool) -> Handler:
    if context_name is None:
        return lambda event, context: function(event)
    if positional:
        return function
    return lambda event, context: function(event, **{context_name: context})


def _hints(function: Handler, label: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError as error:
        raise ConfigurationError(
            f"handler {label}: annotation {error.name!r} cannot be resolved where the handler is defined; "
            f"import it at run time, not only under TYPE_CHECKING"
        ) from error


def _members(annotation: Any) -> tuple[type, ...]:
    if annotation is None:
        return ()
    if typing.get_origin(annotation) is list:  # what a batch handler takes
        (annotation,) = typing.get_args(annotation)
    members = typing.get_args(annotation) or (annotation,)
    return tuple(member for member in members if isinstance(member, type))
