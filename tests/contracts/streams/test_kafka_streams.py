"""The same records through Kafka Streams and through Ottla: the same results, record by record.

One JVM runs all topologies (KafkaStreamsHarness.java); `tools/streams/fetch` gets the jars. Where Ottla differs on
purpose, docs/streams.md says so and why.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ottla.streams import StreamsBuilder
from ottla.testing import TopologyTestDriver
from tests.conftest import IN_CI
from tests.contracts.streams.cases import SEEDS, Input, inputs
from tests.contracts.streams.topologies import TOPOLOGIES

pytestmark = pytest.mark.timeout(700)  # one JVM runs everything, for the first test that asks

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

Step = list[list[Any]]
"""What came out for one input: topic, key, value, timestamp of each record."""


def jars() -> Path:
    found = re.search(r"<kafka.version>(.*)</kafka.version>", (ROOT / "tools/streams/pom.xml").read_text("utf-8"))
    assert found is not None
    home = os.environ.get("OTTLA_KAFKA_STREAMS_HOME")
    return (Path(home) if home else Path.home() / ".cache/ottla" / f"kafka-streams-{found.group(1)}") / "libs"


@pytest.fixture(scope="module")
def kafka_streams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Step]]:
    """What Kafka Streams makes of every case; skipped where it is not installed, unless CI requires it."""
    if not list(jars().glob("kafka-streams-*.jar")) or shutil.which("java") is None:
        why = "Kafka Streams is not installed: run tools/streams/fetch (it needs java and mvn)"
        if IN_CI:
            pytest.fail(f"CI=true, and so this is not optional: {why}", pytrace=False)
        pytest.skip(why)
    cases = {f"{name}#{seed}": inputs(name, seed) for name in TOPOLOGIES for seed in SEEDS}
    # It writes a checkpoint to disk for every record; in memory that takes no time.
    memory = Path("/dev/shm")
    state = Path(tempfile.mkdtemp(dir=memory)) if memory.is_dir() else tmp_path_factory.mktemp("kafka-streams")
    done = subprocess.run(
        [
            "java",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-Dstate.dir={state}",
            "-cp",
            f"{jars()}/*",
            str(HERE / "KafkaStreamsHarness.java"),
        ],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    shutil.rmtree(state, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[Step]] = json.loads(done.stdout)
    return found


def ottla(name: str, records: list[Input]) -> list[Step]:
    """What Ottla makes of a case."""
    builder = StreamsBuilder()
    TOPOLOGIES[name](builder)
    steps: list[Step] = []
    with TopologyTestDriver(builder.build(), cache_entries_max=0) as driver:
        topics = {topic: driver.input(topic, key=str, value=str) for topic in {topic for topic, _, _, _ in records}}
        outputs = [driver.output(topic, key=str, value=str) for topic in ("out", "out2")]
        for topic, key, value, timestamp in records:
            topics[topic].pipe(value, key=key, timestamp_ms=timestamp)
            steps.append(
                [
                    [output.topic, record.key, record.value, record.timestamp_ms]
                    for output in outputs
                    for record in output.read_all()
                ]
            )
    return steps


def test_every_topology_of_the_harness_is_compared(kafka_streams: dict[str, Any]) -> None:
    assert sorted(kafka_streams[""]) == sorted(TOPOLOGIES)


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_results_are_those_of_kafka_streams(name: str, kafka_streams: dict[str, list[Step]]) -> None:
    for seed in SEEDS:
        records = inputs(name, seed)
        theirs = kafka_streams[f"{name}#{seed}"]
        assert not isinstance(theirs, str), theirs
        for number, (record, expected, found) in enumerate(zip(records, theirs, ottla(name, records), strict=True)):
            assert found == expected, f"seed {seed}, input {number}: {record} after {records[:number]}"
