"""The table codec against another one: what it writes, kio reads as the same message and writes as the same bytes.

kio's tables are generated from Apache Kafka's own message definitions. Old versions that it does not have are covered
by the round trips of test_codec, and by Apache Kafka itself in the contract tests.

"""

from __future__ import annotations

import io
from typing import Any

import pytest
from kio.index import KioIndexError, load_request_schema, load_response_schema
from kio.serial import entity_reader, entity_writer

from ottla.broker.wire.schema import Api, Field, Message, parse_table
from tests.broker.test_codec import VERSIONS, encode

# Numbers that are codes or times in kio's types must be such; whole seconds, as kio keeps no finer times.
NUMBERS = {"error_code": 3}
SECOND_MS = 1000
TEXTS: dict[str, Any] = {"string": "héllo", "bytes": b"abc", "records": b"", "uuid": b"u" * 16, "bool": True}
TEXTS["float64"] = 1.5


def sample(fields: list[Field], version: int, flexible: bool) -> Message:
    message: Message = {}
    for field in fields:
        if not field.present(version) or (field.tag is not None and not flexible):
            continue

        def one(field: Field = field) -> Any:
            if field.type == "struct":
                return sample(field.fields, version, flexible)
            return TEXTS.get(field.type, NUMBERS.get(field.name, SECOND_MS if field.type in ("int32", "int64") else 7))

        message[field.name] = [one(), one()] if field.array else one()
    return message


def known() -> list[tuple[Api, int]]:
    found = []
    for api, version in VERSIONS:
        try:
            load_request_schema(api.key, version)
        except KioIndexError:
            continue
        found.append((api, version))
    return found


KNOWN = known()


def test_kio_knows_nearly_all_that_is_served() -> None:
    assert len(KNOWN) > 0.9 * len(VERSIONS)
    assert {api.name for api, _ in VERSIONS} - {api.name for api, _ in KNOWN} == set()


@pytest.mark.parametrize("api", sorted({api.name for api, _ in KNOWN}))
def test_both_codecs_write_the_same_bytes(api: str) -> None:
    for known_api, version in KNOWN:
        if known_api.name == api:
            compare(known_api, version)


def compare(api: Api, version: int) -> None:
    flexible = api.is_flexible(version)
    for table, load in ((api.request, load_request_schema), (api.response, load_response_schema)):
        entity = load(api.key, version)
        assert entity.__flexible__ == flexible
        written = encode(table, version, flexible, sample(parse_table(table), version, flexible))
        read, size = entity_reader(entity)(written, 0)
        assert size == len(written), f"{api.name} version {version}: kio has read {size} of {len(written)} bytes"
        again = io.BytesIO()
        entity_writer(entity)(again, read)
        assert again.getvalue() == written, f"{api.name} version {version}: {read}"
