"""How bytes and tables are shown."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.cli.output import print_table
from ottla.cli.presentation import Presenter, headers_document, show_text
from ottla.errors import RegistryUnavailable
from ottla.kafka.record import Record


@pytest.mark.parametrize(
    ("data", "form", "value"),
    [
        (None, "null", None),
        (b"", "text", ""),
        ("žluť".encode(), "text", "žluť"),
        (b"two\nlines\t", "text", "two\nlines\t"),
        (b"\xff", "base64", "/w=="),
        (b"\x1b[31m", "base64", "G1szMW0="),
    ],
)
def test_bytes_are_text_where_they_are_printable(data: bytes | None, form: str, value: str | None) -> None:
    shown = show_text(data)
    assert (shown.form, shown.value) == (form, value)


def test_a_header_that_stands_twice_keeps_both_values() -> None:
    headers: list[tuple[str, bytes | None]] = [("a", b"1"), ("b", b"\xff"), ("a", b"2"), ("c", None)]
    assert headers_document(headers) == {"a": ["1", "2"], "b": "base64:/w==", "c": None}


def test_the_numbers_of_a_dead_letter_are_shown_as_numbers() -> None:
    headers: list[tuple[str, bytes | None]] = [
        ("kafka_dlt-original-partition", b"\0\0\0\2"),
        ("kafka_dlt-original-offset", b"\0\0\0\0\0\0\1\0"),
        ("kafka_dlt-original-timestamp", b"not eight"),
    ]
    assert headers_document(headers) == {
        "kafka_dlt-original-partition": "2",
        "kafka_dlt-original-offset": "256",
        "kafka_dlt-original-timestamp": "not eight",
    }


def test_a_text_of_several_lines_stays_on_one() -> None:
    record = Record("t", 0, 7, -1, None, b"one\ntwo", [])
    presenter = Presenter(lambda _value: pytest.fail("there is nothing to decode"))
    assert presenter.line(record, headers=False) == "0:7\t-\t-\ttext\tone\\ntwo"


def test_a_registry_that_is_away_is_asked_once(capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def decode(value: bytes) -> tuple[int, Any]:
        asked.append(value)
        raise RegistryUnavailable("no answer")

    presenter = Presenter(decode)
    framed = Record("t", 0, 7, -1, None, b"\x00\x00\x00\x00\x01abc", [])
    assert [presenter.value(framed).form, presenter.value(framed).form] == ["base64", "base64"]
    assert len(asked) == 1
    assert capsys.readouterr().err == "note: values are not decoded: no answer\n"


def test_numbers_stand_to_the_right_and_nothing_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["NAME", "COUNT"], [("a", 5), ("long name", None), ("b", 100)])
    assert capsys.readouterr().out == "NAME       COUNT\na              5\nlong name      -\nb            100\n"


def test_an_empty_table_says_so_beside_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["NAME"], [], empty="there are no topics")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "there are no topics\n")
