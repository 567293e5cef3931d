"""A schema registry in memory, for tests of the serializers only. The real ones are tested under tests/registry."""

from __future__ import annotations

from ottla.errors import RegistryRejected, RegistryUnavailable
from ottla.serde.registry import Registered


class MemoryRegistry:
    """Keeps schemas in a list and counts how often it is asked. `down` makes every call fail as a lost network does."""

    def __init__(self) -> None:
        self.schemas: list[str] = []
        self.kinds: list[str] = []
        self.guids: dict[str, int] = {}
        self.subjects: dict[str, list[int]] = {}
        self.calls: list[tuple[str, object]] = []
        self.down = False
        self.refuse: RegistryRejected | None = None

    def add(self, schema: str, kind: str = "AVRO") -> int:
        """The id of a schema, as if somebody else had registered it."""
        if schema not in self.schemas:
            self.schemas.append(schema)
            self.kinds.append(kind)
        return self.schemas.index(schema) + 1

    def register(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        self._asked("register", subject)
        schema_id = self.add(schema, kind)
        self.subjects.setdefault(subject, []).append(schema_id)
        return schema_id

    def lookup(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        self._asked("lookup", subject)
        if schema in self.schemas and self.schemas.index(schema) + 1 in self.subjects.get(subject, []):
            return self.schemas.index(schema) + 1
        raise RegistryRejected(f"no such schema under {subject}", status=404, code=40403)

    def id_of_guid(self, guid: str) -> int:
        self._asked("guid", guid)
        if guid in self.guids:
            return self.guids[guid]
        raise RegistryRejected(f"no schema {guid}", status=404, code=40403)

    def registered(self, schema_id: int) -> Registered:
        self._asked("schema", schema_id)
        if 1 <= schema_id <= len(self.schemas):
            return Registered(self.kinds[schema_id - 1], self.schemas[schema_id - 1])
        raise RegistryRejected(f"no schema {schema_id}", status=404, code=40403)

    def _asked(self, call: str, argument: object) -> None:
        self.calls.append((call, argument))
        if self.down:
            raise RegistryUnavailable("nobody answers")
        if self.refuse:
            raise self.refuse
