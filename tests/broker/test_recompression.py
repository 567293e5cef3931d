"""Compressing batches anew: what comes out is a whole batch with the same records, or nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ottla.broker.log import recompression
from ottla.broker.log.batch import CRC_FROM, HEADER_SIZE, crc_of
from ottla.broker.log.compression import Unopened, open_records
from ottla.broker.log.recompression import CODECS, missing, recompressed
from ottla.broker.topic_configs import setting_fault
from tests.broker.batches import batch, parts
from tests.broker.running import RunningBroker

INVALID_CONFIG = 40
# Every client reads these; what they hold is looked at through the openers, which the clients' batches are read with.
OPENED_HERE = ("uncompressed", "gzip", "snappy", "lz4")


@pytest.mark.parametrize("size", [0, 10, 100_000])
@pytest.mark.parametrize("wanted", OPENED_HERE)
def test_the_records_are_the_same_and_so_is_the_header_but_for_the_codec(wanted: str, size: int) -> None:
    dice = random.Random(size)
    data = batch([dice.randbytes(size // 2) + bytes(size // 2)], codec=1, producer_id=7, epoch=1, sequence=3)
    header, body = parts(data)
    again, tail = recompressed(header, data, CODECS[wanted], 1)
    assert again == header._replace(length=again.length, crc=again.crc, attributes=CODECS[wanted])
    assert (again.size, crc_of(tail)) == (CRC_FROM + len(tail), again.crc)
    offset = HEADER_SIZE - CRC_FROM
    assert open_records(CODECS[wanted], bytes(tail[offset:])) == open_records(1, bytes(body[offset:]))


def test_damaged_records_are_told_from_whole_ones() -> None:
    dice = random.Random(1)
    data = batch([b"some value" * 50], codec=1)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[dice.randrange(HEADER_SIZE, len(data))] ^= 1 << dice.randrange(8)
        try:
            _, tail = recompressed(parts(data)[0], bytes(damaged), CODECS["uncompressed"], 0)
        except Unopened:
            continue
        # Some bits of gzip's header mean nothing.
        assert bytes(tail)[HEADER_SIZE - CRC_FROM :] == open_records(1, data[HEADER_SIZE:])


@pytest.mark.parametrize("name", ["lz4", "snappy", "zstd"])
def test_what_nothing_here_compresses_is_refused_when_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(recompression, "_is_there", lambda _: False)
    assert missing("gzip") is missing("producer") is missing("uncompressed") is None
    fault = setting_fault("compression.type", name) or ""
    assert fault.startswith(f"Invalid value {name} for configuration compression.type: nothing here compresses {name}")
    assert "ottla[compression]" in fault
    with RunningBroker(tmp_path) as broker:
        client = broker.connect()
        topic = {"name": "t", "num_partitions": 1, "replication_factor": 1}
        configs = [{"name": "compression.type", "value": name}]
        answer = client.ask("CreateTopics", 5, topics=[topic | {"configs": configs}])["topics"][0]
        assert (answer["error_code"], answer["error_message"]) == (INVALID_CONFIG, fault)
        client.close()
