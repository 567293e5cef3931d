"""Finds what `MODULE:NAME` means: `ottla run shop.inventory:app`."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ottla.errors import ConfigurationError, OttlaError

Kind = TypeVar("Kind")


def locate(target: str, app_dir: Path) -> tuple[ModuleType, Any]:
    """Imports the module of `MODULE:NAME`, with `app_dir` first on the search path, and gives it with the object.

    Raises:
        ConfigurationError: The text has no such form, no such module or attribute exists, or the module needs a
            package that is not installed, or raises on being imported.
        OttlaError: As the module itself raises it.
    """
    module_name, colon, attribute = target.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigurationError(
            f"{target!r} does not say what to run: give MODULE:NAME, such as shop.inventory:app "
            "(the module's import path, a colon, the variable that holds the app)"
        )
    module = _import(module_name, app_dir.resolve())
    found: Any = module
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            known = sorted(key for key, value in vars(module).items() if _looks_like_an_app(value))
            hint = f"; it has {', '.join(f'{module_name}:{key}' for key in known)}" if known else ""
            raise ConfigurationError(f"module {module_name} ({module.__file__}) has no {attribute!r}{hint}") from None
    return module, found


def locate_one(kind: type[Kind], target: str, app_dir: Path, origin: str = "") -> Kind:
    """The object that `MODULE:NAME` means, which must be a `kind`.

    Args:
        origin: Where such a thing comes from, for whoever named another.

    Raises:
        ConfigurationError, OttlaError: As `locate`, or it is something else.
    """
    _module, found = locate(target, app_dir)
    if not isinstance(found, kind):
        raise ConfigurationError(f"{target} is a {type(found).__name__}, no {kind.__name__}{origin}")
    return found


def locate_events(target: str, app_dir: Path) -> list[Any]:
    """The event types that `MODULE`, `MODULE:APP` or `MODULE:CLASS` means, in the order of their declaration.

    A module's are those declared in it or imported into it; an App's are those it knows or listens to.

    Raises:
        ConfigurationError: There is no such module or object, or it has no events.
    """
    from ottla import App

    module_name, colon, _attribute = target.partition(":")
    if colon:
        _module, found = locate(target, app_dir)
        if isinstance(found, App):
            events = list(found.events)
        else:
            one = _declared(found)
            events = [] if one is None else [one]
    else:
        module = _import(module_name, app_dir.resolve())
        named = (_declared(value) for value in vars(module).values())
        events = [one for one in named if one is not None]
    if not events:
        raise ConfigurationError(f"{target} has no events: give a module with @event classes, an App, or such a class")
    return list(dict.fromkeys(events))


def _declared(found: object) -> Any:
    from ottla import event_type
    from ottla.errors import EventDefinitionError

    try:
        return event_type(found) if isinstance(found, type) else None
    except EventDefinitionError:
        return None


def _import(name: str, app_dir: Path) -> ModuleType:
    if str(app_dir) not in sys.path:
        sys.path.insert(0, str(app_dir))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"cannot import {name}: there is no module {error.name} in {app_dir} nor among the installed packages; "
                "name the folder that contains it with --app-dir"
            ) from None
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
        place = f" ({frames[-1].filename}, line {frames[-1].lineno})"
        raise ConfigurationError(
            f"cannot import {name}: it needs {error.name}, which is not installed{place}; "
            f"install that package into the environment of {sys.executable}"
        ) from error
    except OttlaError:
        raise
    except Exception as error:
        # Its author wants to see it, from the first line of their own code on.
        frames_of_import = len(traceback.extract_tb(error.__traceback__)) - _own_frames(error)
        shown = traceback.TracebackException.from_exception(error)
        shown.stack = traceback.StackSummary.from_list(list(shown.stack)[frames_of_import:])
        raise ConfigurationError(f"cannot import {name}:\n{''.join(shown.format()).rstrip()}") from error


def _own_frames(error: Exception) -> int:
    """How many of the last calls that led to `error` lie behind the import machinery."""
    frames = traceback.extract_tb(error.__traceback__)
    import_began = next(index for index, frame in enumerate(frames) if frame.filename == importlib.__file__)
    behind = import_began + 1
    while behind < len(frames) and frames[behind].filename.startswith("<frozen importlib"):
        behind += 1
    return len(frames) - behind


def _looks_like_an_app(value: object) -> bool:
    return not isinstance(value, type) and type(value).__name__ in {"App", "FastAPI", "Starlette", "Litestar"}
