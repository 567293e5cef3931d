"""Confluent's REST API, the same requests to our registry and to the Apicurio Registry.

Where they differ, `DIFFERENCES` says how and why ours is as it is; docs/registry.md has the list for readers.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from ottla.errors import ServerFailed
from ottla.registry import RegistryClient
from ottla.testing import EmbeddedBroker, EmbeddedRegistry
from ottla.testing.plugin import show_log_on_failure
from tests.conftest import IN_CI, USED
from tests.servers.apicurio import Apicurio, java

V1 = json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]})
V2 = json.dumps(
    {
        "type": "record",
        "name": "R",
        "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "int", "default": 0}],
    }
)
BROKEN = json.dumps(
    {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}]}
)
PROTO_1 = 'syntax = "proto3";\npackage p;\n\nmessage A {\n  string x = 1;\n}\n'
PROTO_2 = PROTO_1.replace("}", "  string y = 2;\n}")
PROTO_BROKEN = PROTO_1.replace("string x", "int32 x")
JSON_1 = json.dumps({"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": False})
JSON_2 = JSON_1.replace('{"x"', '{"y": {"type": "integer"}, "x"')
JSON_BROKEN = JSON_1.replace('"string"', '"integer"')

DIFFERENCES = {
    "incompatible": ((409, 40901), (409, 409), "Confluent's code is 40901; clients look at it"),
    "bad version": ((422, 42202), (404, 40402), "Confluent says that 'x' is no version, Apicurio that it is not there"),
    "bad mode": ((422, 42204), (422, 42201), "Confluent has a code of its own for modes"),
    "not soft deleted": ((404, 40405), (409, 40405), "the codes begin with their HTTP status at Confluent's"),
    "soft deleted": ((404, 40406), (409, 40406), "the codes begin with their HTTP status at Confluent's"),
    "no config": ((404, 40408), (200, None), "Apicurio answers NONE for a subject without config"),
    "contexts": ([".", ], [":.:"], "Confluent names the default context '.'"),
}  # fmt: skip


class Api:
    """Requests to a registry, answered with (status, JSON)."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=15)

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        response = self._http.request(method, path, json=body, headers=headers)
        return response.status_code, response.json()

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, int | None]:
        """Status and error code."""
        status, answer = self(method, path, body)
        return status, answer.get("error_code")

    def expected(self, what: str) -> Any:
        """What this server answers where the two differ."""
        ours, theirs, _why = DIFFERENCES[what]
        return ours if self.kind == "ottla" else theirs


@pytest.fixture(scope="module", params=["ottla", "apicurio"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    if request.param == "ottla":
        kafka: EmbeddedBroker = request.getfixturevalue("kafka")
        with EmbeddedRegistry(kafka.bootstrap_servers) as started:
            show_log_on_failure(request.config, started)
            yield request.param, started.url
        return
    try:
        java()
    except ServerFailed as failure:
        pytest.skip(str(failure))  # Java 21 is not in every system that CI runs on
    try:
        apicurio = Apicurio()
    except ServerFailed as failure:
        if IN_CI:
            pytest.fail(f"CI=true, and so this is not optional: {failure}", pytrace=False)
        pytest.skip(str(failure))
    with apicurio:
        show_log_on_failure(request.config, apicurio)
        yield request.param, apicurio.url


@pytest.fixture
def api(request: pytest.FixtureRequest, server: tuple[str, str]) -> Api:
    request.node.user_properties.append((USED, f"{server[0]} registry"))
    made = Api(*server)
    made("PUT", "/config", {"compatibility": "BACKWARD"})
    return made


@pytest.fixture
def subject() -> str:
    return f"s-{uuid.uuid4().hex[:10]}"


SCHEMAS = {
    "AVRO": (V1, V2, BROKEN),
    "JSON": (JSON_1, JSON_2, JSON_BROKEN),
    "PROTOBUF": (PROTO_1, PROTO_2, PROTO_BROKEN),
}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_schemas_are_registered_looked_up_and_read(api: Api, subject: str, kind: str) -> None:
    first, second, _broken = SCHEMAS[kind]
    body = {"schema": first, "schemaType": kind}
    status, answer = api("POST", f"/subjects/{subject}/versions", body)
    assert status == 200
    schema_id = answer["id"]
    assert api("POST", f"/subjects/{subject}/versions", body)[1]["id"] == schema_id
    other = f"{subject}-other"
    assert api("POST", f"/subjects/{other}/versions", body)[1]["id"] == schema_id
    assert api("POST", f"/subjects/{subject}", body)[1]["version"] == 1
    assert api("POST", f"/subjects/{subject}/versions", {"schema": second, "schemaType": kind})[1]["id"] != schema_id
    assert api("GET", f"/subjects/{subject}/versions") == (200, [1, 2])
    read = api("GET", f"/subjects/{subject}/versions/1")[1]
    assert (read["subject"], read["version"], read["id"]) == (subject, 1, schema_id)
    assert read.get("schemaType", "AVRO") == kind
    by_id = api("GET", f"/schemas/ids/{schema_id}")[1]
    if kind != "PROTOBUF":
        assert json.loads(by_id["schema"]) == json.loads(first)
    assert api("GET", f"/subjects/{subject}/versions/latest")[1]["version"] == 2
    held = api("GET", f"/schemas/ids/{schema_id}/versions")[1]
    assert {"subject": subject, "version": 1} in [{k: one[k] for k in ("subject", "version")} for one in held]
    assert {subject, other} <= set(api("GET", f"/schemas/ids/{schema_id}/subjects")[1])
    assert {subject, other} <= set(api("GET", "/subjects")[1])


@pytest.mark.parametrize("kind", SCHEMAS)
def test_an_incompatible_schema_is_refused(api: Api, subject: str, kind: str) -> None:
    first, second, broken = SCHEMAS[kind]
    api("POST", f"/subjects/{subject}/versions", {"schema": first, "schemaType": kind})
    path = f"/compatibility/subjects/{subject}/versions/latest"
    assert api("POST", path, {"schema": second, "schemaType": kind})[1]["is_compatible"] is True
    assert api("POST", path, {"schema": broken, "schemaType": kind})[1]["is_compatible"] is False
    refused = api.refused("POST", f"/subjects/{subject}/versions", {"schema": broken, "schemaType": kind})
    assert refused == api.expected("incompatible")
    assert api("PUT", f"/config/{subject}", {"compatibility": "NONE"})[0] == 200
    assert api("POST", f"/subjects/{subject}/versions", {"schema": broken, "schemaType": kind})[0] == 200


def test_what_is_not_there_has_confluents_codes(api: Api, subject: str) -> None:
    assert api.refused("GET", f"/subjects/{subject}/versions") == (404, 40401)
    assert api.refused("GET", f"/subjects/{subject}/versions/1") == (404, 40401)
    assert api.refused("POST", f"/subjects/{subject}", {"schema": V1}) == (404, 40401)
    assert api.refused("DELETE", f"/subjects/{subject}") == (404, 40401)
    assert api.refused("GET", "/schemas/ids/99999999") == (404, 40403)
    api("POST", f"/subjects/{subject}/versions", {"schema": V1})
    assert api.refused("GET", f"/subjects/{subject}/versions/9") == (404, 40402)
    assert api.refused("GET", f"/subjects/{subject}/versions/x") == api.expected("bad version")
    assert api.refused("POST", f"/subjects/{subject}", {"schema": '"string"'}) == (404, 40403)


def test_what_is_no_schema_level_or_mode_has_confluents_codes(api: Api, subject: str) -> None:
    assert api.refused("POST", f"/subjects/{subject}/versions", {"schema": "{"}) == (422, 42201)
    assert api.refused("PUT", f"/config/{subject}", {"compatibility": "SOMETIMES"}) == (422, 42203)
    assert api.refused("PUT", "/mode", {"mode": "SLOW"}) == api.expected("bad mode")


def test_levels_are_set_read_and_deleted(api: Api, subject: str) -> None:
    api("POST", f"/subjects/{subject}/versions", {"schema": V1})
    assert api("GET", "/config")[1]["compatibilityLevel"] == "BACKWARD"
    status, answer = api("GET", f"/config/{subject}")
    assert (status, answer.get("error_code")) == api.expected("no config")
    assert api("GET", f"/config/{subject}?defaultToGlobal=true")[1]["compatibilityLevel"] == "BACKWARD"
    for level in ("NONE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE", "BACKWARD_TRANSITIVE"):
        assert api("PUT", f"/config/{subject}", {"compatibility": level})[1]["compatibility"] == level
        assert api("GET", f"/config/{subject}")[1]["compatibilityLevel"] == level
    assert api("DELETE", f"/config/{subject}")[1]["compatibilityLevel"] == "BACKWARD_TRANSITIVE"
    assert api("GET", "/mode") == (200, {"mode": "READWRITE"})


def test_versions_are_deleted_softly_first_and_then_for_good(api: Api, subject: str) -> None:
    for schema in (V1, V2):
        api("POST", f"/subjects/{subject}/versions", {"schema": schema})
    path = f"/subjects/{subject}/versions/1"
    assert api.refused("DELETE", f"/subjects/{subject}?permanent=true") == api.expected("not soft deleted")
    assert api("DELETE", path) == (200, 1)
    assert api.refused("DELETE", path) == api.expected("soft deleted")
    assert api("GET", f"/subjects/{subject}/versions") == (200, [2])
    assert api("GET", f"/subjects/{subject}/versions?deleted=true") == (200, [1, 2])
    assert api("DELETE", f"{path}?permanent=true") == (200, 1)
    assert api("DELETE", f"/subjects/{subject}") == (200, [2])
    assert subject not in api("GET", "/subjects")[1]
    assert subject in api("GET", "/subjects?deleted=true")[1]
    assert api("DELETE", f"/subjects/{subject}?permanent=true")[0] == 200
    assert subject not in api("GET", "/subjects?deleted=true")[1]


def test_references_are_kept_and_protect_what_they_refer_to(api: Api, subject: str) -> None:
    item = f"{subject}-item"
    client = SchemaRegistryClient({"url": api.url})
    client.register_schema(item, Schema('syntax = "proto3"; package p; message Item { string sku = 1; }', "PROTOBUF"))
    text = 'syntax = "proto3"; package p; import "item.proto"; message Order { Item item = 1; }'
    schema_id = client.register_schema(subject, Schema(text, "PROTOBUF", [SchemaReference("item.proto", item, 1)]))
    latest = client.get_latest_version(subject)
    assert [(one.name, one.subject, one.version) for one in latest.schema.references] == [("item.proto", item, 1)]
    assert client.get_referenced_by(item, 1) == [schema_id]
    with pytest.raises(SchemaRegistryError) as refused:
        client.delete_version(item, 1)
    assert (refused.value.http_status_code, refused.value.error_code) == (422, 42206)
    with pytest.raises(SchemaRegistryError) as refused:
        client.register_schema(f"{subject}-x", Schema(text, "PROTOBUF", [SchemaReference("item.proto", "nowhere", 1)]))
    assert refused.value.http_status_code == 422


def test_types_and_contexts_are_listed(api: Api) -> None:
    assert sorted(api("GET", "/schemas/types")[1]) == ["AVRO", "JSON", "PROTOBUF"]
    assert api.expected("contexts")[0] in api("GET", "/contexts")[1]


def test_ottlas_own_client_works_with_it(api: Api, subject: str) -> None:
    client = RegistryClient(api.url)
    client.ping()
    schema_id = client.register(subject, V1)
    assert client.lookup(subject, V1) == schema_id
    assert json.loads(client.schema(schema_id)) == json.loads(V1)
    assert client.registered(schema_id).kind == "AVRO"
    assert client.versions(subject) == [1]
    assert client.level(subject) == "BACKWARD"
    assert client.compatible(subject, V2) == []
    assert client.compatible(subject, BROKEN)
    proto = client.register(f"{subject}-p", PROTO_1, "PROTOBUF")
    assert client.registered(proto).kind == "PROTOBUF"


def test_every_difference_is_in_the_documentation() -> None:
    text = Path(__file__).parents[2].joinpath("docs/registry.md").read_text("utf-8")
    for what in DIFFERENCES:
        assert f"| {what} |" in text
