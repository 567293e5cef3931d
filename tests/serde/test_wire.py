"""Confluent's wire form."""

from __future__ import annotations

import pytest

from ottla.errors import DecodeError
from ottla.serde import wire


def test_a_frame_is_a_zero_byte_the_id_and_the_payload() -> None:
    assert wire.frame(258, b"payload") == b"\x00\x00\x00\x01\x02payload"


def test_the_id_comes_back_from_a_frame() -> None:
    for schema_id in (0, 1, 2**31 - 1, 2**32 - 1):
        assert wire.schema_id(wire.frame(schema_id, b"")) == schema_id


def test_a_value_shorter_than_the_prefix_is_refused() -> None:
    with pytest.raises(DecodeError, match="the value has 4 bytes") as caught:
        wire.schema_id(b"\0\0\0\1")
    assert caught.value.position == 4


def test_another_magic_byte_is_refused() -> None:
    with pytest.raises(DecodeError, match="begins with byte 0x7b") as caught:
        wire.schema_id(b'{"order": 1}')
    assert caught.value.position == 0


def test_a_tombstone_is_refused() -> None:
    with pytest.raises(DecodeError, match="tombstone"):
        wire.schema_id(None)
