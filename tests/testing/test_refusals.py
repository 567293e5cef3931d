"""Refusals are answers that clients can read, in every version of each API."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from ottla.broker.wire.compiler import writer
from ottla.broker.wire.schema import Message
from ottla.testing.faults.frames import apis, key_of, read_answer, read_header, read_request, write_answer
from ottla.testing.faults.refusals import READING, can_refuse, refusal, spoil

CODE = 7
ID = b"0123456789abcdef"
PARTITIONS = [{"partition_index": 0}, {"partition_index": 1}]
ASKED: dict[str, Message] = {
    "Produce": {
        "acks": -1,
        "topic_data": [{"name": "t", "topic_id": ID, "partition_data": [{"index": 0, "records": b"x"}, {"index": 1}]}],
    },
    "OffsetCommit": {"topics": [{"name": "t", "topic_id": ID, "partitions": PARTITIONS}]},
    "TxnOffsetCommit": {"topics": [{"name": "t", "partitions": PARTITIONS}]},
    "CreateTopics": {"topics": [{"name": "t"}, {"name": "u"}]},
    "AddPartitionsToTxn": {
        "topics": [{"name": "t", "partitions": [0, 1]}],
        "transactions": [{"transactional_id": "x", "topics": [{"name": "t", "partitions": [0, 1]}]}],
    },
}
REFUSED = sorted(api.name for key, api in apis().items() if can_refuse(key) and key not in READING)


def request(name: str, version: int) -> bytes:
    """A request as a client sends it."""
    api = apis()[key_of(name)]
    flexible = api.is_flexible(version)
    chunks: list[Any] = []
    writer(api.request, version, flexible)(ASKED.get(name, {}), chunks)
    head = struct.pack(">hhih", api.key, version, 5, 2) + b"me" + (b"\0" if flexible else b"")
    return head + b"".join(map(bytes, chunks))


def codes(answer: Any) -> Iterator[int]:
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name in ("error_code", "partition_error_code"):
                yield value
            yield from codes(value)
    elif isinstance(answer, list | tuple):
        for one in answer:
            yield from codes(one)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_its_code_of_all_that_was_asked(name: str) -> None:
    api = apis()[key_of(name)]
    for version in range(api.versions[0], api.versions[1] + 1):
        frame = request(name, version)
        header = read_header(frame)
        answer = read_answer(header, write_answer(header, refusal(api.key, read_request(frame), CODE)))
        found = [code for code in codes(answer) if code]
        assert set(found) == {CODE}, f"version {version}"
        assert len(found) >= (2 if name in ASKED else 1), f"version {version}"


def test_what_was_read_is_taken_out_of_an_answer_that_is_spoiled() -> None:
    partition = {"error_code": 0, "records": b"something"}
    answer = {"error_code": 0, "responses": [{"partitions": [partition]}]}
    assert spoil(answer, CODE)
    assert partition == {"error_code": CODE, "records": b""}
    assert answer["error_code"] == 0
    whole = {"error_code": 0, "brokers": []}
    assert spoil(whole, CODE)
    assert whole["error_code"] == CODE
