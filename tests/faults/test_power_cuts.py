"""Power cuts at random points of a broker's life: whatever the disk makes of unsynced writes, no promise is broken.

OTTLA_POWER_CUTS says how many; OTTLA_POWER_CUT_SEED repeats a run's choices.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from ottla.errors import CorruptLog
from tests.broker.running import RunningBroker
from tests.faults.powercut.checks import Checks
from tests.faults.powercut.disk import Disk, read_journal
from tests.faults.powercut.load import Load

CUTS = int(os.environ.get("OTTLA_POWER_CUTS", "30"))
SEED = int(os.environ.get("OTTLA_POWER_CUT_SEED", "7"))
CUTS_A_RUN = 250

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or not shutil.which("cc"), reason="the recorder wants Linux and a C compiler"
    ),
    pytest.mark.timeout(max(180, CUTS * 2)),
]


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = Path(__file__).parent / "powercut" / "recorder.c"
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    command = [
        "cc",
        "-O1",
        "-Wall",
        "-Werror",
        "-shared",
        "-fPIC",
        "-o",
        str(library),
        str(source),
        "-ldl",
        "-lpthread",
    ]
    subprocess.run(command, check=True)
    return library


@pytest.mark.parametrize("run", range(max(1, -(-CUTS // CUTS_A_RUN))))
def test_no_promise_is_broken_by_power_cuts(tmp_path: Path, recorder: Path, run: int) -> None:
    dice = Random(SEED + run)
    data, journal = tmp_path / "data", tmp_path / "journal"
    data.mkdir()
    load = Load(data, journal, recorder, seed=SEED + run)
    load.run(rounds=14)

    operations = list(read_journal(journal))
    points = sorted(dice.sample(range(len(operations)), min(CUTS, CUTS_A_RUN)))
    disk, played = Disk(data), 0
    for point in points:
        while played < point:
            disk.play(operations[played])
            played += 1
        left = tmp_path / "left"
        left.mkdir()
        at = operations[point - 1].position if point else 0
        mode = disk.cut(left, dice)
        try:
            with RunningBroker(left) as broker:
                client = broker.connect()
                Checks(client, load.promises, at).run()
                client.close()
        except (AssertionError, CorruptLog) as broken:
            kept = tmp_path / "broken"
            left.rename(kept)
            raise AssertionError(
                f"after {point} of {len(operations)} operations, {mode!r} of what was not synced there "
                f"(seed {SEED}, run {run}; left in {kept}): {broken}"
            ) from broken
        shutil.rmtree(left)
