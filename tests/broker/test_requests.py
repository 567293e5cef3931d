"""Every API in every version over the socket: whatever is asked, there is an answer and no handler fails."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ottla.broker.wire.schema import Api, Field, Message, parse_table
from tests.broker.batches import batch
from tests.broker.running import Client, RunningBroker
from tests.broker.test_codec import VERSIONS

STRINGS = ["", "t", "nothing", "g", "x" * 300, "a/b", "retention.ms", "1", "consumer"]
NUMBERS = {
    "bool": [True, False],
    "int8": [-1, 0, 1, 2, 4, 127],
    "int16": [-1, 0, 1, 2, 32767],
    "int32": [-1, 0, 1, 2, 10_000, 2**31 - 1],
    "int64": [-5, -2, -1, 0, 1, 2**63 - 1],
    "float64": [0.5],
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    folder: Path = tmp_path_factory.mktemp("requests")
    with RunningBroker(folder, group_min_session_timeout_ms=1, flush="none") as running:
        client = running.connect()
        client.create("t", 2)
        client.produce("t", batch())
        client.close()
        yield running


def anything(
    source: random.Random, fields: list[Field], version: int, flexible: bool, topic_ids: list[bytes]
) -> Message:
    """A message with random values, drawn so that some of them mean something."""

    def value(field: Field) -> Any:
        if field.type == "struct":
            return anything(source, field.fields, version, flexible, topic_ids)
        if field.type == "string":
            return source.choice(STRINGS)
        if field.type == "uuid":
            return source.choice([*topic_ids, bytes(16), b"u" * 16])
        if field.type in ("bytes", "records"):
            return source.choice([b"", source.randbytes(80), batch()])
        if field.name in ("max_wait_ms", "session_timeout_ms", "rebalance_timeout_ms"):
            return source.choice([0, 1, 20])
        return source.choice(NUMBERS[field.type])

    message: Message = {}
    for field in fields:
        if not field.present(version) or (field.tag is not None and not flexible):
            continue
        if field.nullable and source.random() < 0.2:
            message[field.name] = None
        elif field.array:
            message[field.name] = [value(field) for _ in range(source.randrange(3))]
        else:
            message[field.name] = value(field)
    return message


@pytest.mark.parametrize(("api", "version"), VERSIONS, ids=lambda value: getattr(value, "name", f"v{value}"))
def test_any_request_is_answered(
    broker: RunningBroker, caplog: pytest.LogCaptureFixture, api: Api, version: int
) -> None:
    source = random.Random(f"{api.name} {version}")
    flexible = api.is_flexible(version)
    caplog.set_level(logging.ERROR, "ottla.broker")
    for _ in range(15):
        topic_ids = [topic.id for topic in broker.server.broker.catalog.topics.values()]
        body = anything(source, parse_table(api.request), version, flexible, topic_ids)
        if api.name == "Produce":
            body["acks"] = source.choice([-1, 1, 5])  # acks=0 has no answer to wait for
        client = broker.connect()
        assert_answered(client, api, version, body)
        client.close()
    assert not caplog.records, caplog.text


def assert_answered(client: Client, api: Api, version: int, body: Message) -> None:
    answer = client.ask(api.name, version, **body)
    assert isinstance(answer, dict)
