"""What makes two schemas the same one, and a schema's globally unique id."""

from __future__ import annotations

import hashlib
import json
import uuid
from contextlib import suppress
from typing import Any

from ..schema import parse
from ..schema_error import InvalidSchema

Identity = tuple[str, str, str, str]
"""Type, canonical text, references, and what goes with it (metadata and rules)."""


def identity(schema_type: str, text: str, references: list[dict[str, Any]], *more: Any) -> Identity:
    """The identity of a schema whose canonical text is at hand."""
    return schema_type, text, _sorted(references), _sorted([part or None for part in more])


def identity_of_stored(schema_type: str, text: str, references: list[dict[str, Any]], *more: Any) -> Identity:
    """The identity of a schema that some registry accepted: canonical where that needs no references; text that
    cannot be parsed here stands for itself."""
    if schema_type == "AVRO" and not references:
        # A topic taken over from another registry may hold what that one accepted and this one does not.
        with suppress(InvalidSchema):
            text = parse("AVRO", text, strict=False).text
    return identity(schema_type, text, references, *more)


def _sorted(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def guid(text: str, references: list[dict[str, Any]], metadata: Any = None, rule_set: Any = None) -> str:
    """Confluent's globally unique id: the MD5 of text, references, metadata and rules, as a UUID."""
    digest = hashlib.md5(text.encode(), usedforsecurity=False)
    for reference in references:
        digest.update(str(reference.get("name", "")).encode())
        digest.update(str(reference.get("subject", "")).encode())
        digest.update(int(reference.get("version", 0)).to_bytes(4, "big", signed=True))
    if metadata:
        digest.update(b"\x01")
        _add_metadata(digest, metadata)
    if rule_set:
        digest.update(b"\x01")
        _add_rules(digest, rule_set)
    return str(uuid.UUID(bytes=digest.digest()))


def _add_metadata(digest: Any, metadata: dict[str, Any]) -> None:
    for name, tags in sorted((metadata.get("tags") or {}).items()):
        digest.update(name.encode())
        for tag in tags:
            digest.update(str(tag).encode())
    for name, value in sorted((metadata.get("properties") or {}).items()):
        digest.update(name.encode())
        digest.update(str(value).encode())
    for name in metadata.get("sensitive") or []:
        digest.update(str(name).encode())


def _add_rules(digest: Any, rule_set: dict[str, Any]) -> None:
    for kind in ("migrationRules", "domainRules", "encodingRules"):
        for rule in rule_set.get(kind) or []:
            _add_rule(digest, rule)
    if rule_set.get("enableAt") is not None:
        digest.update(str(rule_set["enableAt"]).encode())


def _add_rule(digest: Any, rule: dict[str, Any]) -> None:
    parts = [rule.get(name) for name in ("name", "doc", "kind", "mode", "type")]
    parts += sorted(rule.get("tags") or [])
    parts += [part for pair in sorted((rule.get("params") or {}).items()) for part in pair]
    parts += [rule.get(name) for name in ("expr", "onSuccess", "onFailure")]
    for part in parts:
        if part is not None:
            digest.update(str(part).encode())
    if rule.get("disabled"):
        digest.update(b"\x01")
