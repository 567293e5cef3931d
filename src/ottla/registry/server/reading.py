"""What can be asked of the registry without changing anything."""

from __future__ import annotations

from . import faults, names
from .records import StoredSchema
from .requests import stored_schema, version_number
from .settings import config_of
from .state import State
from .store import Store


class Reading:
    """The reading half of `Registry`. Every method raises RegistryRejected with Confluent's error codes."""

    def __init__(self, state: State) -> None:
        self.state = state

    def aliased(self, store: Store, subject: str) -> str:
        """The subject that is meant: an alias in a subject's config stands for another subject."""
        alias = store.configs.get(subject, {}).get("alias")
        return names.beside(subject, alias) if alias and not store.versions(subject, deleted=True) else subject

    def contexts(self) -> list[str]:
        with self.state.reading() as store:
            return store.every_context()

    def subjects(self, *, prefix: str = "", deleted: bool = False, deleted_only: bool = False) -> list[str]:
        """Subjects with a version, in order; with `deleted` also those whose versions are all deleted softly."""
        with self.state.reading() as store:
            live = {name for name in store.subjects if store.versions(name)}
            found = set(store.subjects) - live if deleted_only else set(store.subjects) if deleted else live
            return sorted(name for name in found if names.matches(name, prefix))

    def versions(self, subject: str, *, deleted: bool = False, deleted_only: bool = False) -> list[StoredSchema]:
        with self.state.reading() as store:
            subject = self.aliased(store, subject)
            found = store.versions(subject, deleted=deleted or deleted_only)
            found = [stored for stored in found if stored.deleted or not deleted_only]
        if not found:
            raise faults.subject_not_found(subject)
        return found

    def version(self, subject: str, version: str, *, deleted: bool = False) -> StoredSchema:
        """One version; `version` is a number or `latest`."""
        wanted = version_number(version)
        with self.state.reading() as store:
            subject = self.aliased(store, subject)
            found = store.versions(subject, deleted=deleted)
            every = store.versions(subject, deleted=True)
        if not every:
            raise faults.subject_not_found(subject)
        if wanted is None:
            if not found:
                raise faults.subject_not_found(subject)
            return found[-1]
        for stored in found:
            if stored.version == wanted:
                return stored
        raise faults.version_not_found(wanted)

    def latest_with(self, subject: str, metadata: dict[str, str], *, deleted: bool = False) -> StoredSchema:
        """The newest version whose metadata has these properties."""
        for stored in reversed(self.versions(subject, deleted=deleted)):
            properties = (stored.metadata or {}).get("properties") or {}
            if metadata.items() <= properties.items():
                return stored
        raise faults.schema_not_found()

    def by_id(self, schema_id: int, subject: str = "") -> StoredSchema:
        """A version with this id. Versions deleted softly count: what was written with them must stay readable.

        Args:
            schema_id: The id, in the context of `subject`.
            subject: The subject it was written under, a context alone (`:.c:`), or nothing. Where a subject without
                context has it in another context only, that counts.
        """
        with self.state.reading() as store:
            found = self._holders(store, schema_id, subject)
        if not found:
            raise faults.schema_not_found(schema_id)
        return min(found, key=lambda stored: stored.deleted)

    def _holders(self, store: Store, schema_id: int, subject: str) -> list[StoredSchema]:
        context, plain = names.split(subject)
        found = store.holders(context, schema_id)
        own = [stored for stored in found if stored.subject == subject]
        if own or context != names.DEFAULT or not plain:
            return own or found
        for other in store.every_context():
            elsewhere = [s for s in store.holders(other, schema_id) if names.split(s.subject)[1] == plain]
            if elsewhere:
                return elsewhere
        return found

    def by_guid(self, wanted: str) -> StoredSchema:
        """A version whose schema has this globally unique id."""
        with self.state.reading() as store:
            found = store.with_guid(wanted.lower())
        if not found:
            raise faults.schema_not_found(wanted)
        return min(found, key=lambda stored: stored.deleted)

    def ids_of_guid(self, wanted: str) -> list[tuple[str, int]]:
        """The contexts that have this schema, with its id there."""
        with self.state.reading() as store:
            found = store.with_guid(wanted.lower())
        if not found:
            raise faults.schema_not_found(wanted)
        return sorted({(names.context_of(stored.subject), stored.id) for stored in found})

    def every(self, *, prefix: str = "", deleted: bool = False, latest: bool = False) -> list[StoredSchema]:
        """All versions of all subjects that begin with `prefix`, or only the latest of each."""
        with self.state.reading() as store:
            found = [
                store.versions(name, deleted=deleted) for name in sorted(store.subjects) if names.matches(name, prefix)
            ]
        return [stored for versions in found for stored in (versions[-1:] if latest else versions)]

    def holders(self, schema_id: int, *, subject: str = "", deleted: bool = False) -> list[StoredSchema]:
        """The versions that have this id."""
        context, plain = names.split(subject)
        with self.state.reading() as store:
            found = store.holders(context, schema_id)
        if not found:
            raise faults.schema_not_found(schema_id)
        if plain:
            found = [stored for stored in found if stored.subject == subject]
        return [stored for stored in found if deleted or not stored.deleted]

    def highest_id(self, subject: str = "") -> int:
        with self.state.reading() as store:
            return store.ids(names.context_of(subject)).highest

    def referenced_by(self, subject: str, version: str, *, deleted: bool = False) -> list[int]:
        """Ids of the schemas that refer to this version."""
        target = self.version(subject, version, deleted=True)
        with self.state.reading() as store:
            return sorted({stored.id for stored in store.referrers(target.subject, target.version, deleted=deleted)})

    def formatted(self, stored: StoredSchema, form: str) -> str:
        """A version's text in the form that a client asks for: `resolved` (Avro), `serialized` (Protobuf)."""
        if form not in ("resolved", "serialized"):
            return stored.schema
        with self.state.reading() as store:
            return stored_schema(store, stored).formatted(form)

    def normalizes(self, subject: str) -> bool:
        """Whether the config wants schemas of this subject normalised."""
        with self.state.reading() as store:
            return bool(config_of(store, subject).get("normalize"))
