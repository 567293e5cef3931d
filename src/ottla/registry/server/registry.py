"""What may be done with subjects and schemas: register, look up, read, delete, compare."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from ..avro_canonical import canonical
from ..avro_parser import parse
from ..avro_schema import AvroSchema, InvalidSchema
from ..compatibility import Compatibility, Violation, check
from . import faults
from .log import SchemaLog
from .records import (
    Entry,
    StoredSchema,
    config_entry,
    delete_subject_entry,
    erase_entry,
    mode_entry,
    schema_entry,
    used_ids_entry,
)
from .settings import Settings, level_of, require_writable
from .state import State
from .store import Identity, Store, guid

VERSION_MAX = 2**31 - 1


class SchemaRequest(msgspec.Struct, rename="camel"):
    """The body with which clients register, look up and compare. `schema` is the schema's text."""

    schema: str = ""
    schema_type: str | None = None
    references: list[Any] | None = None
    metadata: dict[str, Any] | None = None
    rule_set: dict[str, Any] | None = None
    id: int | None = None
    version: int | None = None


class Registry:
    """The registry without HTTP. Thread-safe. Every method raises RegistryRejected with Confluent's error codes."""

    def __init__(self, log: SchemaLog) -> None:
        self.state = State(log)
        self.settings = Settings(self.state)

    def register(self, subject: str, request: SchemaRequest) -> StoredSchema:
        """Registers a schema unless the subject has it already; returns its version either way.

        The same schema under another subject keeps its id. A subject's earlier version that was deleted softly and is
        the same schema is replaced by the new version.
        """
        schema = parsed(request)
        text = canonical(schema)
        same = ("AVRO", text, repr([]))
        with self.state.reading() as store:
            known = store.find(subject, same)
        if known is not None:  # not a write: it works in read-only mode and with the brokers away, too
            return known
        result: StoredSchema | None = None

        def decide(store: Store) -> list[Entry]:
            nonlocal result
            result = store.find(subject, same)
            if result is not None:
                return []
            self._require_registrable(store, subject, request, schema)
            schema_id = store.id_of(same) or self.state.next_id(store)
            result = StoredSchema(subject, _next_version(store, subject), schema_id, text)
            replaced = [
                erase_entry(subject, old.version)
                for old in store.versions(subject, deleted=True)
                if old.deleted and old.id == schema_id
            ]
            return [schema_entry(result), *replaced]  # in this order: a crash between must not lose the id

        def confirm(store: Store) -> None:
            if result is not None:
                _require_won(store, result, same)

        self.state.write(decide, confirm)
        assert result is not None  # decide has run
        return result

    def lookup(self, subject: str, request: SchemaRequest, *, deleted: bool = False) -> StoredSchema:
        """The subject's version that is this schema."""
        same = ("AVRO", canonical(parsed(request, validate_defaults=False)), repr([]))
        with self.state.reading() as store:
            if not store.versions(subject, deleted=deleted):
                raise faults.subject_not_found(subject)
            found = store.find(subject, same, deleted=deleted)
        if found is None:
            raise faults.schema_not_found()
        return found

    def subjects(self, *, prefix: str = "", deleted: bool = False, deleted_only: bool = False) -> list[str]:
        """Subjects with a version, in order; with `deleted` also those whose versions are all deleted softly."""
        with self.state.reading() as store:
            live = {name for name in store.subjects if store.versions(name)}
            found = set(store.subjects) - live if deleted_only else set(store.subjects) if deleted else live
            return sorted(name for name in found if name.startswith(prefix))

    def versions(self, subject: str, *, deleted: bool = False, deleted_only: bool = False) -> list[StoredSchema]:
        with self.state.reading() as store:
            found = store.versions(subject, deleted=deleted or deleted_only)
            found = [stored for stored in found if stored.deleted or not deleted_only]
        if not found:
            raise faults.subject_not_found(subject)
        return found

    def version(self, subject: str, version: str, *, deleted: bool = False) -> StoredSchema:
        """One version; `version` is a number or `latest`."""
        wanted = version_number(version)
        with self.state.reading() as store:
            found = store.versions(subject, deleted=deleted)
        if not found:
            raise faults.subject_not_found(subject)
        if wanted is None:
            return found[-1]
        for stored in found:
            if stored.version == wanted:
                return stored
        raise faults.version_not_found(wanted)

    def latest_with(self, subject: str, metadata: dict[str, str], *, deleted: bool = False) -> StoredSchema:
        """The newest version whose metadata has these properties."""
        for stored in reversed(self.versions(subject, deleted=deleted)):
            properties = (stored.raw.get("metadata") or {}).get("properties") or {}
            if metadata.items() <= properties.items():
                return stored
        raise faults.schema_not_found()

    def by_id(self, schema_id: int) -> StoredSchema:
        """A version with this id. Versions deleted softly count: what was written with them must stay readable."""
        with self.state.reading() as store:
            found = store.by_id(schema_id)
        if found is None:
            raise faults.schema_not_found(schema_id)
        return found

    def by_guid(self, wanted: str) -> StoredSchema:
        """A version whose schema has this globally unique id."""
        with self.state.reading() as store:
            every = [stored for versions in store.subjects.values() for stored in versions.values()]
        for stored in every:
            if guid(stored.schema) == wanted.lower():
                return stored
        raise faults.schema_not_found(wanted)

    def every(self, *, prefix: str = "", deleted: bool = False, latest: bool = False) -> list[StoredSchema]:
        """All versions of all subjects that begin with `prefix`, or only the latest of each."""
        with self.state.reading() as store:
            found = [
                store.versions(name, deleted=deleted) for name in sorted(store.subjects) if name.startswith(prefix)
            ]
        return [stored for versions in found for stored in (versions[-1:] if latest else versions)]

    def holders(self, schema_id: int, *, deleted: bool = False) -> list[StoredSchema]:
        """The versions that have this id."""
        with self.state.reading() as store:
            found = store.holders(schema_id)
        if not found:
            raise faults.schema_not_found(schema_id)
        return [stored for stored in found if deleted or not stored.deleted]

    def highest_id(self) -> int:
        with self.state.reading() as store:
            return store.highest_id

    def referenced_by(self, subject: str, version: str) -> list[int]:
        """Ids of the schemas that refer to this version."""
        target = self.version(subject, version, deleted=True)
        with self.state.reading() as store:
            return sorted(
                {
                    stored.id
                    for versions in store.subjects.values()
                    for stored in versions.values()
                    for reference in stored.references
                    if (reference.get("subject"), reference.get("version")) == (subject, target.version)
                }
            )

    def delete_subject(self, subject: str, *, permanent: bool = False) -> list[int]:
        """Deletes every version, softly, or for good what was deleted softly before; returns their numbers."""
        numbers: list[int] = []

        def decide(store: Store) -> list[Entry]:
            nonlocal numbers
            require_writable(store, subject)
            every = store.versions(subject, deleted=True)
            live = store.versions(subject)
            if not every:
                raise faults.subject_not_found(subject)
            numbers = [stored.version for stored in (every if permanent else live)]
            if permanent:
                if live:
                    raise faults.subject_not_soft_deleted(subject)
                return _erase(store, subject, every)
            if not live:
                raise faults.subject_soft_deleted(subject)
            return [delete_subject_entry(subject, live[-1].version)]

        self.state.write(decide)
        return numbers

    def delete_version(self, subject: str, version: str, *, permanent: bool = False) -> int:
        """Deletes one version, softly, or for good if it was deleted softly before; returns its number."""
        number = 0

        def decide(store: Store) -> list[Entry]:
            nonlocal number
            require_writable(store, subject)
            stored = _existing(store, subject, version_number(version))
            number = stored.version
            if permanent:
                if not stored.deleted:
                    raise faults.version_not_soft_deleted(subject, number)
                return _erase(store, subject, [stored])
            if stored.deleted:
                raise faults.version_soft_deleted(subject, number)
            return [schema_entry(replace(stored, deleted=True))]

        self.state.write(decide)
        return number

    def violations(
        self, subject: str, request: SchemaRequest, version: str | None
    ) -> tuple[Compatibility, list[Violation]]:
        """Holds a schema against one version, or, with None, against those that a registration would be held against.

        Returns:
            The level in force and what violates it.
        """
        schema = parsed(request)
        with self.state.reading() as store:
            level = level_of(store, subject)
            earlier = store.versions(subject)
        if version is not None:
            wanted = version_number(version)
            if wanted is None:
                earlier = earlier[-1:]
            else:
                earlier = [stored for stored in earlier if stored.version == wanted]
                if not earlier:
                    raise faults.version_not_found(wanted)
        return level, _check(level, schema, earlier)

    def _require_registrable(self, store: Store, subject: str, request: SchemaRequest, schema: AvroSchema) -> None:
        require_writable(store, subject)
        if request.id is not None and request.id > 0:
            raise faults.not_permitted(
                f"Subject {subject} is not in import mode: the registry chooses the id, leave it out"
            )
        following = _next_version(store, subject)
        if request.version is not None and request.version not in (-1, 0, following):
            raise faults.invalid_schema(f"version {request.version} is not the next one, which is {following}")
        earlier = store.versions(subject)
        level = level_of(store, subject)
        violations = _check(level, schema, earlier)
        if violations:
            raise faults.incompatible(subject, explain(level, violations, earlier))


def parsed(request: SchemaRequest, *, validate_defaults: bool = True) -> AvroSchema:
    """The schema of a request.

    Raises:
        RegistryRejected: 42201: not a schema, or of a kind this registry does not serve.
    """
    if (request.schema_type or "AVRO").upper() != "AVRO":
        raise faults.invalid_schema(f"this registry does not serve schema type {request.schema_type} yet, only AVRO")
    for name, given in (
        ("references", request.references),
        ("metadata", request.metadata),
        ("ruleSet", request.rule_set),
    ):
        if given:
            raise faults.invalid_schema(f"this registry does not serve {name} yet")
    if not request.schema.strip():
        raise faults.invalid_schema("the schema is empty")
    try:
        return parse(request.schema, validate_defaults=validate_defaults)
    except InvalidSchema as error:
        raise faults.invalid_schema(str(error)) from error


def version_number(version: str) -> int | None:
    """A version from a path; None for the latest.

    Raises:
        RegistryRejected: 42202: neither a number in range nor `latest`.
    """
    if version in ("latest", "-1"):
        return None
    try:
        number = int(version)
    except ValueError:
        raise faults.invalid_version(version) from None
    if not 1 <= number <= VERSION_MAX:
        raise faults.invalid_version(version)
    return number


def explain(level: Compatibility, violations: list[Violation], earlier: list[StoredSchema]) -> list[str]:
    """Violations in the shape in which Confluent's registry reports them."""
    reasons = [
        f"{{errorType:'{found.reason.kind}', description:\"{found}\", additionalInfo:'{found.reason.detail}'}}"
        for found in violations
    ]
    version = violations[0].version
    old = next((stored.schema for stored in earlier if stored.version == version), None)
    context = [f"{{oldSchemaVersion: {version}}}", f"{{compatibility: '{level}'}}"]
    if old is not None:
        context.insert(1, f"{{oldSchema: '{old}'}}")
    return reasons + context


def _check(level: Compatibility, schema: AvroSchema, earlier: list[StoredSchema]) -> list[Violation]:
    if level is Compatibility.NONE:
        return []
    versions = []
    for stored in earlier if level.transitive else earlier[-1:]:
        if stored.schema_type != "AVRO" or stored.references:
            raise faults.invalid_schema(
                f"version {stored.version} is a schema this registry cannot compare with yet (type "
                f"{stored.schema_type}, {len(stored.references)} references)"
            )
        try:
            versions.append((stored.version, parse(stored.schema, validate_defaults=False)))
        except InvalidSchema as error:
            raise faults.store_failed(f"version {stored.version} is stored but not a schema: {error}") from error
    try:
        return check(level, schema, versions)
    except InvalidSchema as error:
        raise faults.invalid_schema(str(error)) from error


def _require_won(store: Store, result: StoredSchema, same: Identity) -> None:
    """Sees that what the log made of a registration is what was decided: another writer may have come between."""
    stored = store.subjects.get(result.subject, {}).get(result.version)
    if stored is None or stored.id != result.id or store.identity_of(result.id) != same:
        raise faults.store_failed(
            f"another registry wrote to the same topic at the same moment, so that version {result.version} of "
            f"{result.subject} is not certain. Run only one registry on a topic, and register again"
        )


def _next_version(store: Store, subject: str) -> int:
    # Versions deleted softly count, too: their numbers are still in people's notes and in the log.
    return max((stored.version for stored in store.versions(subject, deleted=True)), default=0) + 1


def _existing(store: Store, subject: str, wanted: int | None) -> StoredSchema:
    versions = store.versions(subject, deleted=True)
    if not versions:
        raise faults.subject_not_found(subject)
    if wanted is None:
        live = store.versions(subject)
        if not live:
            raise faults.version_not_found("latest")
        return live[-1]
    for stored in versions:
        if stored.version == wanted:
            return stored
    raise faults.version_not_found(wanted)


def _erase(store: Store, subject: str, versions: list[StoredSchema]) -> list[Entry]:
    """Tombstones, newest first; and, before them, a note of the highest id, which compaction might else forget."""
    entries = [used_ids_entry(store.highest_id)]
    entries += [erase_entry(subject, stored.version) for stored in reversed(versions)]
    if len(versions) == len(store.versions(subject, deleted=True)):
        if subject in store.levels:
            entries.append(config_entry(subject, None))
        if subject in store.modes:
            entries.append(mode_entry(subject, None))
    return entries
