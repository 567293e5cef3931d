"""Configs and modes: what is set for a subject, a context, for all, and what holds for a subject in the end."""

from __future__ import annotations

from typing import Any

from ..compatibility import Compatibility
from . import faults, names
from .records import Entry, clear_subject_entry, config_entry, erase_entry, mode_entry, note_entry
from .requests import check_rules
from .state import State
from .store import Store, within

LEVELS = [level.value for level in Compatibility]
LEVEL_DEFAULT = Compatibility.BACKWARD
MODES = ["READWRITE", "READONLY", "READONLY_OVERRIDE", "IMPORT", "FORWARD"]
MODE_DEFAULT = "READWRITE"
IMPORTING = frozenset({"IMPORT", "FORWARD"})
"""Modes in which the client says id and version."""

_KINDS: dict[str, type] = {
    "alias": str,
    "aliasForDeks": str,
    "normalize": bool,
    "validateFields": bool,
    "validateNewSchemas": bool,
    "validateRules": bool,
    "compatibilityLevel": str,
    "compatibilityPolicy": str,
    "compatibilityGroup": str,
    "defaultMetadata": dict,
    "overrideMetadata": dict,
    "defaultRuleSet": dict,
    "overrideRuleSet": dict,
}
"""Everything a config may say. What begins with validate, and aliasForDeks, is kept and has no effect here."""


def config_of(store: Store, subject: str) -> dict[str, Any]:
    """The config in force for a subject: its own, over the one for all."""
    own = store.configs.get(subject)
    for scope in names.scopes(subject)[1:]:
        if scope in store.configs:
            return store.configs[scope] | (own or {})
    return own or {}


def level_of(store: Store, subject: str) -> Compatibility:
    """The compatibility level in force for a subject."""
    return Compatibility(config_of(store, subject).get("compatibilityLevel") or LEVEL_DEFAULT)


def mode_of(store: Store, subject: str | None) -> str:
    """The mode in force for a subject."""
    if "READONLY_OVERRIDE" in (store.modes.get(None), store.modes.get(names.GLOBAL)):
        return "READONLY_OVERRIDE"
    return next((store.modes[scope] for scope in names.scopes(subject) if scope in store.modes), MODE_DEFAULT)


def require_writable(store: Store, subject: str) -> None:
    """Raises 42205 if the subject's mode forbids a change."""
    mode = mode_of(store, subject)
    if mode.startswith("READONLY"):
        raise faults.not_permitted(
            f"Subject {subject} in context {names.context_of(subject)} is in read-only mode ({mode})"
        )


class Settings:
    """Reads and changes configs and modes. `subject` None is the setting for all subjects of the default context."""

    def __init__(self, state: State) -> None:
        self._state = state

    def config(self, subject: str | None, *, default_to_global: bool = False) -> dict[str, Any]:
        with self._state.reading() as store:
            own = store.configs.get(subject)
            if own is None and subject not in (None, names.GLOBAL) and not default_to_global:
                raise faults.no_subject_config(subject)
            found = config_of(store, subject) if subject is not None and default_to_global else own or {}
            if subject is None and default_to_global and own is None:
                found = store.configs.get(names.GLOBAL, {})
            return {"compatibilityLevel": LEVEL_DEFAULT.value} | found

    def set_config(self, subject: str | None, asked: dict[str, Any]) -> dict[str, Any]:
        """Changes what is said and leaves the rest; null takes away. Returns the config in the requests' form."""
        given = _checked(asked)
        result: dict[str, Any] = {}

        def decide(store: Store) -> list[Entry]:
            nonlocal result
            if subject is not None:
                require_writable(store, subject)
            merged = store.configs.get(subject, {}) | given
            result = {name: value for name, value in merged.items() if value is not None}
            return [config_entry(subject, result)]

        self._state.write(decide)
        answer = dict(result)
        level = answer.pop("compatibilityLevel", None)
        return ({} if level is None else {"compatibility": level}) | answer

    def delete_config(self, subject: str | None) -> dict[str, Any]:
        """Removes the config; returns what it was."""
        before: dict[str, Any] = {}

        def decide(store: Store) -> list[Entry]:
            nonlocal before
            if subject is not None:
                if subject not in store.configs:
                    raise faults.subject_not_found(subject)
                require_writable(store, subject)
            before = store.configs.get(subject, {})
            return [config_entry(subject, None)] if subject in store.configs else []

        self._state.write(decide)
        return {"compatibilityLevel": LEVEL_DEFAULT.value} | before

    def mode(self, subject: str | None, *, default_to_global: bool = False) -> str:
        with self._state.reading() as store:
            own = store.modes.get(subject)
            if own is None and subject not in (None, names.GLOBAL) and not default_to_global:
                raise faults.no_subject_mode(subject)
            return mode_of(store, subject) if default_to_global else own or MODE_DEFAULT

    def set_mode(self, subject: str | None, mode: object, *, force: bool = False) -> str:
        known = mode.upper() if isinstance(mode, str) else ""
        if known not in MODES:
            raise faults.invalid_mode(mode, MODES)
        if known == "FORWARD" and subject != names.GLOBAL:
            raise faults.fault(42204, f"Forward mode only supported on global level (the context {names.GLOBAL})")

        def decide(store: Store) -> list[Entry]:
            entry = mode_entry(subject, known)
            if known != "IMPORT" or force or mode_of(store, subject) == "IMPORT":
                return [entry]
            return [*_cleared(store, subject), entry]

        self._state.write(decide)
        return known

    def delete_mode(self, subject: str | None, *, recursive: bool = False) -> str | None:
        """Removes the setting, with `recursive` those of all subjects below too; returns the mode it had."""
        before: str | None = None

        def decide(store: Store) -> list[Entry]:
            nonlocal before
            if subject is not None and subject not in store.modes and not recursive:
                raise faults.subject_not_found(subject)
            before = store.modes.get(subject, MODE_DEFAULT if subject is None else None)
            found = [name for name in store.modes if name == subject or (recursive and name and within(name, subject))]
            return [mode_entry(name, None) for name in found]

        self._state.write(decide)
        return before


def _checked(asked: dict[str, Any]) -> dict[str, Any]:
    """A change of a config, its level under the name it is stored by.

    Raises:
        RegistryRejected: 42203: unknown attributes or values.
    """
    given = dict(asked)
    if "compatibility" in given:
        given["compatibilityLevel"] = given.pop("compatibility")
    unknown = sorted(given.keys() - _KINDS.keys())
    if unknown or not given:
        told = f"a config has no {', '.join(unknown)}" if unknown else "the config says nothing"
        raise faults.fault(42203, f"Invalid config: {told}. It may have {', '.join(_KINDS)}")
    for name, value in given.items():
        if name == "compatibilityLevel" and value is not None:
            level = value.upper() if isinstance(value, str) else ""
            if level not in LEVELS:
                raise faults.invalid_level(value, LEVELS)
            given[name] = level
        elif value is not None and not isinstance(value, _KINDS[name]):
            raise faults.fault(42203, f"Invalid config: {name} must be of type {_KINDS[name].__name__}")
        elif name.endswith("RuleSet") and isinstance(value, dict):
            check_rules(value)
    policy = given.get("compatibilityPolicy")
    if policy is not None and policy not in ("STRICT", "LENIENT"):
        raise faults.fault(42203, f"Invalid compatibility policy {policy!r}. Valid values are STRICT, LENIENT")
    return given


def _cleared(store: Store, scope: str | None) -> list[Entry]:
    """Makes room for an import: what is deleted softly goes for good; what is not must not be there."""
    found = [subject for subject in store.subjects if within(subject, scope)]
    if any(store.versions(subject) for subject in found):
        raise faults.not_permitted("Cannot import since found existing subjects")
    erased = []
    for subject in found:
        for stored in store.versions(subject, deleted=True):
            if store.referrers(subject, stored.version, deleted=True):
                raise faults.reference_exists(subject, stored.version)
            erased.append(erase_entry(subject, stored.version))
    return [note_entry(store.highest_ids(), store.leader), *erased, clear_subject_entry(scope)] if erased else []
