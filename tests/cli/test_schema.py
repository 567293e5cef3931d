"""`ottla schema`: list, show, diff, check, register, codegen."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottla.registry import RegistryClient
from ottla.testing import EmbeddedRegistry
from tests.cli.conftest import Ottla

V1 = """
from dataclasses import dataclass
from ottla import App, event

@event("{topic}", namespace="shop", format="{format}")
@dataclass
class Order:
    id: str
    total: int

app = App("orders", events=[Order])
"""
COMPATIBLE = V1.replace("    total: int\n", "    total: int\n    note: str = ''\n")
BROKEN = V1.replace("total: int", "total: bytes")


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module's name; `write` puts a text into it."""
    name = f"events_{uuid.uuid4().hex[:8]}"
    yield name
    sys.modules.pop(name, None)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


def write(name: str, text: str, format: str) -> None:
    Path(f"{name}.py").write_text(text.format(topic=name, format=format))
    sys.modules.pop(name, None)


@pytest.mark.parametrize("format", ["avro", "json", "protobuf"])
def test_check_is_a_gate_in_front_of_the_registry(
    ottla: Ottla, kafka_registry: EmbeddedRegistry, events: str, format: str
) -> None:
    url = ("--registry-url", kafka_registry.url)
    write(events, V1, format)
    new = ottla("schema", "check", events, *url)
    assert (new.status, "new (BACKWARD)" in new.out) == (0, True), new
    assert RegistryClient(kafka_registry.url).subjects().count(f"{events}-shop.Order") == 0

    assert ottla("schema", "register", f"{events}:app", *url).status == 0
    assert "unchanged" in ottla("schema", "check", events, *url).out

    write(events, COMPATIBLE, format)
    changed = ottla("schema", "check", f"{events}:Order", *url)
    assert (changed.status, "changed, compatible" in changed.out) == (0, True), changed
    assert "+" in changed.out

    write(events, BROKEN, format)
    broken = ottla("schema", "check", events, *url)
    assert broken.status == 1
    assert "BREAKS (BACKWARD)" in broken.out
    assert "in the new schema but" in broken.out
    assert "(against version 1)" in broken.out
    assert "1 events checked, 1 would break" in broken.out
    document = ottla("schema", "check", events, "--json", *url).document
    assert document["ok"] is False
    assert document["events"][0]["reasons"][0]["path"]
    refused = ottla("schema", "register", events, *url)
    assert (refused.status, "nothing was registered" in refused.err) == (1, True)
    assert RegistryClient(kafka_registry.url).versions(f"{events}-shop.Order") == [1]


@pytest.mark.parametrize(("format", "suffix"), [("avro", "avsc"), ("json", "json"), ("protobuf", "proto")])
def test_check_works_with_schema_files_in_the_repository(ottla: Ottla, events: str, format: str, suffix: str) -> None:
    write(events, V1, format)
    assert ottla("schema", "register", events, "--files", "schemas").status == 0
    assert Path(f"schemas/{events}-shop.Order.{suffix}").is_file()
    assert "unchanged" in ottla("schema", "check", events, "--files", "schemas").out
    write(events, BROKEN, format)
    assert ottla("schema", "check", events, "--files", "schemas").status == 1
    assert ottla("schema", "check", events, "--files", "schemas", "--mode", "none").status == 0


def test_subjects_are_listed_shown_and_compared(ottla: Ottla, kafka_registry: EmbeddedRegistry, events: str) -> None:
    url = ("--registry-url", kafka_registry.url)
    for text in (V1, COMPATIBLE):
        write(events, text, "avro")
        assert ottla("schema", "register", events, *url).status == 0
    subject = f"{events}-shop.Order"
    listed = ottla("schema", "list", "--prefix", events, "--json", *url).document["subjects"]
    assert [(one["subject"], one["version"], one["type"], one["level"]) for one in listed] == [
        (subject, 2, "AVRO", "BACKWARD")
    ]
    assert subject in ottla("schema", "list", *url).out
    assert '"name": "total"' in ottla("schema", "show", subject, *url).out
    assert ottla("schema", "show", subject, "--version", "1", "--json", *url).document["version"] == 1
    compared = ottla("schema", "diff", subject, *url).out
    assert '+      "name": "note"' in compared
    assert "version 2 reads what version 1 wrote" in compared
    assert "version 1 reads what version 2 wrote" in compared
    Path("made.py").unlink(missing_ok=True)
    assert ottla("schema", "codegen", subject, "--out", "made.py", *url).status == 0
    assert "class Order(msgspec.Struct):" in Path("made.py").read_text()


def test_codegen_reads_files(ottla: Ottla) -> None:
    Path("a.proto").write_text('syntax = "proto3"; package p; message A { string x = 1; }')
    made = ottla("schema", "codegen", "a.proto", "--style", "dataclass", "--topic", "as")
    assert '@event("as", namespace="p", format="protobuf")\n@dataclass\nclass A:' in made.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("check", "no_such_module"), "no module no_such_module"),
        (("check", "json"), "json has no events"),
        (("show", "no-such-subject"), "40401"),
        (("list", "--registry-url", "http://127.0.0.1:1"), "no answer from the schema registry"),
    ],
)
def test_what_cannot_be_done_is_told(
    ottla: Ottla, kafka_registry: EmbeddedRegistry, arguments: tuple[str, ...], told: str
) -> None:
    url = () if "--registry-url" in arguments else ("--registry-url", kafka_registry.url)
    outcome = ottla("schema", *arguments, *url)
    assert outcome.status != 0
    assert told in outcome.err
