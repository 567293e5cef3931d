"""Levels and modes: what is configured for a subject, for all, and what holds for a subject in the end."""

from __future__ import annotations

from ..compatibility import Compatibility
from . import faults
from .records import Entry, config_entry, mode_entry
from .state import State
from .store import Store

LEVELS = [level.value for level in Compatibility]
LEVEL_DEFAULT = Compatibility.BACKWARD
MODES = ["READWRITE", "READONLY", "READONLY_OVERRIDE"]
MODE_DEFAULT = "READWRITE"


def level_of(store: Store, subject: str) -> Compatibility:
    """The compatibility level in force for a subject."""
    return Compatibility(store.levels.get(subject) or store.levels.get(None) or LEVEL_DEFAULT)


def mode_of(store: Store, subject: str) -> str:
    """The mode in force for a subject."""
    for_all = store.modes.get(None, MODE_DEFAULT)
    return for_all if for_all == "READONLY_OVERRIDE" else store.modes.get(subject, for_all)


def require_writable(store: Store, subject: str) -> None:
    """Raises 42205 if the subject's mode forbids a change."""
    mode = mode_of(store, subject)
    if mode != MODE_DEFAULT:
        raise faults.not_permitted(f"Subject {subject} is in mode {mode}, which does not allow this change")


class Settings:
    """Reads and changes levels and modes. `subject` None is the setting for all subjects."""

    def __init__(self, state: State) -> None:
        self._state = state

    def level(self, subject: str | None, *, default_to_global: bool = False) -> str:
        with self._state.reading() as store:
            own = store.levels.get(subject)
            if own is None and subject is not None and not default_to_global:
                raise faults.no_subject_config(subject)
            return own or store.levels.get(None) or LEVEL_DEFAULT.value

    def set_level(self, subject: str | None, level: object) -> str:
        known = level.upper() if isinstance(level, str) else ""
        if known not in LEVELS:
            raise faults.invalid_level(level, LEVELS)

        def decide(store: Store) -> list[Entry]:
            if subject is not None:
                require_writable(store, subject)
            return [config_entry(subject, known)]

        self._state.write(decide)
        return known

    def delete_level(self, subject: str | None) -> str:
        """Removes the setting; returns the level it had."""
        before = ""

        def decide(store: Store) -> list[Entry]:
            nonlocal before
            if subject is not None and subject not in store.levels:
                raise faults.no_subject_config(subject)
            before = store.levels.get(subject, LEVEL_DEFAULT.value)
            return [config_entry(subject, None)] if subject in store.levels else []

        self._state.write(decide)
        return before

    def mode(self, subject: str | None, *, default_to_global: bool = False) -> str:
        with self._state.reading() as store:
            own = store.modes.get(subject)
            if own is None and subject is not None and not default_to_global:
                raise faults.no_subject_mode(subject)
            return own or store.modes.get(None, MODE_DEFAULT)

    def set_mode(self, subject: str | None, mode: object) -> str:
        known = mode.upper() if isinstance(mode, str) else ""
        if known not in MODES:
            raise faults.invalid_mode(mode, MODES)
        self._state.write(lambda _store: [mode_entry(subject, known)])
        return known

    def delete_mode(self, subject: str | None) -> str:
        """Removes the setting; returns the mode it had."""
        before = ""

        def decide(store: Store) -> list[Entry]:
            nonlocal before
            if subject is not None and subject not in store.modes:
                raise faults.no_subject_mode(subject)
            before = store.modes.get(subject, MODE_DEFAULT)
            return [mode_entry(subject, None)] if subject in store.modes else []

        self._state.write(decide)
        return before
