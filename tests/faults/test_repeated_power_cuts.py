"""A power cut, a recovery, more work, and another cut: whatever was acknowledged in either life is there.

Every other second cut is in the middle of the recovery: what it cuts off, writes anew and notes is itself not safe from
power cuts. OTTLA_POWER_CUTS says how many second cuts; OTTLA_POWER_CUT_SEED repeats a run's choices.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from random import Random

import pytest

from tests.broker.running import Client, RunningBroker
from tests.faults.powercut.checks import Checks
from tests.faults.powercut.disk import Disk, Operation, read_journal
from tests.faults.powercut.lives import taken_over
from tests.faults.powercut.load import Load, Promises
from tests.faults.test_power_cuts import recorder

__all__ = ["recorder"]

CUTS = int(os.environ.get("OTTLA_POWER_CUTS", "12"))
SEED = int(os.environ.get("OTTLA_POWER_CUT_SEED", "13"))
CUTS_A_LIFE, LIVES_A_RUN = 6, 20
CUTS_A_RUN = CUTS_A_LIFE * LIVES_A_RUN

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or not shutil.which("cc"), reason="the recorder wants Linux and a C compiler"
    ),
    pytest.mark.timeout(max(180, CUTS * 4)),
]


@pytest.mark.parametrize("run", range(max(1, -(-CUTS // CUTS_A_RUN))))
def test_no_promise_of_two_lives_is_broken_by_power_cuts(tmp_path: Path, recorder: Path, run: int) -> None:
    dice = Random(SEED + run)
    data, journal = tmp_path / "data", tmp_path / "journal"
    data.mkdir()
    disk, played = Disk(data), 0
    load = Load(data, journal, recorder, seed=SEED + run)
    load.run(rounds=10)

    operations = list(read_journal(journal))
    lives = -(-min(CUTS, CUTS_A_RUN) // CUTS_A_LIFE)
    for point in sorted(dice.sample(range(1, len(operations)), lives)):
        while played < point:
            disk.play(operations[played])
            played += 1
        second = tmp_path / f"second-{point}"
        second.mkdir()
        mode = disk.cut(second, dice)
        told = f"after {point} of {len(operations)} operations, {mode!r} of what was not synced there"
        live_on(
            second, load.promises, operations[point - 1].position, recorder, dice, f"{told} (seed {SEED}, run {run})"
        )
        shutil.rmtree(second)


def live_on(folder: Path, before: Promises, cut: int, recorder: Path, dice: Random, told: str) -> None:
    """The second life on what a cut has left, and the second cuts. Raises AssertionError."""
    journal = folder.with_name(f"{folder.name}.journal")
    disk, played = Disk(folder, holds=True), 0

    def take_over(address: str, at: int) -> Promises:
        client = Client(int(address.split(":")[1]))
        try:
            return taken_over(client, before, cut, at)
        finally:
            client.close()

    saved = folder.with_name("broken")
    shutil.copytree(folder, saved)
    load = Load(folder, journal, recorder, dice.randrange(1 << 30), take_over=take_over)
    try:
        load.run(rounds=4)
    except Exception as broken:
        raise AssertionError(f"{told}; left in {saved}: {broken!r}") from broken
    shutil.rmtree(saved)

    operations = list(read_journal(journal))
    for point in second_cuts(operations, load.taken_over, dice):
        while played < point:
            disk.play(operations[played])
            played += 1
        left = folder.with_name("left")
        left.mkdir()
        mode = disk.cut(left, dice)
        at = operations[point - 1].position
        promised, until = (load.promises, at) if at >= load.taken_over else (before, cut)
        try:
            with RunningBroker(left) as broker:
                client = broker.connect()
                Checks(client, promised, until).run()
                client.close()
        except Exception as broken:
            left.rename(saved)
            where = f"{point} of {len(operations)} operations of the second life, {mode!r}"
            raise AssertionError(f"{told}; then {where}; left in {saved}: {broken!r}") from broken
        shutil.rmtree(left)


def second_cuts(operations: list[Operation], recovered: int, dice: Random) -> list[int]:
    """Half of them while the broker recovers, if it does anything to its files then."""
    early = [number for number, one in enumerate(operations, 1) if one.position <= recovered]
    chosen = dice.sample(early, min(len(early), CUTS_A_LIFE // 2))
    others = [number for number in range(1, len(operations)) if number not in chosen]
    return sorted([*chosen, *dice.sample(others, CUTS_A_LIFE - len(chosen))])
