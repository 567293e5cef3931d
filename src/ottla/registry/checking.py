"""Are the events in the code compatible with what is registered: the gate for CI.

The comparison is made here and not by the registry, so the answer reads the same whichever registry it is, and works
with schema files kept in the repository as well.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ..errors import ConfigurationError, RegistryRejected
from ..serde.formats import FormatName, format_of_class
from ..serde.registry import Registered
from ..serde.serializer import SubjectStrategy, key_class
from ..serde.serializer import subject as subject_of
from .client import RegistryClient
from .compatibility import Compatibility, Violation, check
from .schema import parse

Outcome = Literal["same", "new", "compatible", "breaks"]

SUFFIXES = {"AVRO": ".avsc", "JSON": ".json", "PROTOBUF": ".proto"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An event's schema as the code has it now."""

    subject: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an event's schema stands to what is there.

    Attributes:
        outcome: `same` as a version that is there; `new`, if the subject has none; `compatible`, or `breaks`.
        level: The compatibility level it was held against.
        violations: Why it breaks.
        diff: Lines that differ from the latest version, as `diff -u` shows them.
    """

    wanted: Wanted
    outcome: Outcome
    level: str
    violations: list[Violation] = field(default_factory=list)
    diff: list[str] = field(default_factory=list)


class Source(Protocol):
    """Where the registered schemas are."""

    def level(self, subject: str) -> str:
        """The compatibility level of a subject."""
        ...

    def versions(self, subject: str) -> list[tuple[int, Registered]]:
        """Its versions, ascending; empty if there is none."""
        ...

    def register(self, wanted: Wanted) -> str:
        """Registers a schema; says in a few words as what."""
        ...


class RegistrySource:
    """Implements `Source` on a registry."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client

    def level(self, subject: str) -> str:
        return self._client.level(subject)

    def versions(self, subject: str) -> list[tuple[int, Registered]]:
        try:
            numbers = self._client.versions(subject)
        except RegistryRejected as error:
            if error.status == 404:
                return []
            raise
        found = [self._client.version(subject, number) for number in numbers]
        return [(int(one["version"]), self._client.registered(int(one["id"]))) for one in found]

    def register(self, wanted: Wanted) -> str:
        return f"id {self._client.register(wanted.subject, wanted.text, wanted.kind)}"


class FolderSource:
    """Implements `Source` on a folder with one file per subject (`orders-shop.Order.avsc`): its only version.

    Args:
        folder: The folder.
        level: The compatibility level of all.
    """

    def __init__(self, folder: Path, level: str) -> None:
        self._folder = folder
        self._level = level

    def level(self, subject: str) -> str:
        return self._level

    def versions(self, subject: str) -> list[tuple[int, Registered]]:
        for kind, suffix in SUFFIXES.items():
            path = self._folder / f"{subject}{suffix}"
            if path.is_file():
                return [(1, Registered(kind, path.read_text("utf-8")))]
        return []

    def register(self, wanted: Wanted) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{wanted.subject}{SUFFIXES[wanted.kind]}"
        path.write_text(readable(wanted.kind, wanted.text), "utf-8")
        return str(path)


def wanted_of(
    classes: Iterable[type], topics: Iterable[str], default: FormatName, strategy: SubjectStrategy = "topic-record"
) -> list[Wanted]:
    """The schemas of event classes, each under the subject of its topic, and of keys that have one."""
    found: list[Wanted] = []
    for cls, topic in zip(classes, topics, strict=True):
        chosen = format_of_class(cls, default)
        found.append(Wanted(subject_of(cls, topic, strategy), chosen.kind, chosen.schema_text(cls)))
        key = key_class(cls)
        if key is not None:
            chosen = format_of_class(key, default)
            wanted = Wanted(subject_of(key, topic, "topic", key=True), chosen.kind, chosen.schema_text(key))
            if wanted not in found:
                found.append(wanted)
    return found


def verdict(wanted: Wanted, source: Source) -> Verdict:
    """Holds an event's schema against what is there.

    Raises:
        RegistryUnavailable, RegistryRejected: As the registry says.
        ConfigurationError: The level is none that is known here.
    """
    level = source.level(wanted.subject)
    if level not in list(Compatibility):
        raise ConfigurationError(f"subject {wanted.subject}: compatibility level {level!r} is not known here")
    versions = source.versions(wanted.subject)
    if not versions:
        return Verdict(wanted, "new", level)
    new = parse(wanted.kind, wanted.text, strict=False)
    earlier = [
        (number, parse(stored.kind, stored.text, stored.references, strict=False)) for number, stored in versions
    ]
    if any(old.kind == new.kind and old.normalized == new.normalized for _number, old in earlier):
        return Verdict(wanted, "same", level)
    latest_number, latest = versions[-1]
    diff = difference(latest, Registered(wanted.kind, wanted.text), f"version {latest_number}", "the code")
    violations = check(Compatibility(level), new, earlier)
    return Verdict(wanted, "breaks" if violations else "compatible", level, violations, diff)


def difference(old: Registered, new: Registered, old_name: str, new_name: str) -> list[str]:
    """The lines in which two schemas differ."""
    before, after = (readable(one.kind, one.text).splitlines() for one in (old, new))
    return list(difflib.unified_diff(before, after, old_name, new_name, lineterm="", n=2))


def readable(kind: str, text: str) -> str:
    """A schema's text for people: JSON indented, with a line end behind it."""
    if kind == "PROTOBUF":
        return text if text.endswith("\n") else f"{text}\n"
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
