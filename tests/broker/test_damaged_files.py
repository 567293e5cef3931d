"""Damage in every kind of file: the broker starts with what is right or says what is wrong; it serves nothing else."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottla.broker.log import checkpoint, index
from ottla.broker.log.batch import read_header
from ottla.broker.log.journal import Journal
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.rewriting import records_of
from ottla.errors import CorruptLog
from tests.broker.batches import batch, headers, parts
from tests.broker.running import RunningBroker

ROUNDS = int(os.environ.get("OTTLA_DAMAGES", "1"))  # of each harm to each file
RECORDS = 24
CORRUPT_MESSAGE = 2
HARMS = ("flip", "tear", "zero", "grow", "lose")


@pytest.fixture(scope="module", params=["stopped", "killed"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a broker with 24 records in some segments, offsets of a group, producers; stopped or killed."""
    folder = tmp_path_factory.mktemp("original") / "data"
    with RunningBroker(folder, checkpoint_interval_ms=50) as broker:
        client = broker.connect()
        client.create("t", internal_segment_bytes="600")
        for number in range(RECORDS):
            data = batch([b"value %d" % number], producer_id=5, epoch=0, sequence=number)
            assert client.produce("t", data)["base_offset"] == number
            if number == 15:
                while not list(folder.glob("logs/*/0/checkpoint")):
                    assert client.produce("t", data)["base_offset"] == number  # a duplicate
        parts_wanted = [{"partition_index": 0, "committed_offset": 17, "committed_metadata": None}]
        wanted = [{"name": "t", "partitions": parts_wanted}]
        body = {"group_id": "g", "generation_id": -1, "member_id": "", "retention_time_ms": -1, "topics": wanted}
        assert client.ask("OffsetCommit", 2, **body)["topics"][0]["partitions"][0]["error_code"] == 0
        if request.param == "killed":
            shutil.copytree(folder, folder.with_name("copy"))
        client.close()
    return folder.with_name("copy") if request.param == "killed" else folder


def harmed(path: Path, harm: str, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    at = dice.randrange(len(data)) if data else 0
    if harm == "flip" and data:
        data[at] ^= 1 << dice.randrange(8)
    elif harm == "tear":
        del data[at:]
    elif harm == "zero":
        stop = min(len(data), at + 40)
        data[at:stop] = bytes(stop - at)
    elif harm == "grow":
        data += dice.randbytes(50)
    elif harm == "lose":
        path.unlink()
        return
    path.write_bytes(data)


def served(folder: Path) -> tuple[list[bytes], int]:
    """What a broker on the folder serves of the topic, and the error that ended it."""
    values: list[bytes] = []
    with RunningBroker(folder) as broker:
        client = broker.connect()
        offset, error = 0, 0
        while not error:
            part = client.fetch("t", offset)
            error = part["error_code"]
            data = bytes(part["records"] or b"")
            for header in headers(data):
                values += [data_value(data, header.base_offset)]
                offset = header.last_offset + 1
            if not data:
                break
        client.close()
    return values, error


class Reported(Exception):
    """The broker said what is wrong, and where."""


def unless_reported(folder: Path) -> tuple[list[bytes], int]:
    try:
        return served(folder)
    except CorruptLog as damage:
        if str(folder) not in str(damage):
            raise
        raise Reported from damage


def data_value(data: bytes, offset: int) -> bytes:
    at = 0
    while True:
        header = read_header(data, at)
        if header.base_offset == offset:
            opened = data[at + 61 : at + header.size]
            (record,) = records_of(opened, header)
            return opened[record.stop - 1 - len(b"value %d" % offset) : record.stop - 1]
        at += header.size


def test_no_damage_is_served(original: Path, tmp_path: Path) -> None:
    dice = random.Random(3)
    expected = [b"value %d" % number for number in range(RECORDS)]
    assert served(shutil.copytree(original, tmp_path / "unharmed")) == (expected, 0)
    names = [path.relative_to(original) for path in sorted(original.rglob("*")) if path.is_file()]
    last = max(name for name in names if name.suffix == ".log")  # its tail may be torn
    kinds = {name.suffix or name.name for name in names}
    assert {".log", ".index", ".journal", "checkpoint"} <= kinds
    for name in names:
        for harm in HARMS:
            for _ in range(ROUNDS):
                folder = tmp_path / "harmed"
                shutil.copytree(original, folder)
                harmed(folder / name, harm, dice)
                with contextlib.suppress(Reported):
                    values, error = unless_reported(folder)
                    assert values == expected[: len(values)], f"{harm} in {name}"
                    assert error in (0, 3, CORRUPT_MESSAGE), f"{harm} in {name}"
                    if name.suffix == ".index" or name.name == "checkpoint":
                        assert values == expected, f"{harm} in {name}: only repeats what the log says"
                    elif name.suffix == ".log" and name != last:
                        assert error or values == expected or harm == "grow", f"{harm} in {name}: silent loss"
                shutil.rmtree(folder)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One valid file of each kind."""
    folder = tmp_path_factory.mktemp("valid")
    log = PartitionLog(folder)
    for number in range(4):
        data = batch([b"x" * 40], producer_id=3, epoch=0, sequence=number)
        log.append(*parts(data), stamp=False, segment_bytes=1 << 20, segment_ms=1 << 40)
    log.expose()
    segment = log.segments[0]
    unsaved = segment.unsaved_index(growing=False)
    assert unsaved is not None
    files = {
        "00000000000000000000.log": segment.path.read_bytes(),
        "00000000000000000000.index": unsaved[1],
        "checkpoint": checkpoint.encode(log.checkpoint()),
    }
    log.close()
    return files


def mutations(good: bytes) -> st.SearchStrategy[bytes]:
    """Bytes like those of a valid file: anything, or parts of it cut, repeated and overwritten."""

    def changed(cuts: list[tuple[int, int, bytes]]) -> bytes:
        data = bytearray(good)
        for start, length, put in cuts:
            at = start % (len(data) + 1)
            data[at : at + length] = put
        return bytes(data)

    change = st.tuples(st.integers(0, 1 << 16), st.integers(0, 80), st.binary(max_size=80))
    return st.binary(max_size=400) | st.lists(change, max_size=4).map(changed)


@settings(max_examples=int(os.environ.get("OTTLA_FUZZ", "150")), deadline=2000, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_recovery_takes_any_files_or_says_what_is_wrong(
    data: st.DataObject, valid: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzzed")
    try:
        for name, good in valid.items():
            if data.draw(st.booleans()):
                (folder / name).write_bytes(data.draw(mutations(good)))
        more = ["00000000000000000002.log", f"{0:020d}-{4:020d}.swap", f"{0:020d}.cleaned", "checkpoint.new", "x.log"]
        for name in data.draw(st.lists(st.sampled_from(more), unique=True, max_size=2)):
            (folder / name).write_bytes(data.draw(mutations(valid["00000000000000000000.log"])))
        log = PartitionLog(folder)
        try:
            log.recover(0)
            for offset in range(log.start_offset, min(log.next_offset, log.start_offset + 6)):
                served_part = log.read(offset, 1 << 20, at_least_one=True)
                assert len(served_part) <= 1 << 20
        except CorruptLog as damage:
            if str(folder) not in str(damage):
                raise
        finally:
            log.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@settings(max_examples=150, deadline=2000)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_no_checkpoint_and_no_index(content: bytes) -> None:
    assert checkpoint.decode(content) is None
    assert checkpoint.decode(b"OTTLACP1" + content) is None
    assert index.decode(content, (0, 1), 1 << 30) is None
    assert index.decode(b"OTTLAIX1" + content, (0, 1), 1 << 30) is None


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    written = Journal(tmp_path / "j.journal", lambda _: None, list)
    for number in range(5):
        written.append(["entry", number])
    written.close()
    return tmp_path / "j.journal"


def test_a_journal_is_replayed_up_to_damage_or_refused(journal: Path) -> None:
    good = journal.read_bytes()
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 0x20
        journal.write_bytes(bad)
        replayed: list[object] = []
        try:
            Journal(journal, replayed.append, list).close()
        except CorruptLog as damage:
            if str(journal) not in str(damage):
                raise
        assert replayed == [["entry", number] for number in range(len(replayed))]
