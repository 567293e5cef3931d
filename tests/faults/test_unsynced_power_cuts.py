"""Power cuts where acknowledgements do not wait for the disk: `--flush interval` loses an interval at most.

Whatever is left, with `none` too: of every partition a beginning, nothing doubled, torn or out of order, no aborted
record, and a broker that starts. OTTLA_POWER_CUTS says how many cuts of each policy; OTTLA_POWER_CUT_SEED repeats a
run's choices.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from random import Random

import pytest

from ottla.errors import CorruptLog
from tests.broker.running import RunningBroker
from tests.faults.powercut.checks import LooseChecks
from tests.faults.powercut.disk import Disk, read_journal
from tests.faults.powercut.load import Load
from tests.faults.powercut.timeline import Timeline
from tests.faults.test_power_cuts import recorder

__all__ = ["recorder"]

CUTS = int(os.environ.get("OTTLA_POWER_CUTS", "10"))
SEED = int(os.environ.get("OTTLA_POWER_CUT_SEED", "5"))
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
def test_a_power_cut_loses_what_the_flush_policy_says_and_nothing_else(
    tmp_path: Path, recorder: Path, policy: str, run: int
) -> None:
    dice = Random(SEED + run)
    data, journal = tmp_path / "data", tmp_path / "journal"
    data.mkdir()
    syncs = policy == "interval"
    # Checkpoints are preceded by syncs: in every other run they do not do what the interval is there for.
    checkpoint_ms = 3_600_000 if syncs and run % 2 == 0 else 150
    interval_ms = int(INTERVAL_S * 1000)
    options = {"flush": policy, "flush_interval_ms": interval_ms, "checkpoint_interval_ms": checkpoint_ms}
    load = Load(data, journal, recorder, SEED + run, options)
    with Timeline(journal) as timeline:
        load.run(rounds=14, seconds=SECONDS if syncs else 0, until_rest=syncs)
    lost_s = INTERVAL_S + ALLOWED_S + ALLOWED_FOR_LATENESS * timeline.late_s

    operations = list(read_journal(journal))
    points = dice.sample(range(1, len(operations)), min(CUTS, CUTS_A_RUN))
    rest = next((number for number, one in enumerate(operations, 1) if one.position == load.rest), 0)
    disk, played = Disk(data), 0
    for point in sorted([*points, rest] if rest else points):
        while played < point:
            disk.play(operations[played])
            played += 1
        at = timeline.before(operations[point - 1].position, lost_s) if syncs else 0
        left = tmp_path / "left"
        left.mkdir()
        # A while after the last write everything is there, whatever else the disk makes of the cut.
        mode = disk.cut(left, dice, "nothing" if point == rest else "")
        try:
            with RunningBroker(left) as broker:
                client = broker.connect()
                LooseChecks(client, load.promises, load.rest if point == rest else at).run()
                client.close()
        except (AssertionError, CorruptLog) as broken:
            kept = tmp_path / "broken"
            left.rename(kept)
            raise AssertionError(
                f"after {point} of {len(operations)} operations, {mode!r} of what was not synced there, "
                f"{lost_s:.1f} s may be lost (seed {SEED}, run {run}; left in {kept}): {broken}"
            ) from broken
        shutil.rmtree(left)
