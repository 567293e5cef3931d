"""/config, /mode and /compatibility."""

from __future__ import annotations

import json

import pytest

from ottla.registry.compatibility import Compatibility
from tests.registry.conftest import Http
from tests.registry.schema_pairs import field, record

V1 = json.dumps(record(field("a", "int")))
V2 = json.dumps(record(field("a", "int"), field("b", "int", default=0)))
BROKEN = json.dumps(record(field("a", "int"), field("b", "int")))


def test_the_level_is_asked_for_and_answered_under_different_names(http: Http) -> None:
    assert http("GET", "/config") == (200, {"compatibilityLevel": "BACKWARD"})
    assert http("PUT", "/config", {"compatibility": "full"}) == (200, {"compatibility": "FULL"})
    assert http("GET", "/config") == (200, {"compatibilityLevel": "FULL"})
    assert http("DELETE", "/config") == (200, {"compatibilityLevel": "FULL"})
    assert http("GET", "/config") == (200, {"compatibilityLevel": "BACKWARD"})


def test_a_subject_has_a_level_of_its_own_only_once_it_is_set(http: Http) -> None:
    assert http("GET", "/config/s")[1]["error_code"] == 40408
    assert http("DELETE", "/config/s")[1]["error_code"] == 40401
    assert http("GET", "/config/s?defaultToGlobal=true") == (200, {"compatibilityLevel": "BACKWARD"})
    assert http("PUT", "/config/s", {"compatibility": "NONE"}) == (200, {"compatibility": "NONE"})
    assert http("GET", "/config/s") == (200, {"compatibilityLevel": "NONE"})
    assert http("GET", "/config") == (200, {"compatibilityLevel": "BACKWARD"})
    assert http("DELETE", "/config/s") == (200, {"compatibilityLevel": "NONE"})


@pytest.mark.parametrize(
    "body", [{"compatibility": "SOMETIMES"}, {"compatibility": 3}, {}, {"nickname": "t"}, {"alias": 3}]
)
def test_a_level_that_is_none_is_42203(http: Http, body: dict[str, object]) -> None:
    status, answer = http("PUT", "/config", body)
    assert (status, answer["error_code"]) == (422, 42203)


@pytest.mark.parametrize("level", list(Compatibility))
def test_registration_follows_the_level(http: Http, level: Compatibility) -> None:
    http("PUT", "/config/s", {"compatibility": level})
    http.register("s", V1)
    status, _ = http("POST", "/subjects/s/versions", {"schema": BROKEN})
    assert status == (409 if level.new_reads_old else 200)


def test_the_level_for_all_holds_where_a_subject_has_none(http: Http) -> None:
    http("PUT", "/config", {"compatibility": "NONE"})
    http.register("s", V1)
    http.register("s", '"string"')


def test_a_schema_is_compared_without_being_registered(http: Http) -> None:
    http.register("s", V1)
    for path in ("/compatibility/subjects/s/versions", "/compatibility/subjects/s/versions/latest"):
        assert http("POST", path, {"schema": V2}) == (200, {"is_compatible": True})
        assert http("POST", path, {"schema": BROKEN}) == (200, {"is_compatible": False})
        assert http("POST", f"{path}?verbose=true", {"schema": V2}) == (200, {"is_compatible": True, "messages": []})
        messages = http("POST", f"{path}?verbose=True", {"schema": BROKEN})[1]["messages"]
        assert "READER_FIELD_MISSING_DEFAULT_VALUE" in messages[0]
    assert http("GET", "/subjects/s/versions") == (200, [1])


def test_a_comparison_may_name_an_older_version(http: Http) -> None:
    http("PUT", "/config/s", {"compatibility": "NONE"})
    http.register("s", '"string"')
    http.register("s", V1)
    http("PUT", "/config/s", {"compatibility": "BACKWARD"})
    path = "/compatibility/subjects/s/versions"
    assert http("POST", f"{path}/1", {"schema": V2})[1]["is_compatible"] is False
    assert http("POST", f"{path}/2", {"schema": V2})[1]["is_compatible"] is True
    assert http("POST", f"{path}/9", {"schema": V2})[1]["error_code"] == 40402
    assert http("POST", path, {"schema": V2})[1]["is_compatible"] is True


def test_anything_is_compatible_with_a_subject_that_does_not_exist(http: Http) -> None:
    assert http("POST", "/compatibility/subjects/s/versions", {"schema": V1}) == (200, {"is_compatible": True})
    assert http("POST", "/compatibility/subjects/s/versions/latest", {"schema": V1}) == (200, {"is_compatible": True})


def test_comparing_what_is_no_schema_is_42201_or_a_message(http: Http) -> None:
    path = "/compatibility/subjects/s/versions"
    assert http("POST", path, {"schema": "{"})[1]["error_code"] == 42201
    status, answer = http("POST", f"{path}?verbose=true", {"schema": "{"})
    assert (status, answer["is_compatible"], len(answer["messages"])) == (200, False, 1)


def test_modes_are_set_for_all_and_for_a_subject(http: Http) -> None:
    assert http("GET", "/mode") == (200, {"mode": "READWRITE"})
    assert http("GET", "/mode/s")[1]["error_code"] == 40409
    assert http("GET", "/mode/s?defaultToGlobal=true") == (200, {"mode": "READWRITE"})
    assert http("PUT", "/mode/s?force=False", {"mode": "readonly"}) == (200, {"mode": "READONLY"})
    assert http("GET", "/mode/s") == (200, {"mode": "READONLY"})
    assert http("DELETE", "/mode/s") == (200, {"mode": "READONLY"})
    assert http("DELETE", "/mode/s")[1]["error_code"] == 40401


@pytest.mark.parametrize("mode", ["FORWARD", "SLOW", None])
def test_a_mode_that_is_not_served_is_42204(http: Http, mode: str | None) -> None:
    status, answer = http("PUT", "/mode", {"mode": mode})
    assert (status, answer["error_code"]) == (422, 42204)


def test_a_read_only_subject_refuses_changes_and_still_answers(http: Http) -> None:
    http.register("s", V1)
    http("PUT", "/mode/s", {"mode": "READONLY"})
    refused = [
        http("POST", "/subjects/s/versions", {"schema": V2}),
        http("DELETE", "/subjects/s"),
        http("DELETE", "/subjects/s/versions/1"),
        http("PUT", "/config/s", {"compatibility": "NONE"}),
    ]
    assert [(status, answer["error_code"]) for status, answer in refused] == [(422, 42205)] * 4
    assert http.register("s", V1) == 1  # already there: no change
    http.register("t", V2)


def test_read_only_for_all_yields_to_a_subject_unless_it_is_an_override(http: Http) -> None:
    http("PUT", "/mode/s", {"mode": "READWRITE"})
    http("PUT", "/mode", {"mode": "READONLY"})
    http.register("s", V1)
    http("PUT", "/mode", {"mode": "READONLY_OVERRIDE"})
    assert http("POST", "/subjects/s/versions", {"schema": V2})[1]["error_code"] == 42205
