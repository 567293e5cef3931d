"""The registry's state, built by applying the log from its beginning."""

from __future__ import annotations

import hashlib
import sys
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace

from ..avro_canonical import canonical
from ..avro_parser import parse
from ..avro_schema import InvalidSchema
from .records import Change, Configured, DeletedSubject, ErasedVersion, ModeSet, StoredSchema, UsedIds

Identity = tuple[str, str, str]
"""What makes two schemas the same one: type, canonical text, references."""


def identity(schema_type: str, schema: str, references: object = None) -> Identity:
    """The identity of a schema that some registry accepted; text that cannot be parsed here stands for itself."""
    if schema_type == "AVRO" and not references:
        # A topic taken over from another registry may hold what that one accepted and this one does not.
        with suppress(InvalidSchema):
            schema = canonical(parse(schema, validate_defaults=False))
    return schema_type, schema, repr(references or [])


def guid(schema: str) -> str:
    """Confluent's globally unique id of a schema without references and metadata: the MD5 of its text as a UUID."""
    return str(uuid.UUID(bytes=hashlib.md5(schema.encode(), usedforsecurity=False).digest()))


@dataclass
class Store:
    """Subjects, ids, levels and modes. Not thread-safe: `Registry` holds a lock around every use.

    Attributes:
        subjects: Subject to version to schema; versions deleted softly included.
        levels, modes: By subject; None is for all subjects.
        highest_id: The highest id ever given out, as far as the log tells.
    """

    subjects: dict[str, dict[int, StoredSchema]] = field(default_factory=dict)
    levels: dict[str | None, str] = field(default_factory=dict)
    modes: dict[str | None, str] = field(default_factory=dict)
    highest_id: int = 0
    _holders: dict[int, dict[tuple[str, int], StoredSchema]] = field(default_factory=dict)
    _ids: dict[Identity, int] = field(default_factory=dict)
    _identities: dict[int, Identity] = field(default_factory=dict)

    def apply(self, change: Change) -> str | None:
        """Applies one change. Returns a complaint if it contradicts what was there: a second writer on the log."""
        match change:
            case StoredSchema():
                return self._store(change)
            case ErasedVersion():
                self._forget(change.subject, change.version)
            case DeletedSubject():
                for version, stored in list(self.subjects.get(change.subject, {}).items()):
                    if version <= change.version and not stored.deleted:
                        self._put(replace(stored, deleted=True))
            case Configured():
                _set(self.levels, change.subject, change.level)
            case ModeSet():
                _set(self.modes, change.subject, change.mode)
            case UsedIds():
                self.highest_id = max(self.highest_id, change.highest)
        return None

    def by_id(self, schema_id: int) -> StoredSchema | None:
        """Some version that has this id, one that is not deleted if there is any."""
        holders = self._holders.get(schema_id)
        if not holders:
            return None
        return min(holders.values(), key=lambda stored: stored.deleted)

    def holders(self, schema_id: int) -> list[StoredSchema]:
        """Every version of every subject with this id, by subject and version."""
        return [stored for _, stored in sorted(self._holders.get(schema_id, {}).items())]

    def id_of(self, wanted: Identity) -> int | None:
        """The id this schema has under any subject."""
        return self._ids.get(wanted)

    def identity_of(self, schema_id: int) -> Identity | None:
        """What the schema with this id is; where two writers gave it to two schemas, the first one."""
        return self._identities.get(schema_id)

    def find(self, subject: str, wanted: Identity, *, deleted: bool = False) -> StoredSchema | None:
        """The subject's newest version that is this schema."""
        for stored in reversed(self.versions(subject, deleted=deleted)):
            if self._identities[stored.id] == wanted:
                return stored
        return None

    def versions(self, subject: str, *, deleted: bool = False) -> list[StoredSchema]:
        """The subject's versions, ascending; with `deleted` also those deleted softly."""
        found = self.subjects.get(subject, {})
        return [found[version] for version in sorted(found) if deleted or not found[version].deleted]

    def _store(self, stored: StoredSchema) -> str | None:
        complaint = None
        same = identity(stored.schema_type, stored.schema, stored.references)
        before = self.subjects.get(stored.subject, {}).get(stored.version)
        if before is not None and before.id != stored.id:
            complaint = f"subject {stored.subject} version {stored.version} was id {before.id} and is now {stored.id}"
            self._forget(stored.subject, stored.version)
        elif self._identities.get(stored.id, same) != same:
            subjects = ", ".join(sorted({stored.subject, *(other.subject for other in self.holders(stored.id))}))
            complaint = f"id {stored.id} stands for two different schemas (subjects {subjects})"
        self._put(stored)
        self._ids.setdefault(same, stored.id)
        self._identities.setdefault(stored.id, same)
        self.highest_id = max(self.highest_id, stored.id)
        return complaint

    def _put(self, stored: StoredSchema) -> None:
        self.subjects.setdefault(stored.subject, {})[stored.version] = stored
        self._holders.setdefault(stored.id, {})[stored.subject, stored.version] = stored

    def _forget(self, subject: str, version: int) -> None:
        versions = self.subjects.get(subject, {})
        stored = versions.pop(version, None)
        if stored is None:
            return
        if not versions:
            del self.subjects[subject]
        holders = self._holders[stored.id]
        del holders[subject, version]
        if not holders:
            del self._holders[stored.id], self._identities[stored.id]
            self._ids = {same: found for same, found in self._ids.items() if found != stored.id}


def _set(settings: dict[str | None, str], subject: str | None, value: str | None) -> None:
    if value is None:
        settings.pop(subject, None)
    else:
        settings[subject] = value


def complain(message: str) -> None:
    """Writes to stderr what the person who runs the registry must see."""
    print(f"registry: {message}", file=sys.stderr, flush=True)
