"""The port to a schema registry. `ottla.registry.RegistryClient` implements it; serde imports no client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema as the registry has it.

    Attributes:
        kind: AVRO, JSON or PROTOBUF.
        text: Its text.
        references: The texts of the schemas it refers to, and that those refer to, by the names used for them; what a
            schema refers to stands before it.
    """

    kind: str
    text: str
    references: Mapping[str, str] = field(default_factory=dict)


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

    def register(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        """The id of a schema under a subject, registering it if it is not there yet."""
        ...

    def lookup(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        """The id of a schema that is already registered under a subject; `RegistryRejected` (40403) if not."""
        ...

    def registered(self, schema_id: int) -> Registered:
        """The schema with an id; `RegistryRejected` (40403) if there is none."""
        ...

    def id_of_guid(self, guid: str) -> int:
        """The id of the schema with a globally unique id; `RegistryRejected` (40403) if there is none."""
        ...
