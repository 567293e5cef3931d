"""The topic's record format, and what a registry makes of a topic it did not write alone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from ottla.registry.server.records import Entry, decode
from tests.registry.conftest import Http
from tests.registry.schema_pairs import field, record

V1 = json.dumps(record(field("a", "int")), separators=(",", ":"))


def entry(key: str, value: str | None) -> Entry:
    return Entry(key.encode(), None if value is None else value.encode())


def schema(subject: str, version: int, schema_id: int, text: str, **more: object) -> Entry:
    key = f'{{"keytype":"SCHEMA","subject":"{subject}","version":{version},"magic":1}}'
    value = {"subject": subject, "version": version, "id": schema_id, "schema": text, "deleted": False, **more}
    return entry(key, json.dumps(value))


def test_what_is_written_is_confluents_format_to_the_byte(http: Http) -> None:
    http.register("s", V1)
    http("PUT", "/config", {"compatibility": "FULL"})
    http("PUT", "/config/s", {"compatibility": "NONE"})
    http("DELETE", "/config/s")
    http("PUT", "/mode/s", {"mode": "READWRITE"})
    http("DELETE", "/subjects/s")
    quoted = json.dumps(V1)
    assert http.log.entries == [
        entry(
            '{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}',
            f'{{"subject":"s","version":1,"id":1,"schema":{quoted},"deleted":false}}',
        ),
        entry('{"keytype":"CONFIG","magic":0}', '{"compatibilityLevel":"FULL"}'),
        entry('{"keytype":"CONFIG","subject":"s","magic":0}', '{"subject":"s","compatibilityLevel":"NONE"}'),
        entry('{"keytype":"CONFIG","subject":"s","magic":0}', None),
        entry('{"keytype":"MODE","subject":"s","magic":0}', '{"subject":"s","mode":"READWRITE"}'),
        entry('{"keytype":"DELETE_SUBJECT","subject":"s","magic":0}', '{"subject":"s","version":1}'),
    ]


def test_a_topic_written_by_confluents_registry_is_taken_over(make_http: Callable[..., Http]) -> None:
    http = make_http(
        [
            entry('{"keytype":"NOOP","magic":0}', None),
            entry('{"keytype":"CONFIG","subject":null,"magic":0}', '{"compatibilityLevel":"FORWARD"}'),
            schema("s", 1, 100001, '{ "type": "string" }', md5="Cg==", schemaType="AVRO"),
            schema("s", 2, 100002, '"long"', deleted=True),
            schema("j", 1, 100003, '{"type":"object"}', schemaType="JSON"),
            entry('{"keytype":"DELETE_SUBJECT","subject":"gone","magic":0}', '{"subject":"gone","version":1}'),
            entry('{"keytype":"CONTEXT","tenant":"default","context":".x","magic":0}', '{"tenant":"default"}'),
            entry('{"keytype":"CONFIG","subject":"s","magic":0}', None),
        ]
    )
    assert http("GET", "/subjects")[1] == ["j", "s"]
    assert http("GET", "/config")[1] == {"compatibilityLevel": "FORWARD"}
    assert http("GET", "/subjects/s/versions")[1] == [1]
    assert http("GET", "/schemas/ids/100003")[1]["schemaType"] == "JSON"
    assert http("GET", "/schemas/ids/100001")[1]["schema"] == '{ "type": "string" }'
    assert http.register("s", '"string"') == 100001
    assert http.register("t", '"long"') == 100002
    assert http.register("u", '"int"') == 100004


def test_attributes_of_newer_registries_survive_a_soft_deletion(make_http: Callable[..., Http]) -> None:
    http = make_http([schema("s", 1, 1, '"string"', metadata={"properties": {"owner": "me"}}, md5="Cg==")])
    http("DELETE", "/subjects/s/versions/1")
    assert http.log.entries[-1].value is not None
    kept = json.loads(http.log.entries[-1].value)
    assert (kept["metadata"], kept["md5"], kept["deleted"]) == ({"properties": {"owner": "me"}}, "Cg==", True)


def test_the_latest_version_with_given_metadata_is_found(make_http: Callable[..., Http]) -> None:
    http = make_http(
        [
            schema("s", 1, 1, '"string"', metadata={"properties": {"owner": "me"}}),
            schema("s", 2, 2, '"long"', metadata={"properties": {"owner": "you"}}),
        ]
    )
    assert http("GET", "/subjects/s/metadata?key=owner&value=me")[1]["version"] == 1
    assert http("GET", "/subjects/s/metadata")[1]["version"] == 2
    assert http("GET", "/subjects/s/metadata?key=owner&value=us")[1]["error_code"] == 40403


def test_references_of_another_registrys_schemas_are_told(make_http: Callable[..., Http]) -> None:
    reference = {"name": "S", "subject": "s", "version": 1}
    referred = json.dumps(record(field("a", "int"), name="S"))
    http = make_http([schema("s", 1, 1, referred), schema("t", 1, 2, '"S"', references=[reference])])
    assert http("GET", "/subjects/s/versions/1/referencedby") == (200, [2])
    assert http("GET", "/subjects/t/versions/1")[1]["references"] == [reference]
    assert http("POST", "/subjects/t/versions", {"schema": '"string"'})[1]["error_code"] == 40901
    assert http.register("t", '"S"', references=[reference]) == 2


@pytest.mark.parametrize("key", ["", "x", "[]", "{}", '{"keytype":"SCHEMA"}', '{"keytype":"SCHEMA","subject":"s"}'])
def test_a_record_in_another_format_is_a_value_error(key: str) -> None:
    with pytest.raises(ValueError):
        decode(entry(key, None))


def test_a_record_in_another_format_is_passed_over_and_told(
    make_http: Callable[..., Http], capsys: pytest.CaptureFixture[str]
) -> None:
    http = make_http([entry("rubbish", "x"), schema("s", 1, 1, '"string"')])
    assert http("GET", "/subjects") == (200, ["s"])
    assert "offset 0 is passed over" in capsys.readouterr().err


def test_a_second_writer_that_takes_our_id_is_told_and_our_client_refused(
    http: Http, capsys: pytest.CaptureFixture[str]
) -> None:
    http.log.meanwhile = [schema("other", 1, 1, '"long"')]
    status, answer = http("POST", "/subjects/s/versions", {"schema": '"string"'})
    assert (status, answer["error_code"]) == (500, 50001)
    assert "id 1 stands for two different schemas" in capsys.readouterr().err


def test_a_second_writer_that_overwrites_a_version_is_told(
    make_http: Callable[..., Http], capsys: pytest.CaptureFixture[str]
) -> None:
    make_http([schema("s", 1, 1, '"string"'), schema("s", 1, 2, '"long"')])
    assert "subject s version 1 was id 1 and is now 2" in capsys.readouterr().err
