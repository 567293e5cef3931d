"""What may be done with subjects and schemas: register, look up, read, delete, compare."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..compatibility import Compatibility, Violation, check
from ..schema_error import InvalidSchema
from . import faults, names
from .identity import Identity
from .log import SchemaLog
from .reading import Reading
from .records import (
    Entry,
    StoredSchema,
    config_entry,
    context_entry,
    delete_subject_entry,
    erase_entry,
    mode_entry,
    note_entry,
    schema_entry,
)
from .requests import Candidate, SchemaRequest, candidate, stored_schema, version_number
from .settings import IMPORTING, Settings, config_of, level_of, mode_of, require_writable
from .state import State
from .store import Store, complain


class Registry(Reading):
    """The registry without HTTP. Thread-safe. Every method raises RegistryRejected with Confluent's error codes.

    Args:
        log: Where everything is kept.
        url: Where other instances on the same log reach this one; None if there are none.
        read_only: Refuse every change, whatever the modes say.
    """

    def __init__(self, log: SchemaLog, url: str | None = None, *, read_only: bool = False) -> None:
        super().__init__(State(log, url, read_only=read_only))
        self.settings = Settings(self.state)

    def register(self, subject: str, request: SchemaRequest, *, normalize: bool = False) -> StoredSchema:
        """Registers a schema unless the subject has it already; returns its version either way.

        The same schema under another subject of the context keeps its id. A subject's earlier version that was deleted
        softly and is the same schema is replaced by the new version.
        """
        with self.state.reading() as store:
            wanted = self._completed(store, subject, request, normalize)
            known = self._known(store, subject, request, wanted)
        if known is not None:  # not a write: it works in read-only mode and with the brokers away, too
            return known
        result: StoredSchema | None = None

        def decide(store: Store) -> list[Entry]:
            nonlocal result, wanted
            wanted = self._completed(store, subject, request, normalize)
            result = self._known(store, subject, request, wanted)
            if result is not None:
                return []
            _require_registrable(store, subject, request, wanted)
            context = names.context_of(subject)
            schema_id = _given_id(store, subject, request, wanted) or (
                store.ids(context).of.get(wanted.same) or self.state.next_id(store, context)
            )
            version = request.version if request.version and request.version > 0 else _next_version(store, subject)
            result = StoredSchema(subject, version, schema_id, wanted.text, wanted.schema.kind, raw=wanted.raw())
            replaced = [
                erase_entry(subject, old.version)
                for old in store.versions(subject, deleted=True)
                if old.deleted and old.id == schema_id and old.version < version
                if not store.referrers(subject, old.version, deleted=True)
            ]
            made = [] if context == names.DEFAULT or context in store.contexts else [context_entry(context)]
            return [*made, schema_entry(result), *replaced]  # in this order: a crash between must not lose the id

        def confirm(store: Store) -> None:
            if result is not None:
                _require_won(store, result, wanted.same)

        self.state.write(decide, confirm)
        assert result is not None  # decide has run
        return result

    def lookup(
        self, subject: str, request: SchemaRequest, *, deleted: bool = False, normalize: bool = False
    ) -> StoredSchema:
        """The subject's version that is this schema."""
        with self.state.reading() as store:
            subject = self.aliased(store, subject)
            if not store.versions(subject, deleted=deleted):
                raise faults.subject_not_found(subject)
            wanted = candidate(store, subject, request, normalize=normalize, strict=False)
            found = _same_version(store, subject, request, wanted, deleted)
        if found is None:
            raise faults.schema_not_found()
        return found

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
            for number in numbers:
                _require_unreferenced(store, subject, number, permanent)
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
            _require_unreferenced(store, subject, number, permanent)
            if permanent:
                if not stored.deleted:
                    raise faults.version_not_soft_deleted(subject, number)
                return _erase(store, subject, [stored])
            if stored.deleted:
                raise faults.version_soft_deleted(subject, number)
            return [schema_entry(replace(stored, deleted=True))]

        self.state.write(decide)
        return number

    def delete_context(self, context: str) -> None:
        """Forgets an empty context."""

        def decide(store: Store) -> list[Entry]:
            if any(names.context_of(subject) == context for subject in store.subjects):
                raise faults.fault(42211, f"The specified context '{context}' is not empty.")
            return [context_entry(context, gone=True)] if context in store.contexts else []

        self.state.write(decide)

    def violations(
        self, subject: str, request: SchemaRequest, version: str | None, *, normalize: bool = False
    ) -> tuple[Compatibility, list[Violation]]:
        """Holds a schema against one version, or, with None, against those that a registration would be held against.

        Returns:
            The level in force and what violates it.
        """
        with self.state.reading() as store:
            wanted = candidate(store, subject, request, normalize=normalize)
            earlier = store.versions(subject)
            if version is not None:
                number = version_number(version)
                if number is None:
                    earlier = earlier[-1:]
                else:
                    earlier = [stored for stored in store.versions(subject, deleted=True) if stored.version == number]
                    if not earlier:
                        raise faults.version_not_found(number)
            return level_of(store, subject), _violations(store, subject, wanted, earlier)

    def _completed(self, store: Store, subject: str, request: SchemaRequest, normalize: bool) -> Candidate:
        """What is to be registered: the request with what the config and the version before add to it."""
        config = config_of(store, subject)
        importing = mode_of(store, subject) in IMPORTING
        wanted = candidate(
            store, subject, request, normalize=normalize or bool(config.get("normalize")), strict=not importing
        )
        if importing:
            return wanted
        before = next(iter(store.versions(subject)[-1:]), None)
        for attribute, default, override in (
            ("metadata", "defaultMetadata", "overrideMetadata"),
            ("rule_set", "defaultRuleSet", "overrideRuleSet"),
        ):
            given = getattr(wanted, attribute)
            if given is None and before is not None:
                given = getattr(before, attribute)
            merged = _merged(_merged(config.get(default), given), config.get(override))
            setattr(wanted, attribute, merged or None)
        return wanted

    def _known(self, store: Store, subject: str, request: SchemaRequest, wanted: Candidate) -> StoredSchema | None:
        if request.version is not None and request.version > 0 and mode_of(store, subject) in IMPORTING:
            return next(
                (
                    stored
                    for stored in store.versions(subject)
                    if stored.version == request.version
                    and store.identity_of(stored) == wanted.same
                    and request.id in (None, -1, stored.id)
                ),
                None,
            )
        found = _same_version(store, subject, request, wanted, False)
        return found if found is None or request.id in (None, -1, found.id) else None


def _same_version(
    store: Store, subject: str, request: SchemaRequest, wanted: Candidate, deleted: bool
) -> StoredSchema | None:
    found = store.find(subject, wanted.same, deleted=deleted)
    if found is None and not request.metadata and not request.rule_set:
        found = store.find(subject, wanted.same, deleted=deleted, exactly=False)
        if found is not None and (wanted.metadata or wanted.rule_set) and store.identity_of(found) != wanted.same:
            # The config adds something that this version does not have yet.
            return None
    return found


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


def _violations(store: Store, subject: str, wanted: Candidate, earlier: list[StoredSchema]) -> list[Violation]:
    config = config_of(store, subject)
    level = level_of(store, subject)
    group = config.get("compatibilityGroup")
    if group:
        mine = _property(wanted.metadata, group)
        earlier = [stored for stored in earlier if _property(stored.metadata, group) == mine]
    if level is Compatibility.NONE:
        return []
    held = earlier if level.transitive else earlier[-1:]
    versions = [(stored.version, stored_schema(store, stored)) for stored in held]
    try:
        return check(level, wanted.schema, versions, lenient=config.get("compatibilityPolicy") == "LENIENT")
    except InvalidSchema as error:
        raise faults.invalid_schema(str(error)) from error


def _property(metadata: dict[str, Any] | None, name: str) -> Any:
    return ((metadata or {}).get("properties") or {}).get(name)


def _merged(below: dict[str, Any] | None, above: dict[str, Any] | None) -> dict[str, Any] | None:
    """Two metadata or rule sets in one; where both say something, the second holds."""
    if not below or not above:
        return above or below
    merged = dict(below)
    for name, value in above.items():
        known = merged.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            merged[name] = known | value
        elif isinstance(known, list) and isinstance(value, list) and all(isinstance(one, dict) for one in value):
            named = {one.get("name") for one in value}
            merged[name] = [one for one in known if one.get("name") not in named] + value
        elif value is not None:
            merged[name] = value
    return merged


def _require_registrable(store: Store, subject: str, request: SchemaRequest, wanted: Candidate) -> None:
    mode = mode_of(store, subject)
    require_writable(store, subject)
    context = names.context_of(subject)
    if request.id is not None and request.id >= 0:
        if mode not in IMPORTING:
            raise faults.not_permitted(f"Subject {subject} in context {context} is not in import mode")
        return
    if mode in IMPORTING:
        raise faults.not_permitted(f"Subject {subject} in context {context} is not in read-write mode")
    following = _next_version(store, subject)
    if request.version is not None and request.version not in (-1, 0, following):
        raise faults.invalid_schema(f"version {request.version} is not the next one, which is {following}")
    earlier = store.versions(subject)
    violations = _violations(store, subject, wanted, earlier)
    if violations:
        raise faults.incompatible(subject, explain(level_of(store, subject), violations, earlier))


def _given_id(store: Store, subject: str, request: SchemaRequest, wanted: Candidate) -> int | None:
    """The id that an import asks for."""
    if request.id is None or request.id < 0:
        return None
    holders = store.holders(names.context_of(subject), request.id)
    if holders and store.identity_of(holders[0]) != wanted.same:
        raise faults.id_mismatch(request.id, holders[0].subject)
    return request.id


def _require_won(store: Store, result: StoredSchema, same: Identity) -> None:
    """Sees that what the log made of a registration is what was decided: a stranger may have written in between."""
    stored = store.subjects.get(result.subject, {}).get(result.version)
    if stored is None or stored.id != result.id or store.identity_of(stored) != same:
        raise faults.store_failed(
            f"a registry of another make wrote to the same topic at the same moment, so that version {result.version} "
            f"of {result.subject} is not certain. Let only one of them write, and register again"
        )


def _require_unreferenced(store: Store, subject: str, version: int, permanent: bool) -> None:
    if store.referrers(subject, version, deleted=permanent):
        raise faults.reference_exists(subject, version)


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
    """Tombstones, newest first; and, before them, a note of the highest ids, which compaction might else forget."""
    entries = [note_entry(store.highest_ids(), store.leader)]
    entries += [erase_entry(subject, stored.version) for stored in reversed(versions)]
    if len(versions) == len(store.versions(subject, deleted=True)):
        if subject in store.configs:
            entries.append(config_entry(subject, None))
        if subject in store.modes:
            entries.append(mode_entry(subject, None))
    return entries


__all__ = ["Registry", "SchemaRequest", "complain", "explain"]
