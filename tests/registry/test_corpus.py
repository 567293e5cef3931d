"""Pairs of schemas with the verdict and its source: may the new schema read what the old one wrote.

Avro's pairs are in `schema_pairs`, JSON Schema's and Protobuf's in `corpus/*.toml`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from ottla.registry.compatibility import Compatibility, check
from ottla.registry.schema import parse
from tests.registry.schema_pairs import PAIRS

CORPUS = Path(__file__).parent / "corpus"


def pairs(name: str) -> list[Any]:
    found = tomllib.loads((CORPUS / f"{name}.toml").read_text("utf-8"))["pair"]
    return [pytest.param(pair, id=pair["name"]) for pair in found]


def verdict(kind: str, pair: dict[str, Any]) -> list[str]:
    found = parse(kind, pair["new"]).incompatibilities(parse(kind, pair["old"]))
    for one in found:
        assert one.path.startswith("#/")
        told = one.sentence("the new schema", "the old schema")
        assert "{" not in told.replace(pair["old"], "").replace(pair["new"], "") or '{"' in told, told
        assert one.path in told
    return [one.kind for one in found]


@pytest.mark.parametrize("pair", pairs("json_schema"))
def test_json_schemas_are_judged_as_confluent_judges_them(pair: dict[str, Any]) -> None:
    assert sorted(verdict("JSON", pair)) == sorted(pair["kinds"])


@pytest.mark.parametrize("pair", pairs("protobuf"))
def test_protobuf_is_judged_as_confluent_judges_it(pair: dict[str, Any]) -> None:
    assert sorted(verdict("PROTOBUF", pair)) == sorted(pair["kinds"])


@pytest.mark.parametrize(("kind", "name"), [("JSON", "json_schema"), ("PROTOBUF", "protobuf")])
def test_forward_is_backward_the_other_way_round(kind: str, name: str) -> None:
    for param in pairs(name):
        pair = param.values[0]
        old, new = parse(kind, pair["old"]), parse(kind, pair["new"])
        backward = check(Compatibility.BACKWARD, new, [(1, old)])
        forward = check(Compatibility.FORWARD, old, [(1, new)])
        full = check(Compatibility.FULL, new, [(1, old)])
        assert [one.reason.kind for one in backward] == [one.reason.kind for one in forward], pair["name"]
        assert bool(full) == bool(backward or check(Compatibility.FORWARD, new, [(1, old)]))


def test_the_corpus_is_large_and_every_pair_names_its_source() -> None:
    every = [param.values[0] for name in ("json_schema", "protobuf") for param in pairs(name)]
    assert len(every) >= 150
    assert len(every) + len(PAIRS) >= 250
    assert all(pair["source"] for pair in every)
    assert len({pair["name"] for pair in every}) >= len(every) - 3


def test_the_lenient_policy_lets_an_open_object_grow() -> None:
    old = parse("JSON", '{"type": "object", "properties": {"a": {"type": "string"}}}')
    new = parse("JSON", '{"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}')
    assert check(Compatibility.BACKWARD, new, [(1, old)])
    assert not check(Compatibility.BACKWARD, new, [(1, old)], lenient=True)


def test_a_chain_of_references_and_a_maze_of_alternatives_come_to_an_end() -> None:
    names = [f"D{n}" for n in range(12)]
    maze = {
        name: {"oneOf": [{"$ref": f"#/definitions/{other}"} for other in names] + [{"type": "string"}]}
        for name in names
    }
    import json

    text = json.dumps({"$ref": "#/definitions/D0", "definitions": maze})
    old, new = parse("JSON", text), parse("JSON", text)
    assert new.incompatibilities(old) == []
