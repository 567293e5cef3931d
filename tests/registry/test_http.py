"""The REST API: what each path answers, with Confluent's codes and shapes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from ottla.registry.server.log import EntryTooLarge
from tests.registry.conftest import Http
from tests.registry.memory_log import LATE
from tests.registry.schema_pairs import field, record

STRING, LONG, INT = '"string"', '"long"', '"int"'
V1 = json.dumps(record(field("a", "int")))
V2 = json.dumps(record(field("a", "int"), field("b", "int", default=0)))
BROKEN = json.dumps(record(field("a", "int"), field("b", "int")))


# Registration


def test_a_registration_answers_id_version_and_schema(http: Http) -> None:
    status, answer = http("POST", "/subjects/s/versions", {"schema": '{"type": "string"}'})
    assert status == 200
    assert answer == {
        "id": 1,
        "version": 1,
        "guid": "095d71cf-1255-6b9d-5e33-0ad575b3df5d",  # the MD5 of the text, from md5sum
        "schemaType": "AVRO",
        "schema": STRING,
    }


def test_the_same_schema_with_other_white_space_gets_the_same_id_and_version(http: Http) -> None:
    first = http("POST", "/subjects/s/versions", {"schema": V1})
    again = http("POST", "/subjects/s/versions", {"schema": json.dumps(json.loads(V1), indent=2)})
    assert first == again
    assert len(http.log.entries) == 1


def test_the_same_schema_under_another_subject_keeps_its_id(http: Http) -> None:
    assert http.register("s", V1) == http.register("t", V1)


def test_different_schemas_get_different_ids(http: Http) -> None:
    assert [http.register("s", STRING), http.register("t", LONG), http.register("u", INT)] == [1, 2, 3]


def test_an_incompatible_schema_is_refused_with_the_reason(http: Http) -> None:
    http.register("s", V1)
    status, answer = http("POST", "/subjects/s/versions", {"schema": BROKEN})
    assert (status, answer["error_code"]) == (409, 40901)
    assert 'incompatible with an earlier schema for subject "s"' in answer["message"]
    assert "errorType:'READER_FIELD_MISSING_DEFAULT_VALUE'" in answer["message"]
    assert "the field 'b' at '/fields/1' is in the new schema but not in the old schema" in answer["message"]
    assert "{oldSchemaVersion: 1}" in answer["message"]
    assert "{compatibility: 'BACKWARD'}" in answer["message"]
    assert http("GET", "/subjects/s/versions") == (200, [1])


@pytest.mark.parametrize(
    ("request_body", "reason"),
    [
        ({"schema": "{"}, "not JSON"),
        ({"schema": '{"type":"record","name":"R"}'}, '"fields" is missing'),
        ({"schema": ""}, "the schema is empty"),
        ({}, "the schema is empty"),
        ({"schema": '{"type": 3}', "schemaType": "JSON"}, "at #/type"),
        ({"schema": "[]", "schemaType": "JSON"}, "an object, true or false"),
        ({"schema": '{"$ref": "#/nowhere"}', "schemaType": "JSON"}, "points to nothing"),
        ({"schema": "message A {", "schemaType": "PROTOBUF"}, "line 1"),
        ({"schema": 'import "b.proto";', "schemaType": "PROTOBUF"}, "neither one of the schema's references"),
        ({"schema": STRING, "schemaType": "XML"}, "none of AVRO, JSON, PROTOBUF"),
        (
            {"schema": STRING, "references": [{"name": "a", "subject": "a", "version": 1}]},
            "reference 'a' leads to subject 'a' version 1, which is not there",
        ),
    ],
)
def test_a_schema_that_is_none_is_unprocessable(http: Http, request_body: dict[str, Any], reason: str) -> None:
    status, answer = http("POST", "/subjects/s/versions", request_body)
    assert (status, answer["error_code"]) == (422, 42201)
    assert reason in answer["message"]


def test_references_and_metadata_that_are_empty_or_null_are_accepted(http: Http) -> None:
    http.register("s", STRING, schemaType="AVRO", references=[], metadata=None, ruleSet=None)


def test_a_client_cannot_choose_the_id(http: Http) -> None:
    status, answer = http("POST", "/subjects/s/versions", {"schema": STRING, "id": 77})
    assert (status, answer["error_code"]) == (422, 42205)


def test_a_client_may_say_the_next_version_and_no_other(http: Http) -> None:
    assert http("POST", "/subjects/s/versions", {"schema": STRING, "version": 2})[1]["error_code"] == 42201
    http.register("s", STRING, version=1)
    http.register("t", LONG, version=-1)


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 400), (b"{", 400), (b'{"schema": 3}', 422), (b"[]", 422), (b"\xff", 400)]
)
def test_a_body_of_another_form_is_refused(http: Http, content: bytes, status: int) -> None:
    response = http.client.post("/subjects/s/versions", content=content)
    assert (response.status_code, response.json()["error_code"]) == (status, status)


def test_a_body_without_end_is_refused(http: Http) -> None:
    response = http.client.post("/subjects/s/versions", content=b"x" * (5 * 1024 * 1024))
    assert response.status_code == 413


# Subjects


@pytest.mark.parametrize("subject", ["a/b", "a b", "ä-value", "a?b", "a%2Fb", "orders-shop.OrderCreated"])
def test_a_subject_may_have_any_character(http: Http, subject: str) -> None:
    quoted = quote(subject, safe="")
    http.register(quoted, STRING)
    assert http("GET", "/subjects") == (200, [subject])
    assert http("GET", f"/subjects/{quoted}/versions/1")[1]["subject"] == subject


def test_the_default_context_may_be_written_out(http: Http) -> None:
    http.register(":.:s", STRING)
    assert http("GET", "/subjects/s/versions") == (200, [1])


def test_subjects_are_listed_by_prefix_and_page(http: Http) -> None:
    for subject in ("b2", "a1", "b1"):
        http.register(subject, STRING)
    assert http("GET", "/subjects")[1] == ["a1", "b1", "b2"]
    assert http("GET", "/subjects?subjectPrefix=b")[1] == ["b1", "b2"]
    assert http("GET", "/subjects?subjectPrefix=%3A*%3Ab")[1] == ["b1", "b2"]
    assert http("GET", "/subjects?offset=1&limit=1")[1] == ["b1"]
    assert http("GET", "/subjects/")[1] == ["a1", "b1", "b2"]


def test_an_unknown_subject_is_40401(http: Http) -> None:
    for method, path, body in (
        ("GET", "/subjects/s/versions", None),
        ("GET", "/subjects/s/versions/1", None),
        ("GET", "/subjects/s/versions/latest", None),
        ("GET", "/subjects/s/metadata", None),
        ("POST", "/subjects/s", {"schema": STRING}),
        ("DELETE", "/subjects/s", None),
        ("DELETE", "/subjects/s/versions/1", None),
    ):
        status, answer = http(method, path, body)
        assert (status, answer) == (404, {"error_code": 40401, "message": "Subject 's' not found."}), path


# Versions


def test_a_version_is_read_by_number_and_as_latest(http: Http) -> None:
    http.register("s", V1)
    http.register("s", V2)
    assert http("GET", "/subjects/s/versions") == (200, [1, 2])
    status, first = http("GET", "/subjects/s/versions/1")
    assert (status, first["subject"], first["version"], first["id"], first["schemaType"]) == (200, "s", 1, 1, "AVRO")
    assert json.loads(first["schema"]) == json.loads(V1)
    assert http("GET", "/subjects/s/versions/latest")[1]["version"] == 2
    assert http("GET", "/subjects/s/versions/-1")[1]["version"] == 2
    assert http.raw("GET", "/subjects/s/versions/1/schema").text == first["schema"]


def test_an_unknown_version_is_40402(http: Http) -> None:
    http.register("s", V1)
    assert http("GET", "/subjects/s/versions/7") == (404, {"error_code": 40402, "message": "Version 7 not found."})


@pytest.mark.parametrize("version", ["0", "-2", "first", "2147483648", "1.5"])
def test_a_version_that_is_none_is_42202(http: Http, version: str) -> None:
    http.register("s", V1)
    for method in ("GET", "DELETE"):
        status, answer = http(method, f"/subjects/s/versions/{version}")
        assert (status, answer["error_code"]) == (422, 42202)


def test_a_lookup_finds_the_version_of_a_schema(http: Http) -> None:
    http.register("s", V1)
    http.register("s", V2)
    status, answer = http("POST", "/subjects/s", {"schema": json.dumps(json.loads(V1), indent=1)})
    assert (status, answer["subject"], answer["version"], answer["id"]) == (200, "s", 1, 1)


def test_a_lookup_of_a_schema_that_is_not_there_is_40403(http: Http) -> None:
    http.register("s", V1)
    assert http("POST", "/subjects/s", {"schema": STRING}) == (
        404,
        {"error_code": 40403, "message": "Schema not found"},
    )


# Ids


def test_a_schema_is_read_by_id(http: Http) -> None:
    http.register("s", V1)
    status, answer = http("GET", "/schemas/ids/1")
    assert (status, json.loads(answer["schema"])) == (200, json.loads(V1))
    assert http.raw("GET", "/schemas/ids/1/schema").text == answer["schema"]
    assert http("GET", "/schemas/ids/1?fetchMaxId=true")[1]["maxId"] == 1
    assert http("GET", f"/schemas/guids/{answer['guid']}")[1]["id"] == 1


def test_an_unknown_id_is_40403(http: Http) -> None:
    for path in ("", "/schema", "/subjects", "/versions"):
        status, answer = http("GET", f"/schemas/ids/9{path}")
        assert (status, answer) == (404, {"error_code": 40403, "message": "Schema 9 not found"})
    assert http("GET", "/schemas/ids/x")[0] == 404


def test_an_id_tells_its_subjects_and_versions(http: Http) -> None:
    http.register("t", V1)
    http.register("s", V1)
    assert http("GET", "/schemas/ids/1/subjects") == (200, ["s", "t"])
    assert http("GET", "/schemas/ids/1/versions") == (
        200,
        [{"subject": "s", "version": 1}, {"subject": "t", "version": 1}],
    )


def test_all_schemas_are_listed(http: Http) -> None:
    http.register("s", V1)
    http.register("s", V2)
    http.register("t", V1)
    every = [(found["subject"], found["version"], found["id"]) for found in http("GET", "/schemas")[1]]
    assert every == [("s", 1, 1), ("s", 2, 2), ("t", 1, 1)]
    assert [found["version"] for found in http("GET", "/schemas?latestOnly=true")[1]] == [2, 1]


# The rest


def test_fixed_answers(http: Http) -> None:
    assert http("GET", "/schemas/types") == (200, ["JSON", "PROTOBUF", "AVRO"])
    assert http("GET", "/contexts") == (200, ["."])
    assert http("GET", "/") == (200, {})
    assert http("GET", "/associations/resources/-/orders?resourceType=topic&associationType=value") == (200, [])
    assert http.raw("GET", "/health/live").json() == {"status": "live"}
    assert http.raw("GET", "/health/ready").json() == {"status": "ready"}


def test_an_unknown_path_and_a_wrong_method_are_answered_in_the_same_shape(http: Http) -> None:
    assert http("GET", "/nothing") == (404, {"error_code": 404, "message": "Not Found"})
    assert http("PUT", "/subjects/s") == (405, {"error_code": 405, "message": "Method Not Allowed"})


def test_a_store_that_does_not_answer_is_50002_and_reads_go_on(http: Http) -> None:
    http.register("s", V1)
    http.log.refuse = LATE
    status, answer = http("POST", "/subjects/s/versions", {"schema": V2})
    assert (status, answer["error_code"]) == (500, 50002)
    assert http("GET", "/schemas/ids/1")[0] == 200
    assert http.register("s", V1) == 1  # known already, nothing to write


def test_an_id_whose_write_failed_is_never_given_out_again(http: Http) -> None:
    http.log.refuse = LATE
    http("POST", "/subjects/s/versions", {"schema": V1})
    http.log.refuse = None
    assert http.register("t", STRING) == 2


def test_a_schema_too_large_for_the_store_is_42209(http: Http) -> None:
    http.log.refuse = EntryTooLarge("too large")
    status, answer = http("POST", "/subjects/s/versions", {"schema": V1})
    assert (status, answer["error_code"]) == (422, 42209)


def test_before_the_store_is_read_nothing_is_answered(make_http: Callable[..., Http]) -> None:
    http = make_http()
    http.registry.state._current = None
    status, answer = http("GET", "/subjects")
    assert (status, answer["error_code"]) == (503, 50001)
    assert http.raw("GET", "/health/ready").status_code == 503
