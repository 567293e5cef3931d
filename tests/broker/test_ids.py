"""Random ids: what Python's own uuid module makes of them."""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode

from ottla.broker.ids import long_form, random_id, short_form


def test_an_id_is_a_random_uuid_of_version_4() -> None:
    made = {random_id() for _ in range(200)}
    assert len(made) == 200
    for one in made:
        assert (uuid.UUID(bytes=one).version, uuid.UUID(bytes=one).variant) == (4, uuid.RFC_4122)


def test_both_forms_are_those_everybody_writes() -> None:
    for one in (bytes(16), b"\xff" * 16, b"\xfb\xef\xbe" * 5 + b"\x01", random_id()):
        assert short_form(one) == urlsafe_b64encode(one).decode().rstrip("=")
        assert long_form(one) == str(uuid.UUID(bytes=one))
