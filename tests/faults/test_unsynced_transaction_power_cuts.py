"""Power cuts under transactions over several partitions where acknowledgements do not wait for the disk.

A cut may keep one partition's last second and lose another's. Whatever is left: of what each producer committed to each
partition a beginning, in order; offsets of committed transactions only; nothing aborted; no transaction that is stuck;
and a broker that starts. With `--flush interval` what was committed an interval before the cut is whole.
OTTLA_POWER_CUTS says how many cuts of each policy; OTTLA_POWER_CUT_SEED repeats a run's choices.
"""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.broker.running import RunningBroker
from tests.contracts.asking import Asking
from tests.contracts.clients import wait_until
from tests.contracts.raw_log import committed_values
from tests.contracts.transactor import NONE, Transactor, committed, fetch
from tests.faults.powercut.disk import Disk, read_journal
from tests.faults.powercut.timeline import Timeline
from tests.faults.test_power_cuts import recorder
from tests.faults.test_transaction_power_cuts import PARTITIONS, TOPIC, TRANSACTIONS, Worker, address_of, work

__all__ = ["recorder"]

CUTS = int(os.environ.get("OTTLA_POWER_CUTS", "20"))
SEED = int(os.environ.get("OTTLA_POWER_CUT_SEED", "3"))
CUTS_A_RUN = 250
INTERVAL_S = 0.1
# What a sync takes, and a timer that comes late; on a busy machine more.
ALLOWED_S, ALLOWED_FOR_LATENESS = 0.5, 5
SECONDS = 2.0

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or not shutil.which("cc"), reason="the recorder wants Linux and a C compiler"
    ),
    pytest.mark.timeout(max(180, CUTS * 2)),
]


@pytest.mark.parametrize("run", range(max(1, -(-CUTS // CUTS_A_RUN))))
@pytest.mark.parametrize("policy", ["interval", "none"])
def test_transactions_lose_their_end_at_most_where_nothing_waits_for_the_disk(
    tmp_path: Path, recorder: Path, policy: str, run: int
) -> None:
    dice = Random(SEED + run)
    data, recorded = tmp_path / "data", tmp_path / "recorded"
    data.mkdir()
    syncs = policy == "interval"
    # Checkpoints are preceded by syncs: in every other run they do not do what the interval is there for.
    checkpoint_ms = 3_600_000 if run % 2 == 0 else 100
    options = {
        "flush": policy,
        "flush_interval_ms": int(INTERVAL_S * 1000),
        "checkpoint_interval_ms": checkpoint_ms,
    }
    with Timeline(recorded) as timeline:
        pause_s = SECONDS / TRANSACTIONS if syncs else 0.0
        workers = work(data, recorded, recorder, SEED + run, options, pause_s)
    lost_s = INTERVAL_S + ALLOWED_S + ALLOWED_FOR_LATENESS * timeline.late_s

    operations = list(read_journal(recorded))
    disk, played = Disk(data), 0
    for point in sorted(dice.sample(range(1, len(operations)), min(CUTS, CUTS_A_RUN))):
        while played < point:
            disk.play(operations[played])
            played += 1
        at = timeline.before(operations[point - 1].position, lost_s) if syncs else 0
        left = tmp_path / "left"
        left.mkdir()
        mode = disk.cut(left, dice)
        try:
            with RunningBroker(left) as broker, Asking(address_of(broker)) as asking:
                check(asking, workers, at)
        except Exception as broken:
            kept = tmp_path / "broken"
            shutil.rmtree(kept, ignore_errors=True)
            left.rename(kept)
            raise AssertionError(
                f"after {point} of {len(operations)} operations, {mode!r} of what was not synced there, "
                f"{lost_s:.1f} s may be lost (seed {SEED}, run {run}; left in {kept}): {broken!r}"
            ) from broken
        shutil.rmtree(left)


def check(asking: Asking, workers: list[Worker], at: int) -> None:
    """Raises AssertionError if what is left is more than `workers` did, or less than they did until `at`."""
    if fetch(asking, TOPIC).error != NONE:
        told = [made for worker in workers for made in worker.done if made.decided and made.decided <= at]
        assert not told, "the topic is gone"
        return
    # The next producers abort what is open, and nothing may stay open.
    for worker in workers:
        Transactor(asking, f"x-{worker.number}").begin(5)
    for partition in range(PARTITIONS):
        # What the start aborted, or the next producer's start: soon durable.
        wait_until(partial(is_stable, asking, partition), what=f"no transaction is open in partition {partition}")
        visible = committed_values(asking, TOPIC, partition)
        for worker in workers:
            check_partition(worker, partition, visible, at)
    for worker in workers:
        check_offset(asking, worker, at)


def is_stable(asking: Asking, partition: int) -> bool:
    found = fetch(asking, TOPIC, partition=partition)
    return found.last_stable_offset == found.high_watermark


def check_partition(worker: Worker, partition: int, visible: list[bytes], at: int) -> None:
    mine = [made for made in worker.done if partition in made.partitions]
    numbers = [int(value.split(b"-")[0]) for value in visible]
    own = list(dict.fromkeys(number for number in numbers if number in {made.number for made in mine}))
    of_mine = [number for number in numbers if number in own]
    assert of_mine == [number for number in own for _ in range(of_mine.count(number))], "doubled or out of order"
    written = {made.number: made for made in mine}
    for number in own:
        assert written[number].commit, f"partition {partition}: transaction {number} was aborted and is visible"
        assert of_mine.count(number) == written[number].counts[partition], f"transaction {number}: a part, or twice"
    promised = [made.number for made in mine if made.commit]
    assert own == promised[: len(own)], f"partition {partition}: no beginning of what was committed: {own}"
    safe = [made.number for made in mine if made.commit and made.decided is not None and made.decided <= at]
    assert own[: len(safe)] == safe, f"partition {partition}: committed over an interval ago, and lost"


def check_offset(asking: Asking, worker: Worker, at: int) -> None:
    moves = [made for made in worker.done if made.commit and made.with_offset]
    safe = [made.number for made in moves if made.decided is not None and made.decided <= at]
    error, offset = committed(asking, f"g-{worker.number}", TOPIC)
    assert error == NONE
    # What docs/broker.md excepts: with version 1 nothing tells the offsets of one transaction from those of the next.
    excepted = {made.number for made in worker.done if made.with_offset and not made.new}
    assert offset in {-1, *(made.number for made in moves)} | excepted, f"the offset {offset} was not committed"
    assert offset >= max(safe, default=-1), f"the offset is {offset}, over an interval ago it was {safe[-1]}"
