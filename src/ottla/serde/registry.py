"""The port to a schema registry. `ottla.registry.RegistryClient` implements it; serde imports no client."""

from __future__ import annotations

from typing import Protocol


class SchemaRegistry(Protocol):
    """What the serializers need from a schema registry.

    Contract:
    - **Threads.** Every method may be called from any thread at any time.
    - **Blocking.** A method may block for a network call. Implementations remember every answer for ever (an id never
      changes its schema), so the hot path never gets this far: callers also keep what they built from the answer.
    - **Failure.** `RegistryUnavailable` if there was no answer: the same call may work later, and nothing is wrong with
      the data. `RegistryRejected` if there was one and it is no: `code` 40401 to 40403 where the subject, version or
      schema does not exist, 40901 where a schema is incompatible. Nothing else is raised, and failures are not
      remembered.
    """

    def register(self, subject: str, schema: str) -> int:
        """The id of an Avro schema (JSON text) under a subject, registering it if it is not there yet."""
        ...

    def lookup(self, subject: str, schema: str) -> int:
        """The id of an Avro schema that is already registered under a subject; `RegistryRejected` (40403) if not."""
        ...

    def schema(self, schema_id: int) -> str:
        """The schema with an id, as JSON text; `RegistryRejected` (40403) if there is none."""
        ...
