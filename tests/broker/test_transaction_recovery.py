"""What a start makes of transactions that a crash has left in every state, and what happens when epochs run out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ottla.broker.log.batch import read_header
from ottla.broker.log.journal import Journal
from ottla.broker.transactions.register import JOURNAL
from ottla.broker.transactions.transaction import EPOCH_LAST
from ottla.broker.wire.messages.create_topics import CREATE_TOPICS
from ottla.broker.wire.messages.delete_topics import DELETE_TOPICS
from tests.broker.batches import batch
from tests.broker.running import RunningBroker
from tests.contracts.asking import Asking
from tests.contracts.clients import HOUR_AGO_MS, wait_until
from tests.contracts.transactor import INVALID_TXN_STATE, NONE, TRANSACTIONAL, Transactor, committed, fetch
from tests.faults.test_transaction_power_cuts import address_of

TOPIC, GROUP = "t", "g"
INVALID_EPOCH = 47


def entries(folder: Path) -> list[list[Any]]:
    found: list[list[Any]] = []
    Journal(folder / JOURNAL, found.append, lambda: found).close()
    return found


def rewrite(folder: Path, kept: list[list[Any]]) -> None:
    (folder / JOURNAL).unlink()
    journal = Journal(folder / JOURNAL, lambda _: None, lambda: kept)
    journal.append(*kept)
    journal.close()


def create(asking: Asking) -> None:
    topic = {"name": TOPIC, "num_partitions": 2, "replication_factor": 1, "configs": []}
    assert asking.ask(CREATE_TOPICS, 5, topics=[topic], timeout_ms=1000)["topics"][0]["error_code"] == NONE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two partitions: one transactional id has an open transaction with records in both, and an offset."""
    folder = tmp_path / "data"
    with RunningBroker(folder) as broker, Asking(address_of(broker)) as asking:
        create(asking)
        one = Transactor(asking, "x").begin(5)
        assert one.produce(TOPIC, version=12) == (NONE, 0)
        assert one.produce(TOPIC, version=12, partition=1) == (NONE, 0)
        assert one.commit_offset(GROUP, TOPIC, 7, version=5) == NONE
    return folder


@pytest.fixture
def one() -> Transactor:
    """The producer of that transaction."""
    producer = Transactor(None, "x")  # type: ignore[arg-type]
    producer.producer_id, producer.epoch = 0, 0
    producer.sequences = {(TOPIC, 0): 1, (TOPIC, 1): 1}
    return producer


def started(folder: Path, one: Transactor, **options: Any) -> Iterator[RunningBroker]:
    with RunningBroker(folder, **options) as broker, Asking(address_of(broker)) as asking:
        one.asking = asking
        yield broker


def markers(one: Transactor) -> list[list[str]]:
    return [[kind for _, kind in fetch(one.asking, TOPIC, partition=n).batches] for n in range(2)]


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
@pytest.mark.parametrize("written", ["nothing", "one marker", "all but its completion"])
def test_a_decision_is_carried_out_where_it_is_missing(
    folder: Path, one: Transactor, written: str, commit: bool
) -> None:
    for _ in started(folder, one):
        one.finish(commit=commit, version=5)
    done = entries(folder)
    assert [entry[0] for entry in done[-2:]] == ["end", "done"]
    rewrite(folder, done[:-1])
    if written != "all but its completion":
        cut_last_batch(folder, 1)
        cut_groups_end(folder)
        if written == "nothing":
            cut_last_batch(folder, 0)
    for _ in started(folder, one):
        one.wait_for("CompleteCommit" if commit else "CompleteAbort")
        assert markers(one) == [["data", "commit" if commit else "abort"]] * 2
        assert committed(one.asking, GROUP, TOPIC) == (NONE, 7 if commit else -1)
        assert one.produce(TOPIC, version=12, sequence=0)[0] == NONE


def cut_last_batch(folder: Path, partition: int) -> None:
    """The marker is the last batch of each partition, 78 bytes."""
    (log,) = folder.glob(f"logs/*/{partition}/*.log")
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 78)
    for checkpoint in log.parent.glob("*checkpoint*"):
        checkpoint.unlink()


def cut_groups_end(folder: Path) -> None:
    path = folder / "groups.journal"
    found: list[list[Any]] = []
    Journal(path, found.append, lambda: found).close()
    assert found[-1][0] == "m"
    path.unlink()
    journal = Journal(path, lambda _: None, lambda: found)
    journal.append(*found[:-1])
    journal.close()


def test_an_open_transaction_stays_open(folder: Path, one: Transactor) -> None:
    for _ in started(folder, one):
        assert one.describe()["transaction_state"] == "Ongoing"
        assert markers(one) == [[], []]
        assert one.produce(TOPIC, version=12) == (NONE, 1)
        one.finish(commit=True, version=5)
        assert markers(one) == [["data", "data", "commit"], ["data", "commit"]]


def test_what_the_register_has_lost_is_found_in_the_logs(folder: Path, one: Transactor) -> None:
    kept = [entry for entry in entries(folder) if entry[0] == "init"]
    rewrite(folder, kept)
    for _ in started(folder, one):
        assert one.describe()["transaction_state"] == "Ongoing"
        one.finish(commit=True, version=5)
        assert markers(one) == [["data", "commit"]] * 2
        assert committed(one.asking, GROUP, TOPIC) == (NONE, 7)


@pytest.mark.parametrize("flush", ["interval", "none"])
def test_what_the_register_has_lost_is_aborted_where_it_may_have_lost_an_abort(
    folder: Path, one: Transactor, flush: str
) -> None:
    rewrite(folder, [entry for entry in entries(folder) if entry[0] == "init"])
    for _ in started(folder, one, flush=flush):
        wait_until(lambda: markers(one) == [["data", "abort"]] * 2, what="it is aborted")
        assert one.end(commit=True, version=5)[0] == INVALID_TXN_STATE
        assert committed(one.asking, GROUP, TOPIC) == (NONE, -1)


def test_what_belongs_to_nobody_is_aborted_and_its_producer_fenced(folder: Path, one: Transactor) -> None:
    rewrite(folder, [])
    for _ in started(folder, one):
        wait_until(lambda: markers(one) == [["data", "abort"]] * 2, what="the markers are durable")
        assert committed(one.asking, GROUP, TOPIC) == (NONE, -1)
        assert one.produce(TOPIC, transactional=False)[0] == INVALID_EPOCH


@pytest.mark.parametrize("known", [False, True], ids=["of-nobody", "of-a-producer-that-has-ended"])
def test_a_transaction_that_hangs_in_a_folder_from_elsewhere_does_not_hang_after_a_start(
    folder: Path, one: Transactor, known: bool
) -> None:
    for _ in started(folder, one):
        one.finish(commit=True)
        one.begin(timeout_ms=300)
    (log,) = folder.glob("logs/*/0/*.log")
    producer_id = one.producer_id if known else 4711
    hanging = batch(
        base_offset=2, timestamps=[HOUR_AGO_MS], attributes=TRANSACTIONAL, producer_id=producer_id,
        epoch=one.epoch, sequence=0,
    )  # fmt: skip
    with log.open("ab") as file:
        file.write(hanging)
    for _ in started(folder, one):
        # Nobody's is aborted at once, a producer's when its time is up.
        wait_until(lambda: markers(one)[0] == ["data", "commit", "data", "abort"], what="it was aborted")
        found = fetch(one.asking, TOPIC)
        assert found.last_stable_offset == found.high_watermark == 4
        assert found.aborted == [(producer_id, 2)]


@pytest.mark.parametrize("version", [3, 5])
@pytest.mark.parametrize("decided", [True, False], ids=["decided", "open"])
def test_what_was_aborted_is_not_committed_by_the_next_transaction_where_the_marker_is_lost(
    folder: Path, one: Transactor, version: int, decided: bool
) -> None:
    # Without a sync for each acknowledgement a power cut can take the marker from the log, and what follows it there,
    # while the journal keeps what was decided since.
    for _ in started(folder, one):
        one.finish(commit=False, version=version)
        if version < 5:
            assert one.add(TOPIC, 0) == [NONE]
            assert one.add_offsets(GROUP) == NONE
        assert one.produce(TOPIC, version=12 if version == 5 else 9)[0] == NONE
        one.finish(commit=True, version=version)
    found = entries(folder)
    last = max(number for number, entry in enumerate(found) if entry[0] == "end")
    rewrite(folder, found[: last + decided])
    (log,) = folder.glob("logs/*/0/*.log")
    (log.parent / "checkpoint").unlink()
    with log.open("r+b") as file:
        file.truncate(read_header(log.read_bytes()).size)
    for _ in started(folder, one):
        if not decided:
            one.end(commit=True, version=version, producer_epoch=one.epoch - (version == 5))
        one.wait_for("CompleteCommit")
        wait_until(lambda: markers(one)[0][:2] == ["data", "abort"], what="it was aborted")


def test_a_topic_that_was_made_anew_within_a_transaction_is_committed_with_it(folder: Path, one: Transactor) -> None:
    for _ in started(folder, one):
        one.finish(commit=True, version=3)
        assert one.add(TOPIC, 0) == [NONE]
        assert (
            one.asking.ask(DELETE_TOPICS, 5, topic_names=[TOPIC], timeout_ms=1000)["responses"][0]["error_code"] == NONE
        )
        create(one.asking)
        assert one.produce(TOPIC, version=9) == (NONE, 0)
        one.finish(commit=True, version=3)
    rewrite(folder, entries(folder)[:-1])
    cut_last_batch(folder, 0)
    for _ in started(folder, one):
        one.wait_for("CompleteCommit")
        wait_until(lambda: markers(one)[0] == ["data", "commit"], what="it is committed")


def test_when_the_epochs_are_used_up_an_end_gives_a_new_producer_id(folder: Path, one: Transactor) -> None:
    for broker in started(folder, one):
        one.finish(commit=True, version=5)
        broker.server.broker.transactions.register.by_id["x"].epoch = one.epoch = EPOCH_LAST
        assert one.produce(TOPIC, version=12)[0] == NONE
        before = one.producer_id
        one.finish(commit=True, version=5)
        assert (one.producer_id > before, one.epoch) == (True, 0)
        late = one.end(commit=True, version=5, producer_id=before, producer_epoch=EPOCH_LAST)
        assert late == (NONE, one.producer_id, 0)
        assert one.produce(TOPIC, version=12)[0] == NONE
        one.finish(commit=True, version=5)
        assert one.epoch == 1


def test_when_the_epochs_are_used_up_the_next_producer_gets_a_new_id(folder: Path, one: Transactor) -> None:
    for broker in started(folder, one):
        one.finish(commit=True, version=5)
        broker.server.broker.transactions.register.by_id["x"].epoch = EPOCH_LAST
        before = one.producer_id
        one.begin(5)
        assert (one.producer_id > before, one.epoch) == (True, 0)


def test_unused_transactional_ids_expire_but_not_open_ones(folder: Path, one: Transactor) -> None:
    for broker in started(folder, one):
        other = Transactor(one.asking, "other").begin()
        coordinator = broker.server.broker.transactions
        for transaction in coordinator.register.by_id.values():
            transaction.updated_at = 0
        coordinator.expire()
        assert set(coordinator.register.by_id) == {"x"}
        assert other.add(TOPIC, 0) == [49]
    for _ in started(folder, one):
        assert one.describe()["transaction_state"] == "Ongoing"
        assert Transactor(one.asking, "other").describe()["error_code"] == 105
