"""mypy knows the types along a chain."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def _mypy(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.timeout(700)  # without its cache mypy reads everything first
def test_mypy_knows_the_types_along_a_chain_and_finds_what_does_not_fit(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from ottla.streams import StreamsBuilder\n"
        'numbers = StreamsBuilder().stream("numbers", key=str, value=int)\n'
        "numbers.filter(lambda key, value: value.nothing)\n"
        "numbers.map_values(lambda value: key)\n"
        'numbers.to("numbers", value=str)\n',
        "utf-8",
    )
    done = _mypy(str(HERE / "typed_chain.py"), str(wrong))
    lines = [line for line in done.stdout.splitlines() if "error:" in line]
    assert [line.split(":")[1] for line in lines] == ["3", "4", "5"], done.stdout + done.stderr


def test_the_chain_builds() -> None:
    runpy.run_path(str(HERE / "typed_chain.py"))
