"""The records of the `_schemas` topic, in Confluent's own format, so that one registry can take over from the other.

Keys are JSON objects with `keytype`, values are JSON objects or null (a tombstone):

    {"keytype":"SCHEMA","subject":"s","version":1,"magic":1}   {"subject":"s","version":1,"id":1,"schema":"...","deleted":false}
    {"keytype":"DELETE_SUBJECT","subject":"s","magic":0}       {"subject":"s","version":3}      versions 1 to 3 are deleted softly
    {"keytype":"CONFIG","subject":"s","magic":0}               {"compatibilityLevel":"FULL"}    without subject: for all
    {"keytype":"MODE","subject":"s","magic":0}                 {"mode":"READONLY"}              without subject: for all
    {"keytype":"NOOP","magic":0}                               Confluent writes and reads null here

Ottla adds one thing where Confluent's registry does not look: the value of NOOP may be `{"maxId":41}`. It keeps an id
from being given out again after its schema was deleted for good and compaction has removed every trace of it.
Attributes this does not know (`md5`, `metadata`, `ruleSet`, ...) are kept when a record is written again.
"""  # noqa: E501

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as the log carries it. `value` None is a tombstone."""

    key: bytes
    value: bytes | None


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
class Configured:
    """Compatibility level of a subject, or of all where `subject` is None. `level` None: no longer configured."""

    subject: str | None
    level: str | None


@dataclass(frozen=True, slots=True)
class ModeSet:
    """Mode of a subject, or of all where `subject` is None. `mode` None: no longer configured."""

    subject: str | None
    mode: str | None


@dataclass(frozen=True, slots=True)
class UsedIds:
    """Ids up to and including `highest` were given out."""

    highest: int


Change = StoredSchema | ErasedVersion | DeletedSubject | Configured | ModeSet | UsedIds


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
        case "CONFIG":
            return Configured(key.get("subject"), None if value is None else value.get("compatibilityLevel"))
        case "MODE":
            return ModeSet(key.get("subject"), None if value is None else value.get("mode"))
        case "NOOP" if value is not None:
            return UsedIds(int(value["maxId"]))
    return None


def schema_entry(stored: StoredSchema) -> Entry:
    value = stored.raw | {
        "subject": stored.subject,
        "version": stored.version,
        "id": stored.id,
        "schema": stored.schema,
        "deleted": stored.deleted,
    }
    return Entry(_schema_key(stored.subject, stored.version), _text(value))


def erase_entry(subject: str, version: int) -> Entry:
    return Entry(_schema_key(subject, version), None)


def delete_subject_entry(subject: str, version: int) -> Entry:
    key = {"keytype": "DELETE_SUBJECT", "subject": subject, "magic": 0}
    return Entry(_text(key), _text({"subject": subject, "version": version}))


def config_entry(subject: str | None, level: str | None) -> Entry:
    value = None if level is None else _text(_named(subject) | {"compatibilityLevel": level})
    return Entry(_text({"keytype": "CONFIG"} | _named(subject) | {"magic": 0}), value)


def mode_entry(subject: str | None, mode: str | None) -> Entry:
    value = None if mode is None else _text(_named(subject) | {"mode": mode})
    return Entry(_text({"keytype": "MODE"} | _named(subject) | {"magic": 0}), value)


def used_ids_entry(highest: int) -> Entry:
    return Entry(_text({"keytype": "NOOP", "magic": 0}), _text({"maxId": highest}))


def _schema_key(subject: str, version: int) -> bytes:
    return _text({"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1})


def _named(subject: str | None) -> dict[str, Any]:
    return {} if subject is None else {"subject": subject}


def _text(value: dict[str, Any]) -> bytes:
    # The key's bytes decide what compaction takes for the same record: attribute order and spacing are Confluent's.
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
