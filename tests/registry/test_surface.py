"""References, contexts, imports, metadata, configs, formats: the parts of the REST API that fewer clients use."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from ottla.registry.server.resources.openapi import OPERATIONS
from tests.registry.conftest import Http
from tests.registry.schema_pairs import field, record

STRING, LONG = '"string"', '"long"'
ITEM = json.dumps(record(field("sku", "string"), name="Item"))
ORDER = json.dumps(record(field("item", "Item"), name="Order"))
REFERENCE = {"name": "Item", "subject": "item", "version": 1}
PROTO = 'syntax = "proto3";\npackage p;\n\nmessage A {\n  B b = 1;\n  message B {\n    string x = 1;\n  }\n}\n'


# References


def test_a_schema_refers_to_versions_of_other_subjects(http: Http) -> None:
    http.register("item", ITEM)
    order = http.register("order", ORDER, references=[REFERENCE])
    stored = http("GET", "/subjects/order/versions/1")[1]
    assert stored["references"] == [REFERENCE]
    assert json.loads(stored["schema"]) == json.loads(ORDER)
    assert http("GET", f"/schemas/ids/{order}")[1]["references"] == [REFERENCE]
    assert http("GET", "/subjects/item/versions/1/referencedby") == (200, [order])
    resolved = json.loads(http("GET", f"/schemas/ids/{order}?format=resolved")[1]["schema"])
    assert resolved["fields"][0]["type"]["name"] == "Item"
    assert http("POST", "/subjects/order", {"schema": ORDER, "references": [REFERENCE]})[1]["version"] == 1


def test_the_latest_version_may_be_referred_to_and_is_pinned(http: Http) -> None:
    http.register("item", ITEM)
    http.register("order", ORDER, references=[{"name": "Item", "subject": "item", "version": -1}])
    assert http("GET", "/subjects/order/versions/1")[1]["references"] == [REFERENCE]


def test_what_is_referred_to_cannot_be_deleted(http: Http) -> None:
    http.register("item", ITEM)
    http.register("order", ORDER, references=[REFERENCE])
    for path in ("/subjects/item", "/subjects/item/versions/1"):
        status, answer = http("DELETE", path)
        assert (status, answer["error_code"]) == (422, 42206)
        assert "One or more references exist to the schema" in answer["message"]
    http("DELETE", "/subjects/order")
    assert http("DELETE", "/subjects/item") == (200, [1])
    assert http("DELETE", "/subjects/item?permanent=true")[1]["error_code"] == 42206
    assert json.loads(http("GET", "/subjects/order/versions/1?deleted=true")[1]["schema"]) == json.loads(ORDER)
    http("DELETE", "/subjects/order?permanent=true")
    assert http("DELETE", "/subjects/item?permanent=true") == (200, [1])


def test_compatibility_looks_through_references(http: Http) -> None:
    http.register("item", ITEM)
    http.register("order", ORDER, references=[REFERENCE])
    http("PUT", "/config/item", {"compatibility": "NONE"})
    http.register("item", json.dumps(record(field("sku", "long"), name="Item")))
    other = {**REFERENCE, "version": 2}
    status, answer = http("POST", "/subjects/order/versions", {"schema": ORDER, "references": [other]})
    assert (status, answer["error_code"]) == (409, 40901)
    assert "TYPE_MISMATCH" in answer["message"]


# Contexts


def test_a_context_has_subjects_and_ids_of_its_own(http: Http) -> None:
    assert http.register("s", STRING) == 1
    assert http.register(":.team:s", LONG) == 1
    assert http("GET", "/contexts") == (200, [".", ".team"])
    assert http("GET", "/subjects") == (200, [":.team:s", "s"])
    assert http("GET", "/subjects?subjectPrefix=:.team:") == (200, [":.team:s"])
    assert http("GET", "/subjects?subjectPrefix=s") == (200, ["s"])
    assert http("GET", "/schemas/ids/1")[1]["schema"] == STRING
    assert http("GET", "/schemas/ids/1?subject=:.team:")[1]["schema"] == LONG
    assert http("GET", "/schemas/ids/1/versions?subject=:.team:")[1] == [{"subject": ":.team:s", "version": 1}]
    assert http("GET", "/subjects/:.team:s/versions/1")[1]["subject"] == ":.team:s"
    assert http("GET", "/subjects/:.:s/versions/1")[1]["subject"] == "s"


def test_an_id_of_another_context_is_found_by_its_subject(http: Http) -> None:
    http.register(":.team:s", LONG)
    assert http("GET", "/schemas/ids/1")[0] == 404
    assert http("GET", "/schemas/ids/1?subject=s")[1]["schema"] == LONG


def test_a_guid_tells_its_ids_in_all_contexts(http: Http) -> None:
    http.register("a", LONG)
    http.register("s", STRING)
    http.register(":.team:s", STRING)
    guid = http("GET", "/schemas/ids/2")[1]["guid"]
    assert http("GET", f"/schemas/guids/{guid}/ids") == (
        200,
        [{"context": ".", "id": 2}, {"context": ".team", "id": 1}],
    )


def test_references_stay_in_their_context(http: Http) -> None:
    http.register(":.team:item", ITEM)
    http.register(":.team:order", ORDER, references=[REFERENCE])
    assert (
        http("POST", "/subjects/order/versions", {"schema": ORDER, "references": [REFERENCE]})[1]["error_code"] == 42201
    )
    http.register("order", ORDER, references=[{**REFERENCE, "subject": ":.team:item"}])


def test_only_an_empty_context_can_be_deleted(http: Http) -> None:
    http.register(":.team:s", STRING)
    assert http("DELETE", "/contexts/.team")[1]["error_code"] == 42211
    http("DELETE", "/subjects/:.team:s")
    http("DELETE", "/subjects/:.team:s?permanent=true")
    assert http("GET", "/contexts") == (200, [".", ".team"])
    assert http.raw("DELETE", "/contexts/.team").status_code == 204
    assert http("GET", "/contexts") == (200, ["."])


@pytest.mark.parametrize("subject", [":.:", ":.team:", "__GLOBAL", ":.__GLOBAL:s", "a%00b"])
def test_a_subject_that_is_none_is_42208(http: Http, subject: str) -> None:
    status, answer = http("POST", f"/subjects/{subject}/versions", {"schema": STRING})
    assert (status, answer["error_code"]) == (422, 42208)


def test_settings_are_looked_for_in_subject_context_and_all(http: Http) -> None:
    http("PUT", "/config/:.__GLOBAL:", {"compatibility": "FULL"})
    assert http("GET", "/config/:.team:s?defaultToGlobal=true")[1]["compatibilityLevel"] == "FULL"
    assert http("GET", "/config/s?defaultToGlobal=true")[1]["compatibilityLevel"] == "FULL"
    http("PUT", "/config/:.team:", {"compatibility": "NONE"})
    assert http("GET", "/config/:.team:s?defaultToGlobal=true")[1]["compatibilityLevel"] == "NONE"
    http("PUT", "/config", {"compatibility": "FORWARD"})
    assert http("GET", "/config/s?defaultToGlobal=true")[1]["compatibilityLevel"] == "FORWARD"
    assert http("GET", "/config/:.team:s?defaultToGlobal=true")[1]["compatibilityLevel"] == "NONE"
    http("PUT", "/mode/:.team:", {"mode": "READONLY"})
    assert http("POST", "/subjects/:.team:s/versions", {"schema": STRING})[1]["error_code"] == 42205
    http.register("s", STRING)
    http("PUT", "/mode/:.team:t", {"mode": "READWRITE"})
    assert http("DELETE", "/mode/:.team:?recursive=true") == (200, {"mode": "READONLY"})
    assert http("GET", "/mode/:.team:t")[1]["error_code"] == 40409


# Imports


def test_an_import_says_id_and_version(http: Http) -> None:
    assert http("PUT", "/mode/s", {"mode": "IMPORT"}) == (200, {"mode": "IMPORT"})
    status, answer = http("POST", "/subjects/s/versions", {"schema": STRING, "id": 100, "version": 7})
    assert (status, answer["id"], answer["version"]) == (200, 100, 7)
    http("POST", "/subjects/s/versions", {"schema": LONG, "id": 90, "version": 3})  # no compatibility is asked for
    assert http("GET", "/subjects/s/versions") == (200, [3, 7])
    assert http("POST", "/subjects/s/versions", {"schema": '"int"'})[1]["error_code"] == 42205
    assert http("POST", "/subjects/s/versions", {"schema": '"int"', "id": 100, "version": 8})[1]["error_code"] == 42207
    http("PUT", "/mode/s", {"mode": "READWRITE"})
    http.register("t", '"double"')
    assert http("GET", "/subjects/t/versions/1")[1]["id"] == 101


def test_importing_needs_an_empty_subject_unless_forced(http: Http) -> None:
    http.register("s", STRING)
    for path in ("/mode/s", "/mode"):
        assert http("PUT", path, {"mode": "IMPORT"})[1]["error_code"] == 42205
    assert http("PUT", "/mode/s?force=true", {"mode": "IMPORT"})[0] == 200
    http("PUT", "/mode/s", {"mode": "READWRITE"})
    http("DELETE", "/subjects/s")
    assert http("PUT", "/mode/s", {"mode": "IMPORT"})[0] == 200
    assert http("GET", "/subjects?deleted=true") == (200, [])
    assert http.register("t", LONG) == 2  # what was cleared keeps its id


def test_forward_is_for_all_contexts_only(http: Http) -> None:
    assert http("PUT", "/mode/s", {"mode": "FORWARD"})[1]["error_code"] == 42204
    assert http("PUT", "/mode/:.__GLOBAL:", {"mode": "FORWARD"}) == (200, {"mode": "FORWARD"})
    assert http("POST", "/subjects/s/versions", {"schema": STRING})[1]["error_code"] == 42205
    assert http("POST", "/subjects/s/versions", {"schema": STRING, "id": 5, "version": 1})[0] == 200


# Metadata, rules, configs


def test_metadata_and_rules_are_stored_and_make_another_schema(http: Http) -> None:
    metadata = {"properties": {"owner": "team"}, "tags": {"a": ["PII"]}, "sensitive": ["s"]}
    rules = {"domainRules": [{"name": "r", "kind": "CONDITION", "type": "CEL", "mode": "WRITE", "expr": "true"}]}
    plain = http.register("s", STRING)
    told = http.register("s", STRING, metadata=metadata, ruleSet=rules)
    assert told != plain
    stored = http("GET", "/subjects/s/versions/2")[1]
    assert (stored["metadata"], stored["ruleSet"]) == (metadata, rules)
    assert http("GET", "/subjects/s/metadata?key=owner&value=team")[1]["version"] == 2
    assert http("GET", "/subjects/s/metadata?key=owner&value=nobody")[1]["error_code"] == 40403
    assert http.register("s", STRING) == told  # what the version before has is taken over
    guid = hashlib.md5(b'"string"' + b"\x01" + b"aPII" + b"ownerteam" + b"s" + b"\x01" + b"rCONDITIONWRITECELtrue")
    assert stored["guid"] == str(uuid.UUID(bytes=guid.digest()))


@pytest.mark.parametrize(
    "rules",
    [
        {"domainRules": [{"type": "CEL"}]},
        {"domainRules": [{"name": "r"}]},
        {"domainRules": [{"name": "r", "type": "CEL"}, {"name": "r", "type": "CEL"}]},
        {"domainRules": [{"name": "r", "type": "CEL", "mode": "UPGRADE"}]},
        {"migrationRules": [{"name": "r", "type": "CEL", "mode": "WRITE"}]},
    ],
)
def test_rules_that_are_none_are_42210(http: Http, rules: dict[str, Any]) -> None:
    assert http("POST", "/subjects/s/versions", {"schema": STRING, "ruleSet": rules})[1]["error_code"] == 42210
    assert http("PUT", "/config/s", {"defaultRuleSet": rules})[1]["error_code"] == 42210


def test_a_config_keeps_what_a_change_does_not_name(http: Http) -> None:
    assert http("PUT", "/config/s", {"compatibility": "FULL", "normalize": True})[1] == {
        "compatibility": "FULL",
        "normalize": True,
    }
    http("PUT", "/config/s", {"compatibilityGroup": "major"})
    assert http("GET", "/config/s")[1] == {
        "compatibilityLevel": "FULL",
        "normalize": True,
        "compatibilityGroup": "major",
    }
    http("PUT", "/config/s", {"normalize": None})
    assert "normalize" not in http("GET", "/config/s")[1]


def test_only_versions_of_the_same_group_must_be_compatible(http: Http) -> None:
    http("PUT", "/config/s", {"compatibilityGroup": "major"})
    http.register("s", STRING, metadata={"properties": {"major": "1"}})
    http.register("s", LONG, metadata={"properties": {"major": "2"}})
    status, _answer = http(
        "POST", "/subjects/s/versions", {"schema": '"int"', "metadata": {"properties": {"major": "1"}}}
    )
    assert status == 409


def test_the_config_adds_metadata(http: Http) -> None:
    http("PUT", "/config/s", {"defaultMetadata": {"properties": {"a": "1", "b": "1"}}})
    http("PUT", "/config/s", {"overrideMetadata": {"properties": {"c": "3"}}})
    http.register("s", STRING, metadata={"properties": {"b": "2", "c": "2"}})
    stored = http("GET", "/subjects/s/versions/1")[1]
    assert stored["metadata"]["properties"] == {"a": "1", "b": "2", "c": "3"}


def test_an_alias_stands_for_another_subject(http: Http) -> None:
    http.register("long-name", STRING)
    http("PUT", "/config/short", {"alias": "long-name"})
    assert http("GET", "/subjects/short/versions/latest")[1]["subject"] == "long-name"
    assert http("GET", "/subjects/short/versions") == (200, [1])
    assert http("POST", "/subjects/short", {"schema": STRING})[1]["version"] == 1


# Formats and types


def test_json_schemas_that_mean_the_same_are_one_with_normalize(http: Http) -> None:
    one, other = '{"type": "object", "title": "A"}', '{"title":"A","type":"object"}'
    assert http.register("s", one, schemaType="JSON") != http.register("s", other, schemaType="JSON")
    body = {"schema": one, "schemaType": "JSON"}
    first = http("POST", "/subjects/n/versions?normalize=true", body)[1]
    again = http("POST", "/subjects/n/versions?normalize=true", {**body, "schema": other})[1]
    assert first["id"] == again["id"]
    http("PUT", "/config/m", {"normalize": True})
    http.register("m", one, schemaType="JSON")
    http.register("m", other, schemaType="JSON")
    assert http("GET", "/subjects/m/versions") == (200, [1])


def test_protobuf_is_taken_and_given_as_text_and_as_a_descriptor(http: Http) -> None:
    text = http.register("s", PROTO, schemaType="PROTOBUF")
    assert http("GET", f"/schemas/ids/{text}")[1]["schema"] == PROTO
    encoded = http("GET", f"/schemas/ids/{text}?format=serialized")[1]["schema"]
    descriptor = FileDescriptorProto.FromString(base64.b64decode(encoded))
    assert descriptor.message_type[0].field[0].type_name == ".p.A.B"
    assert http("GET", "/subjects/s/versions/1?format=serialized")[1]["schema"] == encoded
    assert http.register("t", encoded, schemaType="PROTOBUF") > 0
    assert "message A {" in http("GET", "/subjects/t/versions/1")[1]["schema"]
    body = {"schema": encoded, "schemaType": "PROTOBUF"}
    assert http("POST", "/subjects/t", body)[1]["version"] == 1


def test_a_subject_keeps_its_schema_type(http: Http) -> None:
    http.register("s", STRING)
    status, answer = http("POST", "/subjects/s/versions", {"schema": "{}", "schemaType": "JSON"})
    assert (status, answer["error_code"]) == (409, 40901)
    assert "a subject keeps its schema type" in answer["message"]


# The rest


def test_making_an_association_is_refused_in_words(http: Http) -> None:
    status, answer = http("POST", "/associations", {"resourceName": "orders"})
    assert (status, answer["error_code"]) == (422, 42212)
    assert http("GET", "/associations/subjects/s") == (200, [])


def test_the_openapi_document_names_every_path_and_the_page_loads_nothing(http: Http) -> None:
    document = http.raw("GET", "/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert {(method, path) for path, methods in document["paths"].items() for method in methods} == set(OPERATIONS)
    for method, path in OPERATIONS:
        if method == "get":
            response = http.raw("GET", re.sub(r"{\w+}", "1", path))
            assert response.status_code in (200, 404), path
            assert response.json() != {"error_code": 404, "message": "Not Found"}, path
    page = http.raw("GET", "/docs").text
    assert not re.search(r'(src|href)="https?:', page)
    assert "/subjects/{subject}/versions" in page


def test_everything_is_there_again_after_a_restart(http: Http, make_http: Callable[..., Http]) -> None:
    http.register("item", ITEM)
    http.register("order", ORDER, references=[REFERENCE], metadata={"properties": {"a": "b"}})
    http.register(":.team:p", PROTO, schemaType="PROTOBUF")
    http("PUT", "/config/s", {"compatibility": "FULL", "normalize": True})
    http("PUT", "/mode/:.team:", {"mode": "READONLY"})
    again = make_http(http.log.entries)
    for path in ("/schemas", "/contexts", "/config/s", "/mode/:.team:", "/schemas/ids/1?subject=:.team:"):
        assert again("GET", path) == http("GET", path)
    assert again.register("order", ORDER, references=[REFERENCE]) == 2


def test_without_the_extras_their_schema_types_are_refused_with_what_to_install() -> None:
    program = """
import sys
sys.modules["google"] = sys.modules["google.protobuf"] = sys.modules["jsonschema"] = None
from starlette.testclient import TestClient
from ottla.errors import DecodeError, EventDefinitionError
from ottla.registry.server.app import create_app
from ottla.registry.server.registry import Registry
from ottla.serde.formats import format_named, format_of_kind
from tests.registry.memory_log import MemoryLog
registry = Registry(MemoryLog())
registry.state.start()
client = TestClient(create_app(registry))
assert client.get("/schemas/types").json() == ["AVRO"]
assert client.post("/subjects/s/versions", json={"schema": '"string"'}).status_code == 200
for kind, extra in (("JSON", "jsonschema"), ("PROTOBUF", "protobuf")):
    answer = client.post("/subjects/t/versions", json={"schema": "{}", "schemaType": kind}).json()
    assert answer["error_code"] == 42201 and f"pip install 'ottla[{extra}]'" in answer["message"], answer
for failing in (lambda: format_named("protobuf"), lambda: format_of_kind("PROTOBUF")):
    try:
        failing()
    except (EventDefinitionError, DecodeError) as error:
        assert "ottla[protobuf]" in str(error)
    else:
        raise AssertionError
"""
    done = subprocess.run(
        [sys.executable, "-c", program], text=True, capture_output=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
