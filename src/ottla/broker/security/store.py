"""What administrators set while the broker runs, and what survives it: ACLs, SCRAM credentials, quotas.

Part of the catalogue's journal. Its records:
    ["acl", type, pattern, name, principal, host, operation, permission]      an ACL is there
    ["no-acl", ...the same]                                                   and is gone
    ["scram", user, mechanism, [salt, stored key, server key, iterations]]    a credential, in base64
    ["no-scram", user, mechanism]
    ["quota", [[entity type, name or null], ...], key, value or null]         a quota, or that there is none
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ottla.broker.security.acls import Acl, Acls
from ottla.broker.security.credentials import Credential

Entry = list[Any]
Entity = tuple[tuple[str, str | None], ...]  # sorted; a name of None is the default for its type
Quotas = dict[Entity, dict[str, float]]


class SecurityStore:
    """The state, changed only by way of the journal.

    Args:
        append: Writes records to the journal, all or none; raises OSError.
    """

    def __init__(self, append: Callable[..., None]) -> None:
        self.acls = Acls()
        self.credentials: dict[tuple[str, int], Credential] = {}
        self.quotas: Quotas = {}
        self._append = append

    def write(self, *entries: Entry) -> None:
        """Writes changes down and makes them. Raises OSError if they could not be written; then nothing is changed."""
        if not entries:
            return
        self._append(*entries)
        for entry in entries:
            self.replay(entry)

    def replay(self, entry: Entry) -> None:
        """Makes the change that a record of the journal describes; others are none of this store's business."""
        kind = entry[0]
        if kind == "acl":
            self.acls.add(Acl.from_json(entry[1:]))
        elif kind == "no-acl":
            self.acls.remove(Acl.from_json(entry[1:]))
        elif kind == "scram":
            self.credentials[entry[1], entry[2]] = Credential.from_json(entry[3])
        elif kind == "no-scram":
            self.credentials.pop((entry[1], entry[2]), None)
        elif kind == "quota":
            self._replay_quota(entry_entity(entry[1]), entry[2], entry[3])

    def snapshot(self) -> Iterator[Entry]:
        """The records that rebuild the present state."""
        for acl in self.acls:
            yield ["acl", *acl.to_json()]
        for (user, mechanism), credential in self.credentials.items():
            yield ["scram", user, mechanism, credential.to_json()]
        for entity, values in self.quotas.items():
            for key, value in values.items():
                yield ["quota", entity, key, value]

    def _replay_quota(self, entity: Entity, key: str, value: float | None) -> None:
        values = self.quotas.setdefault(entity, {})
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
        if not values:
            del self.quotas[entity]


def entry_entity(pairs: list[list[Any]]) -> Entity:
    return tuple((kind, name) for kind, name in pairs)
