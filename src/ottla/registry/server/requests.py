"""What clients send: a schema with what belongs to it."""

from __future__ import annotations

from typing import Any

import msgspec

from ..schema import Schema, parse
from ..schema_error import InvalidSchema
from . import faults, names
from .identity import Identity, identity
from .records import StoredSchema
from .store import Store

VERSION_MAX = 2**31 - 1
_REFERENCES_MAX = 1000


class Reference(msgspec.Struct):
    """What a schema calls `name` is that version of that subject. Version -1 is the latest."""

    name: str
    subject: str
    version: int = -1


class SchemaRequest(msgspec.Struct, rename="camel"):
    """The body with which clients register, look up and compare. `schema` is the schema's text."""

    schema: str = ""
    schema_type: str | None = None
    references: list[Reference] | None = None
    metadata: dict[str, Any] | None = None
    rule_set: dict[str, Any] | None = None
    id: int | None = None
    version: int | None = None

    @property
    def kind(self) -> str:
        return (self.schema_type or "AVRO").upper()


class Candidate(msgspec.Struct):
    """A request's schema, parsed, with its references as they will be stored.

    Attributes:
        schema: The schema.
        text: The text to store.
        references: As JSON.
    """

    schema: Schema
    text: str
    references: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    rule_set: dict[str, Any] | None

    @property
    def same(self) -> Identity:
        return identity(self.schema.kind, self.text, self.references, self.metadata, self.rule_set)

    def raw(self) -> dict[str, Any]:
        """What is stored besides text, subject, version and id."""
        found: dict[str, Any] = {} if self.schema.kind == "AVRO" else {"schemaType": self.schema.kind}
        if self.references:
            found["references"] = self.references
        if self.metadata:
            found["metadata"] = self.metadata
        if self.rule_set:
            found["ruleSet"] = self.rule_set
        return found


def candidate(store: Store, subject: str, request: SchemaRequest, *, normalize: bool, strict: bool = True) -> Candidate:
    """A request's schema as it would be under a subject.

    Raises:
        RegistryRejected: 42201: it is no schema, or refers to what is not there; 42210: its rules are none.
    """
    references = [
        {"name": one.name, "subject": one.subject, "version": _pinned(store, subject, one)}
        for one in request.references or []
    ]
    if normalize:
        references.sort(key=lambda one: str(one["name"]))
    if request.rule_set:
        check_rules(request.rule_set)
    try:
        schema = parse(request.kind, request.schema, texts(store, subject, references), strict=strict)
    except InvalidSchema as error:
        raise faults.invalid_schema(str(error)) from error
    text = schema.normalized if normalize else schema.text
    return Candidate(schema, text, references, request.metadata or None, request.rule_set or None)


def stored_schema(store: Store, stored: StoredSchema) -> Schema:
    """A stored version, parsed.

    Raises:
        RegistryRejected: 50001: it cannot be read here.
    """
    try:
        referred = texts(store, stored.subject, stored.references)
        return parse(stored.schema_type, stored.schema, referred, strict=False)
    except InvalidSchema as error:
        raise faults.store_failed(
            f"version {stored.version} of {stored.subject} is stored but cannot be read here: {error}"
        ) from error


def texts(store: Store, subject: str, references: list[dict[str, Any]]) -> dict[str, str]:
    """The texts a schema refers to, by the names it uses, what they refer to before them.

    Raises:
        InvalidSchema: A reference leads nowhere.
    """
    found: dict[str, str] = {}
    _collect(store, subject, references, found, ())
    return found


def _collect(
    store: Store, subject: str, references: list[dict[str, Any]], found: dict[str, str], path: tuple[str, ...]
) -> None:
    for one in references:
        name, version = str(one["name"]), int(one["version"])
        if name in found or name in path:
            continue
        if len(found) > _REFERENCES_MAX:
            raise InvalidSchema(f"the schema refers to more than {_REFERENCES_MAX} others")
        target = names.beside(subject, str(one["subject"]))
        versions = store.versions(target, deleted=True)
        # Versions deleted softly count: what refers to them must stay readable.
        stored = next((each for each in versions if each.version == version), None)
        if stored is None:
            raise InvalidSchema(f"reference {name!r} leads to subject {target!r} version {version}, which is not there")
        _collect(store, target, stored.references, found, (*path, name))
        found[name] = stored.schema


def _pinned(store: Store, subject: str, one: Reference) -> int:
    if one.version > 0:
        return one.version
    versions = store.versions(names.beside(subject, one.subject))
    if not versions:
        raise faults.invalid_schema(f"reference {one.name!r} leads to subject {one.subject!r}, which is not there")
    return versions[-1].version


def check_rules(rule_set: dict[str, Any]) -> None:
    """Raises 42210 for rules that no client could use. What they do is the clients' matter."""
    seen: set[str] = set()
    for kind in ("migrationRules", "domainRules", "encodingRules"):
        for rule in rule_set.get(kind) or []:
            if not isinstance(rule, dict) or not isinstance(rule.get("name"), str) or not rule["name"]:
                raise faults.invalid_rule_set(f"a rule of {kind} has no name")
            if rule["name"] in seen:
                raise faults.invalid_rule_set(f"Found rule with duplicate name '{rule['name']}'")
            seen.add(rule["name"])
            if not rule.get("type"):
                raise faults.invalid_rule_set(f"rule '{rule['name']}' has no type")
            migration = rule.get("mode") in ("UPGRADE", "DOWNGRADE", "UPDOWN")
            if rule.get("mode") is not None and migration is not (kind == "migrationRules"):
                raise faults.invalid_rule_set(f"rule '{rule['name']}' of {kind} has mode {rule['mode']}")


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
