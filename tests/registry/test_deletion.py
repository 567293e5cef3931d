"""Soft and permanent deletion, of versions and of subjects."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.registry.conftest import Http
from tests.registry.schema_pairs import field, record

V1 = json.dumps(record(field("a", "int")))
V2 = json.dumps(record(field("a", "int"), field("b", "int", default=0)))
V3 = json.dumps(record(field("a", "int"), field("b", "int", default=0), field("c", "int", default=0)))


def three(http: Http) -> None:
    for schema in (V1, V2, V3):
        http.register("s", schema)


def code(answer: tuple[int, dict[str, object]]) -> tuple[int, object]:
    return answer[0], answer[1]["error_code"]


def test_a_version_deleted_softly_is_hidden_but_readable_by_id(http: Http) -> None:
    three(http)
    assert http("DELETE", "/subjects/s/versions/2") == (200, 2)
    assert http("GET", "/subjects/s/versions") == (200, [1, 3])
    assert code(http("GET", "/subjects/s/versions/2")) == (404, 40402)
    assert http("GET", "/subjects/s/versions/2?deleted=true")[1]["deleted"] is True
    assert http("GET", "/subjects/s/versions?deleted=true") == (200, [1, 2, 3])
    assert http("GET", "/subjects/s/versions?deletedOnly=true") == (200, [2])
    assert http("GET", "/schemas/ids/2")[0] == 200
    assert http("GET", "/schemas/ids/2/versions") == (200, [])


def test_latest_can_be_deleted(http: Http) -> None:
    three(http)
    assert http("DELETE", "/subjects/s/versions/latest") == (200, 3)
    assert http("GET", "/subjects/s/versions/latest")[1]["version"] == 2


def test_a_version_is_deleted_for_good_only_after_it_was_deleted_softly(http: Http) -> None:
    three(http)
    assert code(http("DELETE", "/subjects/s/versions/2?permanent=true")) == (404, 40407)
    http("DELETE", "/subjects/s/versions/2")
    assert code(http("DELETE", "/subjects/s/versions/2")) == (404, 40406)
    assert http("DELETE", "/subjects/s/versions/2?permanent=true") == (200, 2)
    assert http("GET", "/subjects/s/versions?deleted=true") == (200, [1, 3])
    assert code(http("GET", "/schemas/ids/2")) == (404, 40403)
    assert code(http("DELETE", "/subjects/s/versions/2")) == (404, 40402)


def test_a_subject_deleted_softly_is_hidden_but_readable_by_id(http: Http) -> None:
    three(http)
    assert http("DELETE", "/subjects/s") == (200, [1, 2, 3])
    assert http("GET", "/subjects") == (200, [])
    assert http("GET", "/subjects?deleted=true") == (200, ["s"])
    assert http("GET", "/subjects?deletedOnly=true") == (200, ["s"])
    assert code(http("GET", "/subjects/s/versions")) == (404, 40401)
    assert http("GET", "/schemas/ids/1")[0] == 200
    assert code(http("POST", "/subjects/s", {"schema": V1})) == (404, 40401)
    assert http("POST", "/subjects/s?deleted=true", {"schema": V1})[1]["version"] == 1


def test_a_subject_is_deleted_for_good_only_after_it_was_deleted_softly(http: Http) -> None:
    three(http)
    assert code(http("DELETE", "/subjects/s?permanent=true")) == (404, 40405)
    http("DELETE", "/subjects/s")
    assert code(http("DELETE", "/subjects/s")) == (404, 40404)
    assert http("DELETE", "/subjects/s?permanent=true") == (200, [1, 2, 3])
    assert code(http("DELETE", "/subjects/s?permanent=true")) == (404, 40401)
    assert http("GET", "/subjects?deleted=true") == (200, [])


def test_a_schema_registered_again_after_a_soft_deletion_gets_its_id_and_a_new_version(http: Http) -> None:
    three(http)
    http("DELETE", "/subjects/s")
    status, answer = http("POST", "/subjects/s/versions", {"schema": V1})
    assert (status, answer["id"], answer["version"]) == (200, 1, 4)
    assert http("GET", "/subjects/s/versions?deleted=true") == (200, [2, 3, 4])


def test_deleted_versions_do_not_count_for_compatibility(http: Http) -> None:
    http.register("s", V1)
    http("DELETE", "/subjects/s")
    http.register("s", '"string"')


def test_an_id_deleted_for_good_is_never_given_out_again_even_after_compaction(
    http: Http, make_http: Callable[..., Http]
) -> None:
    three(http)
    http("DELETE", "/subjects/s")
    http("DELETE", "/subjects/s?permanent=true")
    # What compaction leaves: the last record of each key, and no tombstones.
    last = {entry.key: entry for entry in http.log.entries}
    compacted = make_http([entry for entry in last.values() if entry.value is not None])
    assert compacted("GET", "/subjects?deleted=true") == (200, [])
    assert compacted.register("t", '"string"') == 4


def test_a_subject_deleted_for_good_forgets_its_level_and_mode(http: Http) -> None:
    http.register("s", V1)
    http("PUT", "/config/s", {"compatibility": "NONE"})
    http("PUT", "/mode/s", {"mode": "READWRITE"})
    http("DELETE", "/subjects/s")
    http("DELETE", "/subjects/s?permanent=true")
    assert code(http("GET", "/config/s")) == (404, 40408)
    assert code(http("GET", "/mode/s")) == (404, 40409)
