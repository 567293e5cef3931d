"""Parameters of handlers beyond the event: the record's parts by type, and dependencies as FastAPI's users know them.

    def database(settings: Annotated[Shop, Depends(shop)]) -> Iterator[Session]:
        with Session(settings.engine) as session:
            yield session

    @app.listen(OrderCreated)
    def reserve(order: OrderCreated, db: Annotated[Session, Depends(database)], key: Annotated[bytes, Key()]): ...

A dependency takes what a handler takes: the event, the Context, parts of the record, other dependencies. It is called
once for a record (once for a batch), however many want it, unless `use_cache=False`; what comes after its `yield` runs
when the handler has returned or raised, the last opened first, before anything is published. Where one of them is
async, or the handler is, they run on the event loop, and the plain ones among them, and a plain handler, in threads.
`app.dependency_overrides[database] = ...` puts another in its place, in tests.
"""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from ottla.errors import ConfigurationError
from ottla.kafka.record import Headers, RecordMetadata
from ottla.listeners.context import Context
from ottla.listeners.steps import collect, collect_async

Function = Callable[..., Any]
Overrides = Mapping[Function, Function]


@dataclass(frozen=True)
class Depends:
    """In `Annotated[T, Depends(f)]`: the parameter is what `f` gives.

    Attributes:
        dependency: A function, a generator that yields once, plain or async, or a class.
        use_cache: Whether it is called once for a record, however many want it.
    """

    dependency: Function
    use_cache: bool = True


@dataclass(frozen=True)
class Key:
    """In `Annotated[bytes | str | None, Key()]`: the record's key; as text where the annotation wants `str`."""


@dataclass(frozen=True)
class Header:
    """In `Annotated[bytes | str | None, Header("x-tenant")]`: a header's last value, None where there is none."""

    name: str


Value = Callable[[Any, Any], Any]
"""What a parameter is, given event and context."""


@dataclass
class Needs:
    """What a function wants to be called with, besides a first positional event."""

    values: dict[str, Value] = field(default_factory=dict)
    dependencies: dict[str, Depends] = field(default_factory=dict)


def needs_of(function: Function, label: str, *, events: tuple[type, ...], batch: bool, skip: str | None) -> Needs:
    """Reads a signature.

    Args:
        function: A handler or a dependency.
        label: Whose, for messages.
        events: The classes of the events; a parameter of one of these is the event.
        batch: Whether events and contexts come in lists.
        skip: The parameter that is given by position.

    Raises:
        ConfigurationError: Nothing can be given for a parameter.
    """
    needs = Needs()
    hints = _hints(function, label)
    for parameter in inspect.signature(function).parameters.values():
        name = parameter.name
        if name == skip or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        wanted = parameter.default if isinstance(parameter.default, Depends) else _marked(hints.get(name), Depends)
        if wanted is not None:
            needs.dependencies[name] = wanted
            continue
        value = _value(hints.get(name), events, batch)
        if value is not None:
            needs.values[name] = value
        elif parameter.default is inspect.Parameter.empty:
            raise ConfigurationError(
                f"{label}: nothing can be given for parameter {name!r} of {_name(function)}. It may be the event, a "
                f"Context, RecordMetadata, Headers, or Annotated with Key(), Header(name) or Depends(function)"
            )
        if parameter.kind is parameter.POSITIONAL_ONLY and name in (needs.values | needs.dependencies):
            raise ConfigurationError(
                f"{label}: parameter {name!r} of {_name(function)} is given by name: leave out '/'"
            )
    return needs


class Injector:
    """Calls one handler with what it wants.

    Args:
        function: The handler.
        label: Its name, for messages.
        events: The classes of its events.
        batch: Whether it takes lists.
        overrides: Asked at each call for what stands in for a dependency.
    """

    def __init__(
        self, function: Function, label: str, events: tuple[type, ...], batch: bool, overrides: Overrides
    ) -> None:
        self._function = function
        self._label = label
        self._events = events
        self._batch = batch
        self._overrides = overrides
        self._plans: dict[Function, Needs] = {}
        first = next(iter(inspect.signature(function).parameters))
        self._needs = needs_of(function, label, events=events, batch=batch, skip=first)
        self.is_async = _is_async(function) or any(map(_is_async, self._all(self._needs, [])))

    def _all(self, needs: Needs, above: list[Function]) -> list[Function]:
        """Every dependency; raises where one depends on itself."""
        found = []
        for one in needs.dependencies.values():
            if one.dependency in above:
                raise ConfigurationError(f"{self._label}: {_name(one.dependency)} depends on itself")
            found += [one.dependency, *self._all(self._plan(one.dependency), [*above, one.dependency])]
        return found

    def _plan(self, dependency: Function) -> Needs:
        found = self._plans.get(dependency)
        if found is None:
            found = needs_of(dependency, self._label, events=self._events, batch=self._batch, skip=None)
            self._plans[dependency] = found
        return found

    def call(self, event: Any, context: Any) -> Any:
        """Calls a plain handler with plain dependencies."""
        with ExitStack() as stack:
            arguments = self._solve(self._needs, event, context, {}, stack)
            return collect(self._function(event, **arguments))

    def _solve(
        self, needs: Needs, event: Any, context: Any, cache: dict[Function, Any], stack: ExitStack
    ) -> dict[str, Any]:
        arguments = {name: value(event, context) for name, value in needs.values.items()}
        for name, one in needs.dependencies.items():
            function = self._overrides.get(one.dependency, one.dependency)
            if one.use_cache and function in cache:
                arguments[name] = cache[function]
                continue
            if _is_async(function):
                raise ConfigurationError(
                    f"{self._label} is plain, and {_name(function)}, which stands in for {_name(one.dependency)}, is "
                    f"async: override a plain dependency with a plain one"
                )
            given = self._solve(self._plan(function), event, context, cache, stack)
            if _is_generator(function):
                found = stack.enter_context(contextmanager(function)(**given))
            else:
                found = function(**given)
            cache[function] = arguments[name] = found
        return arguments

    async def call_async(self, event: Any, context: Any) -> Any:
        """Calls a handler where something is async."""
        async with AsyncExitStack() as stack:
            arguments = await self._solve_async(self._needs, event, context, {}, stack)
            if _is_async(self._function):
                return await collect_async(self._function(event, **arguments))
            return await asyncio.to_thread(lambda: collect(self._function(event, **arguments)))

    async def _solve_async(
        self, needs: Needs, event: Any, context: Any, cache: dict[Function, Any], stack: AsyncExitStack
    ) -> dict[str, Any]:
        arguments = {name: value(event, context) for name, value in needs.values.items()}
        for name, one in needs.dependencies.items():
            function = self._overrides.get(one.dependency, one.dependency)
            if one.use_cache and function in cache:
                arguments[name] = cache[function]
                continue
            given = await self._solve_async(self._plan(function), event, context, cache, stack)
            cache[function] = arguments[name] = await _opened(function, given, stack)
        return arguments


async def _opened(function: Function, given: dict[str, Any], stack: AsyncExitStack) -> Any:
    bare = _bare(function)
    if inspect.isasyncgenfunction(bare):
        return await stack.enter_async_context(asynccontextmanager(function)(**given))
    if inspect.iscoroutinefunction(bare):
        return await function(**given)
    if inspect.isgeneratorfunction(bare):
        return await stack.enter_async_context(_in_threads(function, given))
    return await asyncio.to_thread(function, **given)


@asynccontextmanager
async def _in_threads(function: Callable[..., Iterator[Any]], given: dict[str, Any]) -> AsyncIterator[Any]:
    """A plain generator's dependency, of which no part runs on the event loop."""
    manager = contextmanager(function)(**given)
    opened = await asyncio.to_thread(manager.__enter__)
    try:
        yield opened
    except BaseException as error:
        if not await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await asyncio.to_thread(manager.__exit__, None, None, None)


def wants_injection(function: Function, label: str) -> bool:
    """Whether a handler has a parameter that only an Injector can give."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    hints = _hints(function, label)
    return any(
        isinstance(one.default, Depends)
        or any(_marked(hints.get(one.name), kind) is not None for kind in (Depends, Key, Header))
        or hints.get(one.name) in (RecordMetadata, Headers)
        for one in parameters
    )


def _value(hint: Any, events: tuple[type, ...], batch: bool) -> Value | None:
    plain = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    if plain == (list[Context] if batch else Context):
        return lambda event, context: context
    wanted = (
        typing.get_args(plain)[0] if batch and typing.get_origin(plain) is list and typing.get_args(plain) else plain
    )
    if (plain is not wanted) == batch and _covers(wanted, events):
        return lambda event, context: event
    if batch:
        return None
    as_text = str in (typing.get_args(plain) or (plain,))
    if _marked(hint, Key) is not None:
        return lambda event, context: _text(context.key) if as_text else context.key
    header = _marked(hint, Header)
    if header is not None:
        name = header.name

        def find(event: Any, context: Context) -> bytes | str | None:
            found = dict(context.headers).get(name)
            return _text(found) if as_text else found

        return find
    if plain == RecordMetadata:
        return lambda event, context: context.metadata
    if plain == Headers:
        return lambda event, context: context.headers
    return None


def _covers(hint: Any, events: tuple[type, ...]) -> bool:
    members = tuple(one for one in (typing.get_args(hint) or (hint,)) if isinstance(one, type))
    return bool(events) and bool(members) and all(issubclass(event, members) for event in events)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _marked(hint: Any, kind: type) -> Any:
    if typing.get_origin(hint) is not typing.Annotated:
        return None
    return next((one for one in typing.get_args(hint)[1:] if isinstance(one, kind)), None)


def _bare(function: Function) -> Any:
    """What tells whether a callable is async: of an object that can be called, its method."""
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return getattr(function, "func", None) or getattr(function, "__call__", function)  # noqa: B004


def _is_async(function: Function) -> bool:
    bare = _bare(function)
    return inspect.iscoroutinefunction(bare) or inspect.isasyncgenfunction(bare)


def _is_generator(function: Function) -> bool:
    return inspect.isgeneratorfunction(_bare(function))


def _name(function: Function) -> str:
    return str(getattr(function, "__qualname__", repr(function)))


def _hints(function: Function, label: str) -> dict[str, Any]:
    bare = function.__init__ if inspect.isclass(function) else _bare(function)
    try:
        return typing.get_type_hints(bare, include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"{label}: annotation {error.name!r} of {_name(function)} cannot be resolved where it is defined; "
            f"import it at run time, not only under TYPE_CHECKING"
        ) from error
    except TypeError:  # a callable without annotations, of a built-in kind
        return {}
