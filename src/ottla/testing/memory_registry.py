"""A schema registry in memory, for tests without a server. It accepts every schema."""

from __future__ import annotations

from ottla.errors import RegistryRejected
from ottla.serde.registry import Registered


class MemoryRegistry:
    """Schemas by id; the same schema gets the same id. Whether a schema is compatible is not asked."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], int] = {}
        self._schemas: dict[int, Registered] = {}

    def register(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        """The id of a schema."""
        schema_id = self._ids.setdefault((kind, schema), len(self._ids) + 1)
        self._schemas[schema_id] = Registered(kind, schema)
        return schema_id

    def lookup(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        """The id of a schema that was registered."""
        if (kind, schema) not in self._ids:
            raise RegistryRejected(f"subject {subject}: no such schema", status=404, code=40403)
        return self._ids[kind, schema]

    def registered(self, schema_id: int) -> Registered:
        """The schema with an id."""
        if schema_id not in self._schemas:
            raise RegistryRejected(f"no schema with id {schema_id}", status=404, code=40403)
        return self._schemas[schema_id]

    def id_of_guid(self, guid: str) -> int:
        """None has one here."""
        raise RegistryRejected(f"no schema with GUID {guid}", status=404, code=40403)
