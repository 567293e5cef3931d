"""What is served: every API that clients in use need, each from a file of its own that begins with what it serves."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import ottla.broker.api
from ottla.broker.api.table import HANDLERS, NAMES
from ottla.broker.wire.schema import Api

# What librdkafka 2.0 to 2.16, aiokafka, kafka-python, kafkajs, franz-go and Java's clients 4.x may ask for. Kafka 4 has
# dropped version 0 of the ACL APIs.
NEEDED = """
    0:3-13 1:4-18 2:0-10 3:0-13 18:0-4 23:2-4 60:0-2 75:0-0
    8:0-10 9:0-10 10:0-6 11:0-9 12:0-4 13:0-5 14:0-5 15:0-6 16:0-5 42:0-2 47:0-0 68:0-1 69:0-1
    22:0-5 24:0-5 25:0-4 26:0-5 28:0-5 61:0-0 65:0-0 66:0-2 27:1-2
    19:0-7 20:0-6 21:0-2 32:0-4 33:0-2 44:0-1 37:0-3 35:0-4 43:0-2
    17:0-1 36:0-2 29:1-3 30:1-3 31:1-3 50:0-0 51:0-0 48:0-1 49:0-1
"""
APIS = sorted((api for api, _ in HANDLERS.values()), key=lambda api: api.key)


@pytest.mark.parametrize("needed", NEEDED.split())
def test_every_version_that_clients_need_is_served(needed: str) -> None:
    key, first, last = map(int, re.findall(r"\d+", needed))
    api, _ = HANDLERS[key]
    assert api.versions[0] <= first
    assert last <= api.versions[1]


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_each_api_has_a_file_that_begins_with_its_key_and_versions(api: Api) -> None:
    (name,) = [name for name in NAMES if name.replace("_", "") == api.name.lower()]
    folder = Path(next(iter(ottla.broker.api.__path__)))
    begin = ast.get_docstring(ast.parse((folder / f"{name}.py").read_text("utf-8"))) or ""
    first, last = api.versions
    versions = rf"versions {first} (to|and) {last}" if first != last else f"version {first}"
    assert re.match(rf"{api.name} \({api.key}\), {versions}: ", begin), begin
