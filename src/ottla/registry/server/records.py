"""The records of the `_schemas` topic, in Confluent's own format, so that one registry can take over from the other.

Keys are JSON objects with `keytype`, values are JSON objects or null (a tombstone):

    {"keytype":"SCHEMA","subject":"s","version":1,"magic":1}   {"subject":"s","version":1,"id":1,"schema":"...","deleted":false}
    {"keytype":"DELETE_SUBJECT","subject":"s","magic":0}       {"subject":"s","version":3}      versions 1 to 3 are deleted softly
    {"keytype":"CLEAR_SUBJECT","subject":"s","magic":0}        {"subject":"s"}                  before an import
    {"keytype":"CONFIG","subject":"s","magic":0}               {"compatibilityLevel":"FULL"}    without subject: for all
    {"keytype":"MODE","subject":"s","magic":0}                 {"mode":"READONLY"}              without subject: for all
    {"keytype":"CONTEXT","tenant":"default","context":".c",...}  {"tenant":"default","context":".c"}
    {"keytype":"NOOP","magic":0}                               Confluent writes null here, and reads nothing

Ottla adds two things where Confluent's registry does not look. The value of NOOP may be `{"maxIds":{".":41}}`, which
keeps an id from being given out again after its schema was deleted for good and compaction has removed every trace of
it, and `"leader":{"token":"...","url":"..."}`, by which an instance announces that it writes from here on (see
`leadership`). And the header `ottla-leader` holds the token under which a record was written.
Attributes this does not know (`md5`, ...) are kept when a record is written again.
"""  # noqa: E501

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from . import names


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as the log carries it. `value` None is a tombstone, `leader` the token of who wrote it."""

    key: bytes
    value: bytes | None
    leader: str | None = None


@dataclass(frozen=True, slots=True)
class StoredSchema:
    """One version of one subject. `raw` is the record's value as it was read."""

    subject: str
    version: int
    id: int
    schema: str
    schema_type: str = "AVRO"
    deleted: bool = False
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def references(self) -> list[dict[str, Any]]:
        return self.raw.get("references") or []

    @property
    def metadata(self) -> dict[str, Any] | None:
        return self.raw.get("metadata") or None

    @property
    def rule_set(self) -> dict[str, Any] | None:
        return self.raw.get("ruleSet") or None


@dataclass(frozen=True, slots=True)
class ErasedVersion:
    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class DeletedSubject:
    """Versions up to and including `version` were deleted softly."""

    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class ClearedSubject:
    """What was deleted of a subject (or of a context, or of all) is forgotten."""

    subject: str | None


@dataclass(frozen=True, slots=True)
class Configured:
    """Config of a subject, or of all where `subject` is None. `config` None: no longer configured."""

    subject: str | None
    config: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ModeSet:
    """Mode of a subject, or of all where `subject` is None. `mode` None: no longer configured."""

    subject: str | None
    mode: str | None


@dataclass(frozen=True, slots=True)
class ContextMade:
    """A context has its first schema; `gone`: it was deleted, empty."""

    context: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Leader:
    """Who writes to the log from its announcement on: an instance, by a token of its own, and where it is reached."""

    token: str
    url: str


@dataclass(frozen=True, slots=True)
class Note:
    """Ids up to and including `highest` (per context) were given out; `leader` writes from here on."""

    highest: dict[str, int]
    leader: Leader | None = None


Change = StoredSchema | ErasedVersion | DeletedSubject | ClearedSubject | Configured | ModeSet | ContextMade | Note


def decode(entry: Entry) -> Change | None:
    """What a record changes; None for records that change nothing here.

    Raises:
        ValueError: The record is not in the format. The message says what is wrong with it.
    """
    try:
        key = json.loads(entry.key)
        value = None if entry.value is None else json.loads(entry.value)
        return _change(key, value)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _change(key: dict[str, Any], value: dict[str, Any] | None) -> Change | None:
    match key["keytype"]:
        case "SCHEMA":
            if value is None:
                return ErasedVersion(key["subject"], int(key["version"]))
            return StoredSchema(
                subject=value["subject"],
                version=int(value["version"]),
                id=int(value["id"]),
                schema=value["schema"],
                schema_type=value.get("schemaType") or "AVRO",
                deleted=bool(value.get("deleted", False)),
                raw=value,
            )
        case "DELETE_SUBJECT" if value is not None:
            return DeletedSubject(value["subject"], int(value["version"]))
        case "CLEAR_SUBJECT" if value is not None:
            return ClearedSubject(value.get("subject"))
        case "CONFIG":
            return Configured(key.get("subject"), None if value is None else _config(value))
        case "MODE":
            return ModeSet(key.get("subject"), None if value is None else value.get("mode"))
        case "CONTEXT":
            return ContextMade(key["context"], gone=value is None)
        case "NOOP" if value is not None:
            return _note(value)
    return None


def _config(value: dict[str, Any]) -> dict[str, Any]:
    return {name: found for name, found in value.items() if name != "subject" and found is not None}


def _note(value: dict[str, Any]) -> Note:
    highest = {str(context): int(found) for context, found in (value.get("maxIds") or {}).items()}
    if "maxId" in value:  # how version 0.1 of Ottla wrote it
        highest[names.DEFAULT] = max(int(value["maxId"]), highest.get(names.DEFAULT, 0))
    leader = value.get("leader")
    return Note(highest, Leader(str(leader["token"]), str(leader["url"])) if leader else None)


def schema_entry(stored: StoredSchema) -> Entry:
    value = {"subject": stored.subject, "version": stored.version, "id": stored.id}
    if stored.schema_type != "AVRO" or "schemaType" in stored.raw:
        value["schemaType"] = stored.schema_type
    value |= {
        name: found for name, found in stored.raw.items() if name not in ("schema", "deleted") and name not in value
    }
    return Entry(
        _schema_key(stored.subject, stored.version), _text(value | {"schema": stored.schema, "deleted": stored.deleted})
    )


def erase_entry(subject: str, version: int) -> Entry:
    return Entry(_schema_key(subject, version), None)


def delete_subject_entry(subject: str, version: int) -> Entry:
    key = {"keytype": "DELETE_SUBJECT", "subject": subject, "magic": 0}
    return Entry(_text(key), _text({"subject": subject, "version": version}))


def clear_subject_entry(subject: str | None) -> Entry:
    return Entry(_text({"keytype": "CLEAR_SUBJECT"} | _named(subject) | {"magic": 0}), _text(_named(subject)))


def config_entry(subject: str | None, config: dict[str, Any] | None) -> Entry:
    value = None if config is None else _text(_named(subject) | config)
    return Entry(_text({"keytype": "CONFIG"} | _named(subject) | {"magic": 0}), value)


def mode_entry(subject: str | None, mode: str | None) -> Entry:
    value = None if mode is None else _text(_named(subject) | {"mode": mode})
    return Entry(_text({"keytype": "MODE"} | _named(subject) | {"magic": 0}), value)


def context_entry(context: str, *, gone: bool = False) -> Entry:
    value = {"tenant": "default", "context": context}
    return Entry(_text({"keytype": "CONTEXT"} | value | {"magic": 0}), None if gone else _text(value))


def note_entry(highest: dict[str, int], leader: Leader | None) -> Entry:
    value: dict[str, Any] = {"maxIds": highest}
    if leader is not None:
        value["leader"] = {"token": leader.token, "url": leader.url}
    return Entry(_text({"keytype": "NOOP", "magic": 0}), _text(value))


def _schema_key(subject: str, version: int) -> bytes:
    return _text({"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1})


def _named(subject: str | None) -> dict[str, Any]:
    return {} if subject is None else {"subject": subject}


def _text(value: dict[str, Any]) -> bytes:
    # The key's bytes decide what compaction takes for the same record: attribute order and spacing are Confluent's.
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
