"""The registry's state, built by applying the log from its beginning."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import Any

from . import names
from .identity import Identity, guid, identity_of_stored
from .records import (
    Change,
    ClearedSubject,
    Configured,
    ContextMade,
    DeletedSubject,
    ErasedVersion,
    Leader,
    ModeSet,
    Note,
    StoredSchema,
)


@dataclass
class Ids:
    """The ids of one context.

    Attributes:
        highest: The highest id ever given out, as far as the log tells.
        holders: Id to the versions that have it.
        of: Schema to its id.
        identities: Id to its schema; where two writers gave it to two schemas, the first one.
    """

    highest: int = 0
    holders: dict[int, dict[tuple[str, int], StoredSchema]] = field(default_factory=dict)
    of: dict[Identity, int] = field(default_factory=dict)
    identities: dict[int, Identity] = field(default_factory=dict)


@dataclass
class Store:
    """Subjects, ids, configs and modes. Not thread-safe: `State` holds a lock around every use.

    Attributes:
        subjects: Subject to version to schema; versions deleted softly included.
        configs, modes: By subject; None is for all subjects of the default context.
        contexts: Contexts besides the default one that had a schema.
        leader: Who writes to the log now; None if nobody has said so.
        former: Tokens of those who wrote before.
        values: Every record in force, by its key: what a record of a former leader is put right with.
        void: Keys of records by former leaders that are not put right yet.
    """

    subjects: dict[str, dict[int, StoredSchema]] = field(default_factory=dict)
    configs: dict[str | None, dict[str, Any]] = field(default_factory=dict)
    modes: dict[str | None, str] = field(default_factory=dict)
    contexts: set[str] = field(default_factory=set)
    leader: Leader | None = None
    former: set[str] = field(default_factory=set)
    values: dict[bytes, bytes] = field(default_factory=dict)
    void: dict[bytes, None] = field(default_factory=dict)
    _ids: dict[str, Ids] = field(default_factory=dict)
    _guids: dict[str, set[tuple[str, int]]] = field(default_factory=dict)

    def apply(self, change: Change) -> str | None:
        """Applies one change. Returns a complaint if it contradicts what was there: a stranger writes to the log."""
        match change:
            case StoredSchema():
                return self._store(change)
            case ErasedVersion():
                self._forget(change.subject, change.version)
            case DeletedSubject():
                for version, stored in list(self.subjects.get(change.subject, {}).items()):
                    if version <= change.version and not stored.deleted:
                        self._put(replace(stored, deleted=True))
            case ClearedSubject():
                self._clear(change.subject)
            case Configured():
                _set(self.configs, change.subject, change.config)
            case ModeSet():
                _set(self.modes, change.subject, change.mode)
            case ContextMade():
                (self.contexts.discard if change.gone else self.contexts.add)(change.context)
            case Note():
                for context, highest in change.highest.items():
                    ids = self.ids(context)
                    ids.highest = max(ids.highest, highest)
                if change.leader is not None and change.leader != self.leader:
                    self.former |= {self.leader.token} if self.leader is not None else set()
                    self.leader = change.leader
        return None

    def ids(self, context: str) -> Ids:
        """The ids of a context."""
        return self._ids.setdefault(context, Ids())

    def highest_ids(self) -> dict[str, int]:
        return {context: ids.highest for context, ids in sorted(self._ids.items()) if ids.highest}

    def every_context(self) -> list[str]:
        """The contexts there are, the default one first."""
        found = {names.context_of(subject) for subject in self.subjects} | self.contexts
        return [names.DEFAULT, *sorted(found - {names.DEFAULT})]

    def holders(self, context: str, schema_id: int) -> list[StoredSchema]:
        """Every version in a context with this id, by subject and version."""
        return [stored for _, stored in sorted(self.ids(context).holders.get(schema_id, {}).items())]

    def with_guid(self, wanted: str) -> list[StoredSchema]:
        """Every version, in whatever context, whose schema has this globally unique id."""
        places = sorted(self._guids.get(wanted, ()))
        return [self.subjects[subject][version] for subject, version in places]

    def identity_of(self, stored: StoredSchema) -> Identity:
        return self.ids(names.context_of(stored.subject)).identities[stored.id]

    def find(
        self, subject: str, wanted: Identity, *, deleted: bool = False, exactly: bool = True
    ) -> StoredSchema | None:
        """The subject's newest version that is this schema; `exactly` False: whatever metadata and rules it has."""
        parts = len(wanted) if exactly else len(wanted) - 1
        for stored in reversed(self.versions(subject, deleted=deleted)):
            if self.identity_of(stored)[:parts] == wanted[:parts]:
                return stored
        return None

    def versions(self, subject: str, *, deleted: bool = False) -> list[StoredSchema]:
        """The subject's versions, ascending; with `deleted` also those deleted softly."""
        found = self.subjects.get(subject, {})
        return [found[version] for version in sorted(found) if deleted or not found[version].deleted]

    def referrers(self, subject: str, version: int, *, deleted: bool = False) -> list[StoredSchema]:
        """The versions that refer to this one; with `deleted` also those deleted softly."""
        return [
            stored
            for versions in self.subjects.values()
            for stored in versions.values()
            if (deleted or not stored.deleted)
            and any(
                names.beside(stored.subject, str(one.get("subject"))) == subject and one.get("version") == version
                for one in stored.references
            )
        ]

    def _store(self, stored: StoredSchema) -> str | None:
        complaint = None
        same = identity_of_stored(
            stored.schema_type, stored.schema, stored.references, stored.metadata, stored.rule_set
        )
        ids = self.ids(names.context_of(stored.subject))
        before = self.subjects.get(stored.subject, {}).get(stored.version)
        if before is not None and before.id != stored.id:
            complaint = f"subject {stored.subject} version {stored.version} was id {before.id} and is now {stored.id}"
            self._forget(stored.subject, stored.version)
        elif ids.identities.get(stored.id, same) != same:
            holders = ids.holders.get(stored.id, {})
            subjects = ", ".join(sorted({stored.subject, *(subject for subject, _version in holders)}))
            complaint = f"id {stored.id} stands for two different schemas (subjects {subjects})"
        self._put(stored)
        ids.of.setdefault(same, stored.id)
        ids.identities.setdefault(stored.id, same)
        ids.highest = max(ids.highest, stored.id)
        return complaint

    def _put(self, stored: StoredSchema) -> None:
        place = (stored.subject, stored.version)
        self.subjects.setdefault(stored.subject, {})[stored.version] = stored
        self.ids(names.context_of(stored.subject)).holders.setdefault(stored.id, {})[place] = stored
        self._guids.setdefault(guid_of(stored), set()).add(place)

    def _forget(self, subject: str, version: int) -> None:
        versions = self.subjects.get(subject, {})
        stored = versions.pop(version, None)
        if stored is None:
            return
        if not versions:
            del self.subjects[subject]
        self._guids[guid_of(stored)].discard((subject, version))
        ids = self.ids(names.context_of(subject))
        holders = ids.holders[stored.id]
        del holders[subject, version]
        if not holders:
            del ids.holders[stored.id], ids.identities[stored.id]
            ids.of = {same: found for same, found in ids.of.items() if found != stored.id}

    def _clear(self, subject: str | None) -> None:
        for name in list(self.subjects):
            if within(name, subject):
                for stored in self.versions(name, deleted=True):
                    if stored.deleted:
                        self._forget(name, stored.version)


def within(subject: str, scope: str | None) -> bool:
    """Whether a subject is what a setting for `scope` is about: None is the default context, `:.c:` the context c."""
    if scope is None:
        return names.context_of(subject) == names.DEFAULT
    context, plain = names.split(scope)
    return subject == scope if plain else scope == names.GLOBAL or names.context_of(subject) == context


def guid_of(stored: StoredSchema) -> str:
    return guid(stored.schema, stored.references, stored.metadata, stored.rule_set)


def _set(settings: dict[str | None, Any], subject: str | None, value: Any) -> None:
    if value is None:
        settings.pop(subject, None)
    else:
        settings[subject] = value


def complain(message: str) -> None:
    """Writes to stderr what the person who runs the registry must see."""
    print(f"registry: {message}", file=sys.stderr, flush=True)
